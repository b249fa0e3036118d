# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The <devices> of a libvirt domain: disks, network interfaces, host devices and the rest."""
from __future__ import annotations

import dataclasses

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, HostDevice, Nic

from .ledger import EMPTY, Cursor
from .units import integer, mac

_SOURCES = ("file", "dev", "name", "dir", "volume", "path")
_NETWORKS = ("network", "bridge", "dev", "portgroup", "type", "path")
_BOOT_CLASSES = {"hd": ("disk", "lun"), "cdrom": ("cdrom",), "fd": ("floppy",), "network": ()}


def read(devices: Cursor | None, domain: Cursor) -> dict:
    """Return the fields of LegacyVm that come from <devices>."""
    if devices is None:
        return {}
    where = domain.where
    disks = _ordered([_disk(cursor, i, where) for i, cursor in enumerate(devices.children("disk"))], _scsi_models(devices, where))
    cursors = devices.children("interface")
    nics = [_nic(cursor, i, where) for i, cursor in enumerate(cursors) if cursor.peek("type") != "hostdev"]
    hosts = [_host_device(cursor, i, where) for i, cursor in enumerate(devices.children("hostdev"))]
    hosts += [_sriov(cursor, where) for cursor in cursors if cursor.peek("type") == "hostdev"]
    disks, nics = _boot(domain, disks, nics)
    return {"disks": disks, "nics": nics, "host_devices": hosts, **_single(devices)}


def _disk(cursor: Cursor, i: int, where: str) -> Disk:
    at = f"disks[{i}]"
    kind = cursor.attr("type", f"{at}.source_kind", "file") or "file"
    source, driver, target = cursor.child("source"), cursor.child("driver"), cursor.child("target")
    place = target.attr("dev", f"{at}.id") if target else ""
    bus = (target.attr("bus", f"{at}.bus") if target else "") or _bus_of(place)
    address, boot = cursor.child("address"), cursor.child("boot")
    flags = {}
    for name, tag in (("read_only", "readonly"), ("shareable", "shareable")):
        if flag := cursor.child(tag):
            flags[name] = flag.flag(f"{at}.{name}") if EMPTY in flag.node.field_names() else True
    options = {}
    for name, attribute in (("format", "type"), ("cache", "cache"), ("io", "io"), ("discard", "discard")):
        options[name] = driver.attr(attribute, f"{at}.{name}") if driver else ""
    return Disk(
        id=place or f"disk{i}", device=cursor.attr("device", f"{at}.device", "disk") or "disk", bus=bus, order=i,
        controller=_number(address, "controller", f"{at}.controller", where),
        unit=_number(address, "unit", f"{at}.unit", where) + 256 * (
            _number(address, "target", f"{at}.unit", where) + 256 * _number(address, "bus", f"{at}.unit", where)
            if address and address.peek("type") == "drive" else 0),
        boot_order=integer(boot.attr("order", f"{at}.boot_order"), f"{where}: boot@order", 1, 65536) if boot and boot.peek("order") else None,
        serial=cursor.child_text("serial", f"{at}.serial"), wwn=cursor.child_text("wwn", f"{at}.wwn"),
        source=_source(source, at, kind), source_kind=kind, encrypted=bool(cursor.child("encryption") or (
            source and source.child("encryption"))), reservations=bool(source and source.child("reservations")), **options, **flags)


def _source(source: Cursor | None, at: str, kind: str) -> str:
    if source is None:
        return ""
    values = {name: source.attr(name, f"{at}.source") for name in (*_SOURCES, "pool", "protocol") if source.peek(name)}
    main = next((values[name] for name in _SOURCES if values.get(name)), "")
    if values.get("pool"):
        return f"{values['pool']}/{main}"
    if values.get("protocol"):
        host = source.child("host")
        server = host.attr("name", f"{at}.source") if host else ""
        port = host.attr("port", f"{at}.source") if host else ""
        return f"{values['protocol']}://{server}{':' + port if port else ''}/{main}"
    return main


