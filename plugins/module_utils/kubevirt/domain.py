# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The template of a VirtualMachine: domain, networks and volumes."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, LegacyVm, Nic

from . import choices
from .errors import RenderError
from .host_devices import Placed
from .maps import Maps

_TICKS = {"hpet": ("delay", "catchup", "merge", "discard"), "pit": ("delay", "catchup", "discard"), "rtc": ("delay", "catchup")}
_TIMERS = {"hpet": "hpet", "pit": "pit", "rtc": "rtc", "kvmclock": "kvm", "hypervclock": "hyperv"}


def template(vm: LegacyVm, name: str, maps: Maps, placed: list[Placed], sized_elsewhere: bool) -> dict:
    """Return the spec of the VM's template; sizes stay out when an instance type gives them."""
    orders = choices.boot_orders(vm)
    interfaces, networks = _networks(vm, maps, orders)
    disks = choices.kept_disks(vm)
    domain = {
        "machine": {"type": "q35"}, "firmware": _firmware(vm), "features": _features(vm), "clock": _clock(vm),
        "devices": _devices(vm) | {"disks": [_disk(vm, disk, i, orders) for i, disk in enumerate(disks)], "interfaces": interfaces},
    }
    cpu = _cpu(vm, sized_elsewhere)
    if cpu:
        domain["cpu"] = cpu
    if not sized_elsewhere:
        domain["memory"] = _memory(vm)
    for i, item in enumerate(placed):
        domain["devices"].setdefault(item.section, []).append({"name": f"{item.section.lower()[:4]}-{i}", "deviceName": item.resource})
    spec = {"architecture": "amd64", "domain": domain, "networks": networks, "terminationGracePeriodSeconds": 180,
            "volumes": [{"name": f"disk-{i}", "persistentVolumeClaim": {"claimName": f"{name}-disk-{i}"}} for i in range(len(disks))]}
    return spec


def _cpu(vm: LegacyVm, sized_elsewhere: bool) -> dict:
    cpu = vm.cpu
    out: dict = {} if sized_elsewhere else {"sockets": cpu.sockets, "cores": cpu.cores, "threads": cpu.threads}
    model = choices.cpu_model(cpu)
    if model:
        out["model"] = model
    features = choices.cpu_features(cpu)
    if features:
        out["features"] = [{"name": name, "policy": policy} for name, policy in features]
    if choices.max_sockets(cpu) and not sized_elsewhere:
        out["maxSockets"] = choices.max_sockets(cpu)
    if choices.pinned(cpu) and not sized_elsewhere:
        out["dedicatedCpuPlacement"] = True
        if cpu.numa and choices.hugepage(vm):
            out["numa"] = {"guestMappingPassthrough": {}}
    return out


def _memory(vm: LegacyVm) -> dict:
    out: dict = {"guest": choices.quantity(vm.memory_bytes)}
    if choices.hugepage(vm):
        out["hugepages"] = {"pageSize": choices.hugepage(vm)}
    return out


def _firmware(vm: LegacyVm) -> dict:
    out: dict = {}
    if vm.uuid:
        out["uuid"] = vm.uuid
    if choices.machine_serial(vm):
        out["serial"] = choices.machine_serial(vm)
    if vm.firmware.kind == "efi":
        out["bootloader"] = {"efi": {"secureBoot": choices.secure_boot(vm.firmware), "persistent": True}}
    else:
        out["bootloader"] = {"bios": {}}
    return out


def _features(vm: LegacyVm) -> dict:
    def on(name: str) -> dict:
        return {"enabled": vm.features.get(name, "on") != "off"}

    features: dict = {"acpi": on("acpi") if "acpi" in vm.features or not vm.features else {"enabled": True}}
    if "apic" in vm.features:
        features["apic"] = on("apic")
    if "pvspinlock" in vm.features:
        features["pvspinlock"] = on("pvspinlock")
    if choices.secure_boot(vm.firmware) or vm.features.get("smm") == "on":
        features["smm"] = {"enabled": True}
    if vm.features.get("kvm.hidden") == "on":
        features["kvm"] = {"hidden": True}
    hyperv = choices.hyperv(vm)
    if hyperv:
        features["hyperv"] = hyperv
    return features


def _clock(vm: LegacyVm) -> dict:
    zone = choices.timezone(vm)
    out: dict = {"timezone": zone} if zone else {"utc": {}}
    timers = {}
    for name, state in sorted(vm.clock.timers.items()):
        if name not in _TIMERS:
            continue
        timer: dict = {"present": state != "off"}
        if state in _TICKS.get(name, ()):
            timer["tickPolicy"] = state
        timers[_TIMERS[name]] = timer
    if timers:
        out["timer"] = timers
    return out


def _devices(vm: LegacyVm) -> dict:
    out: dict = {"autoattachPodInterface": False, "autoattachGraphicsDevice": choices.graphics(vm), "autoattachMemBalloon": vm.balloon}
    if vm.rng:
        out["rng"] = {}
    out["tpm"] = {"persistent": True} if vm.tpm else {"enabled": False}
    if vm.watchdog:
        out["watchdog"] = {"name": "watchdog", "i6300esb": {"action": choices.watchdog_action(vm)}}
    if vm.sound:
        out["sound"] = {"name": "sound", "model": choices.sound(vm)}
    tablets = [text for text in vm.inputs if text.startswith("tablet")]
    if tablets:
        out["inputs"] = [{"type": "tablet", "name": f"tablet-{i}", "bus": choices.input_bus(text)} for i, text in enumerate(tablets)]
    return out


def _disk(vm: LegacyVm, disk: Disk, index: int, orders: dict[str, int]) -> dict:
    target: dict = {"bus": choices.disk_bus(disk)}
    if disk.read_only and target["bus"] != "sata":
        target["readonly"] = True
    out: dict = {"name": f"disk-{index}", "bootOrder": orders[disk.id], ("lun" if disk.device == "lun" else "disk"): target}
    if disk.device == "lun" and disk.reservations:
        target["reservation"] = True
    serial = choices.disk_serial(vm, disk)
    if serial:
        out["serial"] = serial
    if disk.shareable:
        out["shareable"], out["cache"] = True, "none"
    elif disk.cache in choices.CACHES:
        out["cache"] = disk.cache
    if choices.disk_io(disk):
        out["io"] = disk.io
    return out


def _networks(vm: LegacyVm, maps: Maps, orders: dict[str, int]) -> tuple[list[dict], list[dict]]:
    interfaces, networks, pod = [], [], ""
    for i, nic in enumerate(sorted(vm.nics, key=lambda nic: nic.order)):
        rule = maps.network(vm, nic)
        name = f"net-{i}"
        if rule.network == "pod":
            if pod:
                raise RenderError(f"{vm.name}: {pod} and {nic.id} both map to the pod network, a VM has one interface on it; "
                                  f"map network {nic.network!r} to a NetworkAttachmentDefinition")
            pod = nic.id
            networks.append({"name": name, "pod": {}})
        else:
            networks.append({"name": name, "multus": {"networkName": rule.network}})
        interfaces.append(_interface(nic, name, rule.binding or ("masquerade" if rule.network == "pod" else "bridge"), orders))
    return interfaces, networks


def _interface(nic: Nic, name: str, binding: str, orders: dict[str, int]) -> dict:
    out: dict = {"name": name, "model": choices.nic_model(nic), binding: {}}
    if binding == "sriov":
        del out["model"]
    if nic.mac:
        out["macAddress"] = nic.mac
    if nic.id in orders:
        out["bootOrder"] = orders[nic.id]
    if not nic.link_up:
        out["state"] = "down"
    return out
