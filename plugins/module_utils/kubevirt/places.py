# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each field of the Estate ends in the VirtualMachine: the second half of the ledger, made of the decisions that rendering uses.

A row gives the place in the manifest (`{j}` is the index of the disk or interface there) and a function of the VM, the disk, interface
or device (or None) and the rest of the field's name. It returns None when the meaning is kept, Changed or Dropped otherwise.
"""

from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, LegacyVm, Nic

from . import choices
from .decisions import Changed, Decide, Dropped, Outcome, differs, dropped, kept, unless

DOMAIN = "spec.template.spec.domain"
DISK = f"{DOMAIN}.devices.disks[{{j}}]"
NIC = f"{DOMAIN}.devices.interfaces[{{j}}]"
CLAIM = "PersistentVolumeClaim[{j}]"
NOTE = "metadata.annotations.tandem.hybrid/"


def _feature(vm: LegacyVm, _item: object, name: str) -> Outcome:
    state = vm.features.get(name, "on")
    if name == "smm":
        forced = choices.secure_boot(vm.firmware) and state == "off"
        return Changed("on", "secure boot needs SMM") if forced else None if state == "on" else Dropped("off is KubeVirt's default")
    if name in ("acpi", "apic", "pvspinlock") or (name == "kvm.hidden" and state == "on"):
        return None
    group, _dot, rest = name.partition(".")
    if group == "hyperv":
        hyperv, head = choices.hyperv(vm), rest.partition(".")[0]
        found = hyperv.get({"stimer": "synictimer", "vendor_id": "vendorid"}.get(head, head))
        if found and (rest == head or "retries" in rest or "value" in rest or "direct" in found):
            return None
    return Dropped("KubeVirt does not offer this hypervisor feature, or it is off")


def feature_place(name: str) -> str:
    """Return where a hypervisor feature of the Estate stands in the manifest."""
    names = {
        "hyperv.stimer": "hyperv.synictimer",
        "hyperv.vendor_id": "hyperv.vendorid",
        "hyperv.stimer.direct": "hyperv.synictimer.direct",
        "hyperv.spinlocks.retries": "hyperv.spinlocks",
        "hyperv.vendor_id.value": "hyperv.vendorid",
    }
    return f"{DOMAIN}.features.{names.get(name, name)}"


def _timer(vm: LegacyVm, _item: object, name: str) -> Outcome:
    return None if name in ("hpet", "pit", "rtc", "kvmclock", "hypervclock") else Dropped("KubeVirt has the hpet, pit, rtc, kvm and hyperv timers")


def _cpu_feature(vm: LegacyVm, _item: object, rest: str) -> Outcome:
    index = int(rest.strip("[]") or 0)
    feature = vm.cpu.features[index]
    policy = dict(choices.cpu_features(vm.cpu)).get(feature.name)
    if policy is None:
        return Dropped("no policy or name that KubeVirt knows")
    return None if policy == feature.policy else Changed(policy, "a nested hypervisor's feature is optional, so that any node will do")


def _cache(vm: LegacyVm, disk: Disk, _rest: str) -> Outcome:
    if disk.shareable:
        return None if disk.cache == "none" else Changed("none", "a shared disk must not be cached")
    return None if disk.cache in choices.CACHES else Dropped(f"KubeVirt knows the cache modes {', '.join(choices.CACHES)}")


def _controllers(vm: LegacyVm, _item: object, _rest: str) -> Outcome:
    """Compare the models of the controllers of all kept disks with KubeVirt's one for each bus."""
    models = {"virtio": "virtio", "scsi": "virtio-scsi", "sata": "ahci", "usb": "usb"}
    before = {disk.controller_model.lower().removeprefix("vmware.sata.") for disk in choices.kept_disks(vm)} - {""}
    after = {models[choices.disk_bus(disk)] for disk in choices.kept_disks(vm)}
    return None if before <= after else Changed(", ".join(sorted(after)), "KubeVirt's controllers are virtio, virtio-scsi and AHCI")