def _bus_of(place: str) -> str:
    return {"vd": "virtio", "sd": "scsi", "hd": "ide", "fd": "fdc", "xv": "xen", "sr": "sata", "ub": "usb"}.get(place[:2], "virtio")


def _number(address: Cursor | None, name: str, target: str, where: str) -> int:
    if address is None or address.peek("type") != "drive" or not address.peek(name):
        return 0
    return integer(address.attr(name, target), f"{where}: address@{name}", 0, 65535)


def _scsi_models(devices: Cursor, where: str) -> dict[int, str]:
    out = {}
    for controller in devices.children("controller"):
        if controller.peek("type") == "scsi":
            index = integer(controller.attr("index", "disks.controller", "0") or "0", f"{where}: controller@index", -1, 65536)
            controller.attr("type", "disks.controller_model")
            out[index] = controller.attr("model", "disks.controller_model")
    return out


def _ordered(disks: list[Disk], models: dict[int, str]) -> list[Disk]:
    """Number the disks as the guest counts them: by controller and unit within a bus, buses in the order of the descriptor."""
    buses = list(dict.fromkeys(disk.bus for disk in disks))
    ranked = sorted(disks, key=lambda d: (buses.index(d.bus), d.controller, d.unit, len(d.id), d.id, d.order))
    order = {id(disk): place for place, disk in enumerate(ranked)}
    return [dataclasses.replace(disk, order=order[id(disk)],
                                controller_model=models.get(disk.controller, "") if disk.bus == "scsi" else "") for disk in disks]


def _nic(cursor: Cursor, i: int, where: str) -> Nic:
    at = f"nics[{i}]"
    kind = cursor.attr("type", f"{at}.network_kind")
    source, link, boot = cursor.child("source"), cursor.child("link"), cursor.child("boot")
    names = [source.attr(name, f"{at}.network") for name in _NETWORKS if source and source.peek(name)]
    mtu = cursor.child_attr("mtu", "size", f"{at}.mtu")
    return Nic(
        id=f"nic{i}", mac=mac(cursor.child_attr("mac", "address", f"{at}.mac"), f"{where}: <mac>"), order=i,
        model=cursor.child_attr("model", "type", f"{at}.model"), network=names[0] if names else kind, network_kind=kind,
        port_group=source.peek("portgroup") if source else "",
        link_up=link.attr("state", f"{at}.link_up", "up") != "down" if link else True,
        boot_order=integer(boot.attr("order", f"{at}.boot_order"), f"{where}: boot@order", 1, 65536) if boot and boot.peek("order") else None,
        mtu=integer(mtu, f"{where}: mtu@size", 1, 1_000_000) if mtu else None)


def _host_device(cursor: Cursor, i: int, where: str) -> HostDevice:
    at = f"host_devices[{i}]"
    mode = cursor.attr("mode", f"{at}.kind", "subsystem")
    kind = cursor.attr("type", f"{at}.kind")
    source, boot, ids = cursor.child("source"), cursor.child("boot"), {}
    address = source.child("address") if source else None
    for name in ("vendor", "product"):
        ids[f"{name}_id"] = (source.child_attr(name, "id", f"{at}.{name}_id") if source else "").lower().removeprefix("0x")
    place = ""
    if address and kind == "pci":
        place = pci(address, f"{at}.address", where)
    elif address and address.peek("uuid"):
        place = address.attr("uuid", f"{at}.address")
    model = cursor.attr("model", f"{at}.kind")
    return HostDevice(
        id=f"hostdev{i}", kind=kind if mode == "subsystem" else f"{mode}-{kind}", address=place, profile=model if kind == "mdev" else "",
        boot_order=integer(boot.attr("order", f"{at}.boot_order"), f"{where}: boot@order", 1, 65536) if boot and boot.peek("order") else None,
        **ids)


