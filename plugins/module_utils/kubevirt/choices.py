# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single decisions on the way from a LegacyVm to KubeVirt, shared by the rendering and the ledger so that the two can't differ."""
from __future__ import annotations

import re

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Cpu, Disk, Firmware, LegacyVm, Nic

from . import names

BUSES = {"virtio": "virtio", "scsi": "scsi", "sata": "sata", "ide": "sata", "nvme": "virtio", "usb": "usb", "sd": "sata", "xen": "virtio",
         "virtio-scsi": "scsi"}
NIC_MODELS = ("e1000", "e1000e", "igb", "ne2k_pci", "pcnet", "rtl8139", "virtio")
_NIC_NAMES = {"virtio-net": "virtio", "virtio-transitional": "virtio", "virtio-non-transitional": "virtio", "vmxnet": "virtio",
              "vmxnet2": "virtio", "vmxnet3": "virtio", "flexible": "virtio", "vlance": "pcnet", "pcnet32": "pcnet", "e1000-82540em": "e1000",
              "e1000-82545em": "e1000", "e1000-82544gc": "e1000", "netfront": "virtio", "sriovethernetcard": "virtio"}
CACHES = ("none", "writethrough", "writeback")
# KubeVirt labels no node with these (its DefaultObsoleteCPUModels), so a VM that asks for one is never scheduled.
OBSOLETE_MODELS = {"486", "pentium", "pentium2", "pentium3", "pentiumpro", "coreduo", "n270", "core2duo", "Conroe", "athlon", "phenom", "qemu64",
                   "qemu32", "kvm64", "kvm32", "Opteron_G1", "Opteron_G2"}
HUGEPAGES = {2 * 2**20: "2Mi", 2**30: "1Gi"}
FEATURE_POLICIES = ("force", "require", "optional", "disable", "forbid")
HYPERV = ("relaxed", "vapic", "spinlocks", "vpindex", "runtime", "synic", "reset", "frequencies", "reenlightenment", "tlbflush", "ipi")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}")


def disk_bus(disk: Disk) -> str:
    """Return the bus on KubeVirt: IDE becomes SATA, NVMe and Xen become virtio, CD-ROMs are SATA or SCSI, LUNs SCSI."""
    bus = disk.target_bus or BUSES.get(disk.bus.lower(), "sata")
    if disk.device == "cdrom":
        return "scsi" if bus == "scsi" else "sata"
    return "scsi" if disk.device == "lun" else bus


def disk_driver(disk: Disk) -> str:
    """Return the change of bus or controller that the guest needs another driver for, or an empty string."""
    if disk.device not in ("disk", "lun"):
        return ""
    before = disk.controller_model or disk.bus
    after = {"virtio": "virtio", "scsi": "virtio-scsi", "sata": "ahci", "usb": "usb"}[disk_bus(disk)]
    same = before.lower() in (after, disk.bus if disk.bus == disk_bus(disk) and not disk.controller_model else after)
    return "" if same else f"{before} to {after}"


def nic_model(nic: Nic) -> str:
    """Return the model on KubeVirt; VMware's paravirtual adapters and what KubeVirt does not know become virtio."""
    model = (nic.target_model or nic.model).lower()
    return model if model in NIC_MODELS else _NIC_NAMES.get(model, "virtio")


def kept_disks(vm: LegacyVm) -> list[Disk]:
    """Return the disks that the VirtualMachine gets, in the guest's order: no floppies and no CD-ROMs, which KubeVirt can't leave empty."""
    return sorted((disk for disk in vm.disks if disk.device in ("disk", "lun")), key=lambda disk: disk.order)


def disk_serial(vm: LegacyVm, disk: Disk) -> str:
    """Return the serial of a disk: the source's, made legal; empty where the source had none."""
    return names.serial(disk.serial, f"{vm.id}:{disk.id}") if disk.serial else ""


def boot_orders(vm: LegacyVm) -> dict[str, int]:
    """Return a boot order for every disk and bootable NIC by id, complete: devices without one come after those that have one."""
    disks, nics = kept_disks(vm), sorted(vm.nics, key=lambda nic: nic.order)
    ordered = sorted((item for item in (*disks, *nics) if item.boot_order), key=lambda item: item.boot_order or 0)
    rest = [disk for disk in disks if not disk.boot_order]
    return {item.id: place for place, item in enumerate([*ordered, *rest], 1)}


def boot_disk(vm: LegacyVm) -> Disk | None:
    """Return the disk that is tried first at boot."""
    orders = boot_orders(vm)
    return min(kept_disks(vm), key=lambda disk: orders[disk.id], default=None)


def cpu_model(cpu: Cpu) -> str:
    """Return the CPU model on KubeVirt: host-passthrough, host-model or a named one; empty for the cluster's default."""
    if cpu.mode in ("host-passthrough", "maximum"):
        return "host-passthrough"
    if cpu.mode == "host-model":
        return "host-model"
    return cpu.model if _MODEL.fullmatch(cpu.model) and cpu.model.partition("-v")[0] not in OBSOLETE_MODELS else ""