def _input(vm: LegacyVm, _item: object, rest: str) -> Outcome:
    text = vm.inputs[int(rest.strip("[]") or 0)]
    if not text.startswith("tablet"):
        return Dropped("KubeVirt adds a PS/2 keyboard and mouse; other inputs than tablets are unknown to it")
    return None if text == f"tablet/{choices.input_bus(text)}" or text == "tablet" else Changed(choices.input_bus(text), "tablets are on USB or virtio")


_ROWS: dict[str, tuple[str, Decide]] = {
    "name": ("metadata.name", differs(lambda vm, _i: vm.name, lambda vm, _i: vm.target_name, "Kubernetes names follow RFC 1123")),
    "title": (f"{NOTE}source-title", kept),
    "description": (f"{NOTE}source-description", kept),
    "os_id": (f"{NOTE}source-os", kept),
    "uuid": (f"{DOMAIN}.firmware.uuid", unless(lambda vm, _i: vm.uuid, "no UUID; KubeVirt makes one from the name")),
    "type": ("kind", kept),
    "virtualization": ("kind", kept),
    "hypervisor": ("kind", kept),
    "kind": ("kind", kept),
    "section": ("", dropped("structure of the package")),
    "deployment_option": ("", dropped("the chosen deployment option is rendered")),
    "arch": ("spec.template.spec.architecture", kept),
    "machine": (f"{DOMAIN}.machine.type", lambda vm, _i, _r: None if vm.machine == "q35" else Changed("q35", "the machine type KubeVirt supports")),
    "power_state": ("", dropped("the VM stays halted until cutover")),
    "direct_kernel": ("", dropped("a kernel from the source host can't be booted")),
    "memory_bytes": (f"{DOMAIN}.memory.guest", kept),
    "max_memory_bytes": ("", dropped("growing memory is a setting of the target")),
    "hugepage_bytes": (f"{DOMAIN}.memory.hugepages.pageSize", unless(lambda vm, _i: choices.hugepage(vm), "no page size that KubeVirt takes")),
    "cpu.sockets": (f"{DOMAIN}.cpu.sockets", kept),
    "cpu.vcpus": (f"{DOMAIN}.cpu.sockets", kept),
    "cpu.cores": (f"{DOMAIN}.cpu.cores", kept),
    "cpu.threads": (f"{DOMAIN}.cpu.threads", kept),
    "cpu.dies": (f"{DOMAIN}.cpu.cores", kept),
    "cpu.clusters": (f"{DOMAIN}.cpu.cores", kept),
    "cpu.max_vcpus": (f"{DOMAIN}.cpu.sockets", kept),
    "cpu.mode": (
        f"{DOMAIN}.cpu.model",
        lambda vm, _i, _r: (
            Dropped("the cluster's default model")
            if not choices.cpu_model(vm.cpu)
            else Changed("host-passthrough", "the largest model KubeVirt knows")
            if vm.cpu.mode == "maximum"
            else None
        ),
    ),
    "cpu.model": (
        f"{DOMAIN}.cpu.model",
        lambda vm, _i, _r: (
            None
            if choices.cpu_model(vm.cpu) == vm.cpu.model
            else Dropped("the CPU mode decides the model")
            if choices.cpu_model(vm.cpu)
            else Dropped("an obsolete model or no name that KubeVirt takes; the cluster's default is used")
        ),
    ),
    "cpu.features": (f"{DOMAIN}.cpu.features", _cpu_feature),
    "cpu.nested": ("", dropped("nodes offer nested virtualization or not")),
    "cpu.pinning": (f"{DOMAIN}.cpu.dedicatedCpuPlacement", unless(lambda vm, _i: choices.pinned(vm.cpu), "no pinning one to one")),
    "cpu.numa": (
        f"{DOMAIN}.cpu.numa.guestMappingPassthrough",
        unless(lambda vm, _i: choices.pinned(vm.cpu) and choices.hugepage(vm) and vm.cpu.numa, "KubeVirt maps NUMA with hugepages and pinned CPUs only"),
    ),
    "firmware.kind": (f"{DOMAIN}.firmware.bootloader", kept),
    "firmware.secure_boot": (f"{DOMAIN}.firmware.bootloader.efi.secureBoot", unless(lambda vm, _i: vm.firmware.kind == "efi", "BIOS has no secure boot")),
    "firmware.nvram": ("", dropped("UEFI variables start fresh")),
    "firmware.serial": (f"{DOMAIN}.firmware.serial", kept),
    "clock.offset": (
        f"{DOMAIN}.clock",
        lambda vm, _i, _r: None if vm.clock.offset == "utc" or choices.timezone(vm) else Changed("utc", "KubeVirt knows UTC and named zones"),
    ),
    "clock.timezone": (f"{DOMAIN}.clock.timezone", unless(lambda vm, _i: choices.timezone(vm), "no named zone")),
    "clock.timers": (f"{DOMAIN}.clock.timer", _timer),
    "features": (f"{DOMAIN}.features", _feature),
    "tpm": (f"{DOMAIN}.devices.tpm.persistent", lambda vm, _i, _r: Changed("tpm-crb", "KubeVirt's TPM is an emulated CRB") if vm.tpm != "tpm-crb" else None),
    "watchdog": (f"{DOMAIN}.devices.watchdog.i6300esb", differs(lambda vm, _i: vm.watchdog, lambda vm, _i: "i6300esb", "KubeVirt's watchdog on x86_64")),
    "watchdog_action": (
        f"{DOMAIN}.devices.watchdog.i6300esb.action",
        differs(lambda vm, _i: vm.watchdog_action, lambda vm, _i: choices.watchdog_action(vm), "KubeVirt knows poweroff, reset and shutdown"),
    ),
    "rng": (f"{DOMAIN}.devices.rng", unless(lambda vm, _i: vm.rng, "no generator")),
    "balloon": (f"{DOMAIN}.devices.autoattachMemBalloon", kept),
    "video": (f"{DOMAIN}.devices.autoattachGraphicsDevice", lambda vm, _i, _r: None if vm.video in ("vga", "") else Changed("vga", "KubeVirt's display")),
    "graphics": (
        f"{DOMAIN}.devices.autoattachGraphicsDevice",
        lambda vm, _i, rest: None if vm.graphics[int(rest.strip("[]") or 0) :][:1] == ["vnc"] else Changed("vnc", "KubeVirt serves VNC"),
    ),
    "sound": (
        f"{DOMAIN}.devices.sound.model",
        lambda vm, _i, _r: (
            Dropped("the VM has no sound device")
            if not vm.sound
            else None
            if vm.sound == choices.sound(vm)
            else Changed(choices.sound(vm), "KubeVirt knows ac97 and ich9")
        ),
    ),
    "inputs": (f"{DOMAIN}.devices.inputs", _input),
    "guest_agent": ("", dropped("KubeVirt adds the guest agent's channel to every VM")),
    "serial_console": ("", dropped("KubeVirt adds a serial console to every VM")),
    "host_devices": (f"{DOMAIN}.devices", kept),
    "disks.controller": (f"{DOMAIN}.devices.disks", kept),
    "disks.bus": (f"{DOMAIN}.devices.disks", kept),
    "disks.controller_model": (f"{DOMAIN}.devices.disks", _controllers),
    **{
        f"disks.{name}": ("PersistentVolumeClaim", unless(lambda vm, _i: choices.kept_disks(vm), "the VM has no disk that uses it"))
        for name in ("size_bytes", "source", "id")
    },
    "disks.backing": ("", dropped("the copy is flat")),
    "disks.boot_order": (
        f"{DOMAIN}.devices.disks",
        unless(lambda vm, _i: any(item.boot_order for item in (*vm.disks, *vm.nics)), "names no device of the VM"),
    ),
    "disks.shareable": (f"{DOMAIN}.devices.disks", kept),
    **{f"disks.{name}": ("", dropped("how the package carries the disk; the copy reads it there")) for name in ("member_bytes", "chunk", "compression")},
    "disks.format": ("", dropped("the copy is raw")),
    "change_tracking": ("", dropped("the copy decides how it finds changes")),
    "hot_add": ("", dropped("growing is a setting of the target")),
    "cluster_services": ("", dropped("Kubernetes, KubeVirt and the plan do this on the target")),
}
_DISKS: dict[str, tuple[str, Decide]] = {
    "id": (DISK, kept),
    "source": (CLAIM, kept),
    "source_kind": (CLAIM, kept),
    "size_bytes": (CLAIM, kept),
    "title": ("", dropped("a label for people")),
    "device": (DISK, kept),
    "unit": (DISK, kept),
    "controller": (DISK, kept),
    "mode": ("", dropped("snapshots of VMware")),
    "bus": (f"{DISK}.{{kind}}.bus", differs(lambda vm, d: d.bus, lambda vm, d: choices.disk_bus(d), "KubeVirt knows virtio, scsi, sata and usb")),
    "boot_order": (f"{DISK}.bootOrder", kept),
    "serial": (f"{DISK}.serial", differs(lambda vm, d: d.serial, choices.disk_serial, "KubeVirt admits letters, digits and _.+- only")),
    "wwn": ("", dropped("KubeVirt has no field for it")),
    "discard": ("", dropped("KubeVirt passes discards on where the storage can")),
    "format": ("", dropped("the copy is raw")),
    "cache": (f"{DISK}.cache", _cache),
    "shareable": (f"{DISK}.shareable", kept),
    "io": (f"{DISK}.io", unless(lambda vm, d: choices.disk_io(d), "KubeVirt knows native and threads, and native only without cache")),
    "read_only": (f"{DISK}.{{kind}}.readonly", unless(lambda vm, d: choices.disk_bus(d) != "sata", "a SATA disk can't be read-only")),
}
_NICS: dict[str, tuple[str, Decide]] = {
    "id": (NIC, kept),
    "mac": (f"{NIC}.macAddress", unless(lambda vm, n: n.mac, "no address")),
    "network": ("spec.template.spec.networks[{j}]", kept),
    "network_kind": ("spec.template.spec.networks[{j}]", kept),
    "model": (
        f"{NIC}.model",
        differs(lambda vm, n: n.model, lambda vm, n: choices.nic_model(n), "KubeVirt knows e1000, e1000e, igb, ne2k_pci, pcnet, rtl8139 and virtio"),
    ),
    "link_up": (NIC, kept),
    "boot_order": (f"{NIC}.bootOrder", kept),
    "mtu": ("", dropped("the target's network decides its MTU")),
}