def _sriov(cursor: Cursor, where: str) -> HostDevice:
    """Return an SR-IOV function given as an interface; its MAC stays with it."""
    at = "host_devices[sriov]"
    cursor.attr("type", f"{at}.kind")
    address = cursor.child("source") and cursor.child("source").child("address")
    if address and address.peek("type") != "usb":
        address.attr("type", f"{at}.address")
    return HostDevice(id=f"sriov-{cursor.child_attr('mac', 'address', at + '.mac') or 'nic'}", kind="sriov",
                      address=pci(address, f"{at}.address", where) if address else "")


def pci(address: Cursor, target: str, where: str) -> str:
    """Return a PCI address as dddd:bb:ss.f."""
    parts = [integer(address.attr(name, target, "0") or "0", f"{where}: address@{name}", 0, 0xFFFFFFFF)
             for name in ("domain", "bus", "slot", "function")]
    return "{:04x}:{:02x}:{:02x}.{:x}".format(*parts)


def _boot(domain: Cursor, disks: list[Disk], nics: list[Nic]) -> tuple[list[Disk], list[Nic]]:
    """Turn <os><boot dev=.../> classes into an order of devices, when no device has an order of its own."""
    boots = domain.child("os").children("boot") if domain.child("os") else []
    if not boots:
        return disks, nics
    orders: dict[str, int] = {}
    for boot in boots:
        name = boot.peek("dev")
        if name == "network":
            found = [(f"nics[{i}]", nic.id) for i, nic in enumerate(nics)]
        else:
            chosen = sorted((d for d in disks if d.device in _BOOT_CLASSES.get(name, ())), key=lambda d: d.order)
            found = [(f"disks[{disks.index(disk)}]", disk.id) for disk in chosen]
        if found:
            boot.attr("dev", f"{found[0][0]}.boot_order")
        else:
            boot.drop("dev", f"the VM has no device of the class {name[:20]}")
        for _target, key in found:
            orders.setdefault(key, len(orders) + 1)
    if any(item.boot_order for item in (*disks, *nics)):
        return disks, nics
    return ([dataclasses.replace(disk, boot_order=orders.get(disk.id)) for disk in disks],
            [dataclasses.replace(nic, boot_order=orders.get(nic.id)) for nic in nics])


def _single(devices: Cursor) -> dict:
    out: dict = {"inputs": [], "graphics": []}
    if tpm := devices.child("tpm"):
        model = tpm.attr("model", "tpm") or "tpm"
        backend = tpm.child_attr("backend", "type", "tpm")
        tpm.child_attr("backend", "version", "tpm")
        out["tpm"] = f"{model}/{backend}" if backend == "passthrough" else model
    # The iTCO timer belongs to q35: libvirt (9.1 and newer) writes it down for every such domain, KubeVirt's as well.
    if watchdog := next((one for one in devices.children("watchdog") if one.peek("model") != "itco"), None):
        out["watchdog"] = watchdog.attr("model", "watchdog")
        out["watchdog_action"] = watchdog.attr("action", "watchdog_action", "reset")
    if rng := devices.child("rng"):
        out["rng"] = bool(rng.attr("model", "rng", "virtio"))
        rng.child_attr("backend", "model", "rng")
    if balloon := devices.child("memballoon"):
        out["balloon"] = balloon.attr("model", "balloon") != "none"
    if video := devices.child("video"):
        out["video"] = video.child_attr("model", "type", "video")
    if sound := devices.child("sound"):
        out["sound"] = sound.attr("model", "sound")
    for i, device in enumerate(devices.children("input")):
        kind, bus = device.attr("type", f"inputs[{i}]"), device.attr("bus", f"inputs[{i}]")
        out["inputs"].append(f"{kind}/{bus}" if bus else kind)
    for i, device in enumerate(devices.children("graphics")):
        out["graphics"].append(device.attr("type", f"graphics[{i}]"))
    for channel in devices.children("channel"):
        target = channel.child("target")
        if target and target.peek("name").startswith("org.qemu.guest_agent"):
            target.attr("name", "guest_agent")
            channel.attr("type", "guest_agent")
            target.attr("type", "guest_agent")
            out["guest_agent"] = True
    for tag in ("serial", "console"):
        if port := devices.child(tag):
            port.attr("type", "serial_console")
            out["serial_console"] = True
    return out
