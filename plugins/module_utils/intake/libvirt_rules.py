# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of libvirt's domain XML has no counterpart on KubeVirt and may go, and why: the first rule that fits a field counts."""
from __future__ import annotations

from .ledger import DropRule

_HOST = "a place on the source host"
_ADDRESS = "KubeVirt and libvirt assign addresses; the order of devices is kept"
_KUBEVIRT = "KubeVirt sets this itself"
_TUNING = "tuning of the source host"
_LIFECYCLE = "the runStrategy of the VirtualMachine decides this"
_STORAGE = "the target's storage class decides this"
_NETWORK = "the network map decides this"
_CONSOLE = "KubeVirt has one serial console and VNC, reached through its API"
_NO = "KubeVirt has no such device"
_GONE = "a state of the running source"

RULES = (
    DropRule("devices|devices/alias/**|devices/*/alias/@name|devices/*/*/alias/@name", _GONE),
    DropRule("devices/*/address/**|devices/controller/**|devices/hub/**", _ADDRESS),
    DropRule("devices/emulator/**|bootloader/**|bootloader_args/**", _HOST),
    DropRule("on_poweroff/**|on_reboot/**|on_crash/**|on_lockfailure/**", _LIFECYCLE),
    DropRule("seclabel/**|devices/**/seclabel/**|resource/**", "security labels and control groups belong to the source host"),
    DropRule("metadata/**|genid/**", "annotations keep name, id and UUID; other metadata stays in the estate's ledger"),
    DropRule("pm/**", "power management states are set by the machine type"),
    DropRule("memory/@dumpCore|memtune/**|blkiotune/**|iothreads/**|iothreadids/**|cputune/**|vcpus/**|defaultiothread/**", _TUNING),
    DropRule("memoryBacking/**|numatune/**|throttlegroups/**", _TUNING),
    DropRule("vcpu/@placement|vcpu/@cpuset", "the scheduler of the cluster places the VM"),
    DropRule("cpu/@match|cpu/@check|cpu/@migratable|cpu/@deprecated_features|cpu/vendor/**|cpu/model/@*|cpu/maxphysaddr/**|cpu/cache/**",
             "KubeVirt matches CPU models and features to nodes by labels"),
    DropRule("cpu/numa/cell/**|cpu/numa/interconnects/**", "KubeVirt maps guest NUMA cells by itself when hugepages and pinned CPUs are used"),
    DropRule("os/loader/**|os/nvram/**|os/firmware/**|os/bootmenu/**|os/bios/**|os/acpi/**|os/smbios/**|os/shim/**",
             "KubeVirt chooses the firmware image; UEFI variables start fresh"),
    DropRule("os/kernel/**|os/initrd/**|os/cmdline/**|os/dtb/**", "a kernel from the source host can't be booted; the disk's boot loader is used"),
    DropRule("os/init*/**|idmap/**|features/privnet/**|features/capabilities/**", "containers are not migrated"),
    DropRule("features/**", "KubeVirt does not offer this hypervisor feature"),
    DropRule("clock/**", "KubeVirt offers the clock offset and the hpet, pit, rtc, kvm and hyperv timers only"),
    DropRule("sysinfo/**", "KubeVirt sets SMBIOS fields of its own; UUID and serial are kept"),
    DropRule("perf/**|keywrap/**|cachetune/**", _TUNING),
    DropRule("launchSecurity/**", "keys and policies of confidential computing are bound to the source host"),
    DropRule("qemu:**|devices/**/qemu:**|lxc:**|xen:**|bhyve:**", "arguments passed through to the source's hypervisor"),
    DropRule("devices/disk/source/@*|devices/disk/source/**", "how the source host reaches the disk; the copy reads it there"),
    DropRule("devices/disk/backingStore/**|devices/disk/mirror/**", "the copy is flat"),
    DropRule("devices/disk/auth/**|devices/disk/encryption/**", "credentials of the source's storage stay there"),
    DropRule("devices/disk/driver/**|devices/disk/iotune/**|devices/disk/blockio/**|devices/disk/throttlefilters/**", _STORAGE),
    DropRule("devices/disk/@snapshot|devices/disk/@rawio|devices/disk/@sgio|devices/disk/@model|devices/disk/transient/**", _STORAGE),
    DropRule("devices/disk/geometry/**|devices/disk/boot/@loadparm|devices/disk/target/@*|devices/disk/vendor/**|devices/disk/product/**",
             _KUBEVIRT),
    DropRule("devices/interface/source/**|devices/interface/virtualport/**|devices/interface/filterref/**|devices/interface/vlan/**", _NETWORK),
    DropRule("devices/interface/target/**|devices/interface/script/**|devices/interface/backend/**|devices/interface/guest/**", _HOST),
    DropRule("devices/interface/driver/**|devices/interface/bandwidth/**|devices/interface/tune/**|devices/interface/coalesce/**", _TUNING),
    DropRule("devices/interface/@*|devices/interface/rom/**|devices/interface/boot/@loadparm|devices/interface/model/@*|"
             "devices/interface/mac/@*|devices/interface/acpi/**|devices/interface/teaming/**|devices/interface/port/**", _NETWORK),
    DropRule("devices/interface/ip/**|devices/interface/route/**|devices/interface/portForward/**", _NETWORK),
    DropRule("devices/hostdev/@*|devices/hostdev/driver/**|devices/hostdev/rom/**|devices/hostdev/acpi/**|devices/hostdev/teaming/**|"
             "devices/hostdev/source/**", "the device plugin of the node hands the device to the VM"),
    DropRule("devices/serial/**|devices/console/**|devices/parallel/**|devices/graphics/**|devices/video/**|devices/audio/**|devices/sound/**",
             _CONSOLE),
    DropRule("devices/channel/**", "KubeVirt adds the guest agent's channel; others belong to the source's console"),
    DropRule("devices/input/**|devices/redirdev/**|devices/redirfilter/**|devices/smartcard/**", _CONSOLE),
    DropRule("devices/memballoon/**|devices/rng/**|devices/tpm/**|devices/watchdog/**", _KUBEVIRT),
    DropRule("devices/iommu/**|devices/shmem/**|devices/memory/**|devices/nvram/**|devices/panic/**|devices/pstore/**|devices/lease/**|"
             "devices/crypto/**|devices/vsock/**", _NO),
    DropRule("devices/filesystem/**", "directories of the source host are not copied"),
)