def decide(vm: LegacyVm, field: str) -> tuple[str, Outcome]:
    """Return the place and the outcome of an Estate field such as `disks[1].bus`; an unknown one raises KeyError."""
    if field.startswith("disks["):
        return _member(vm, field, vm.disks, choices.kept_disks(vm), _DISKS)
    if field.startswith("nics["):
        return _member(vm, field, vm.nics, sorted(vm.nics, key=lambda nic: nic.order), _NICS)
    if field.startswith("host_devices"):
        return f"{DOMAIN}.devices", None
    if field.startswith(("ethernet", "pcipassthru")):
        return f"{DOMAIN}.devices", None
    head = next(
        name
        for name in ("clock.timers", "features", "cpu.features", "cpu.pinning", "cpu.numa", "inputs", "graphics", field)
        if field == name or field.startswith((f"{name}.", f"{name}["))
    )
    rest = field[len(head) :].lstrip(".")
    place, function = _ROWS[head]
    return feature_place(rest) if head == "features" else place, function(vm, None, rest)


def _member(vm: LegacyVm, field: str, items: list, order: list, rows: dict[str, tuple[str, Decide]]) -> tuple[str, Outcome]:
    index, _bracket, name = field.partition("[")[2].partition("].")
    item: Disk | Nic = items[int(index)]
    if item not in order:
        return "", Dropped(f"a {item.device} is not moved")
    place, function = rows[name]
    kind = "lun" if getattr(item, "device", "") == "lun" else "disk"
    return place.replace("{j}", str(order.index(item))).replace("{kind}", kind), function(vm, item, "")