def pinned(cpu: Cpu) -> bool:
    """Tell whether every vCPU is pinned to one CPU of its own, the only pinning that dedicated placement reproduces."""
    sets = list(cpu.pinning.values())
    return len(sets) == cpu.vcpus and all(text.isdigit() for text in sets) and len(set(sets)) == len(sets) and cpu.threads <= 2


def hugepage(vm: LegacyVm) -> str:
    """Return the hugepage size on KubeVirt, or an empty string where the size or the memory does not fit."""
    size = HUGEPAGES.get(vm.hugepage_bytes or 0, "")
    return size if size and vm.memory_bytes % (vm.hugepage_bytes or 1) == 0 else ""


def secure_boot(firmware: Firmware) -> bool:
    """Tell whether the VM gets secure boot; only EFI has it."""
    return firmware.kind == "efi" and firmware.secure_boot


def quantity(value: int) -> str:
    """Return bytes as a Kubernetes quantity in the largest binary unit that is exact."""
    for unit, factor in (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def claim_bytes(size_bytes: int, volume_mode: str = "Filesystem") -> int:
    """Return the size of the claim in bytes: KubeVirt fills 94 % of a file system, so 6 % more, up to whole MiB; block volumes as they are."""
    wanted = size_bytes if volume_mode == "Block" else -(-size_bytes * 106 // 100)
    return max(-(-wanted // 2**20), 1) * 2**20


def cpu_features(cpu: Cpu) -> list[tuple[str, str]]:
    """Return CPU features with a policy KubeVirt knows; a nested hypervisor's vmx or svm becomes optional, so that any node will do."""
    return [(f.name, "optional" if f.name in ("vmx", "svm") and f.policy in ("force", "require") else f.policy)
            for f in cpu.features if f.policy in FEATURE_POLICIES and _MODEL.fullmatch(f.name.replace("_", "-"))]


def max_sockets(cpu: Cpu) -> int:
    """Return the sockets up to which vCPUs can be added, or 0 when none can."""
    most = (cpu.max_vcpus or 0) // (cpu.cores * cpu.threads)
    return most if most > cpu.sockets else 0


def machine_serial(vm: LegacyVm) -> str:
    """Return the SMBIOS serial: the source's own, or the one VMware derives from the UUID, to which licences bind."""
    if vm.firmware.serial:
        return vm.firmware.serial[:256]
    if vm.hypervisor == "vmware" and vm.uuid:
        digits = vm.uuid.replace("-", "")
        pairs = [digits[i:i + 2] for i in range(0, 32, 2)]
        return f"VMware-{' '.join(pairs[:8])}-{' '.join(pairs[8:])}"
    return ""


def hyperv(vm: LegacyVm) -> dict:
    """Return the Hyper-V enlightenments that are on and that KubeVirt has, with what they depend on."""
    on = {name for name in HYPERV if vm.features.get(f"hyperv.{name}") == "on"}
    if vm.features.get("hyperv.stimer") == "on":
        on |= {"synictimer"}
    if on & {"synictimer"}:
        on |= {"synic", "vpindex"}
    if on & {"synic", "tlbflush", "ipi"}:
        on |= {"vpindex"}
    out: dict = {name: {"enabled": True} for name in sorted(on)}
    retries = vm.features.get("hyperv.spinlocks.retries", "")
    if "spinlocks" in out and retries.isdigit() and 4096 <= int(retries[:10]) < 2**32:
        out["spinlocks"]["spinlocks"] = int(retries)
    if "synictimer" in out and vm.features.get("hyperv.stimer.direct") == "on":
        out["synictimer"]["direct"] = {"enabled": True}
    vendor = vm.features.get("hyperv.vendor_id.value", "")
    if vm.features.get("hyperv.vendor_id") == "on" and 0 < len(vendor) <= 12:
        out["vendorid"] = {"enabled": True, "vendorid": vendor}
    return out


def timezone(vm: LegacyVm) -> str:
    """Return the time zone of a clock that runs in local time, or an empty string for UTC; libvirt's `localtime` names no zone."""
    return vm.clock.timezone if vm.clock.offset == "timezone" and re.fullmatch(r"[A-Za-z0-9_+/-]{1,64}", vm.clock.timezone) else ""


def graphics(vm: LegacyVm) -> bool:
    """Tell whether the VM gets a display: where the source had one, or where it is not libvirt's to say."""
    return bool(vm.graphics or vm.video) or vm.hypervisor not in ("kvm", "qemu")


def watchdog_action(vm: LegacyVm) -> str:
    """Return KubeVirt's watchdog action: poweroff, reset or shutdown."""
    return vm.watchdog_action if vm.watchdog_action in ("poweroff", "reset", "shutdown") else "reset"


def sound(vm: LegacyVm) -> str:
    """Return the sound model: ac97 where the source has it, else ich9."""
    return "ac97" if vm.sound.lower() == "ac97" else "ich9"


def input_bus(text: str) -> str:
    """Return the bus of a tablet: usb or virtio."""
    return "virtio" if text.endswith("/virtio") else "usb"


def disk_io(disk: Disk) -> str:
    """Return the I/O mode on KubeVirt, or an empty string for its own choice; native I/O goes without a cache only."""
    cached = disk.cache not in ("", "none") and disk.cache in CACHES and not disk.shareable
    return disk.io if disk.io == "threads" or (disk.io == "native" and not cached) else ""
