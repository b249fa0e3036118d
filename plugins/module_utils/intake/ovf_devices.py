# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hardware items of an OVF descriptor: controllers, disks, network adapters and others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, HostDevice, Nic

from .errors import IntakeError
from .ledger import TEXT, Cursor
from .paths import is_safe
from .units import integer, mac

_ITEMS = ("Item", "StorageItem", "EthernetPortItem")
_BUSES = {"5": "ide", "6": "scsi", "20": "sata", "23": "usb"}
_DEVICES = {"17": "disk", "31": "disk", "15": "cdrom", "16": "cdrom", "14": "floppy"}
_FORMATS = (("vmdk", "vmdk"), ("vmware", "vmdk"), ("vhdx", "vhdx"), ("vhd", "vpc"), ("qcow", "qcow2"), ("raw", "raw"), ("vdi", "vdi"))


class Items:
    """The items of a hardware section that belong to one deployment option, by resource type."""

    def __init__(self, hardware: Cursor | None, option: str, where: str):
        self.where = where
        self._items: list[tuple[str, Cursor]] = []
        for item in hardware.children(*_ITEMS) if hardware else ():
            chosen = item.peek("configuration").split()
            if item.peek("bound") in ("min", "max"):
                item.drop_all("a bound of a value, no device")
            elif chosen and option not in chosen:
                item.drop_all("for another deployment option")
            else:
                item.attr("configuration", "deployment_option")
                self._items.append((text(item, "ResourceType", "kind"), item))

    def of(self, *kinds: str) -> list[Cursor]:
        """Return the items of the given resource types (CIM_ResourceAllocationSettingData.ResourceType)."""
        return [item for kind, item in self._items if kind in kinds]

    def controllers(self) -> dict[str, tuple[str, str, int]]:
        """Return bus, model and bus number of each controller by instance id."""
        out = {}
        for item in self.of(*_BUSES):
            model = text(item, "ResourceSubType", "disks.controller_model")
            bus = "nvme" if "nvme" in model.lower() else _BUSES[text(item, "ResourceType", "disks.bus")]
            number = text(item, "BusNumber", "disks.controller") or text(item, "Address", "disks.controller")
            out[instance(item, "disks.controller")] = (bus, model, int(number) if number.isdigit() and len(number) < 6 else 0)
        return out


def text(item: Cursor, name: str, target: str) -> str:
    """Return a setting of an item, whichever of the CIM classes its element belongs to."""
    return next((value for prefix in ("rasd", "asd", "epasd", "sasd") if (value := item.child_text(f"{prefix}:{name}", target))), "")


def instance(item: Cursor, target: str) -> str:
    """Return the instance id; OVF 0.9 spells it InstanceId."""
    return text(item, "InstanceID", target) or text(item, "InstanceId", target)


def read(items: Items, images: Mapping, members: Mapping | None, where: str, boots: Iterable[Cursor] = ()) -> dict:
    """Return the fields of LegacyVm that come from hardware items."""
    controllers = items.controllers()
    disks = [_disk(item, i, controllers, images, members, where) for i, item in enumerate(items.of(*_DEVICES))]
    buses = list(dict.fromkeys(disk.bus for disk in disks))
    ranked = sorted(range(len(disks)), key=lambda i: (buses.index(disks[i].bus), disks[i].controller, disks[i].unit, i))
    disks = [dataclasses.replace(disk, order=ranked.index(i)) for i, disk in enumerate(disks)]
    nics = [_nic(item, i, where) for i, item in enumerate(items.of("10", "33"))]
    disks, nics = _booted(boots, disks, nics)
    hosts, tpm = [], ""
    for item in items.of("1"):
        kind = text(item, "ResourceSubType", "host_devices.kind").lower()
        if kind == "vmware.vtpm":
            tpm = "tpm-crb"
        elif kind.startswith(("vmware.pci.passthrough", "vmware.sriov")):
            hosts.append(_host_device(item, kind, len(hosts)))
    for item in items.of("23"):
        if kind := item.child("rasd:ResourceSubType"):
            kind.drop(TEXT, "KubeVirt adds a USB controller where a device needs one")
    sound = [text(item, "ResourceSubType", "sound") or "sound" for item in items.of("35")]
    video = [text(item, "ResourceType", "video") for item in items.of("24")]
    return {"disks": disks, "nics": nics, "host_devices": hosts, "tpm": tpm, "sound": sound[0] if sound else "", "video": "svga" if video else ""}


def _disk(item: Cursor, i: int, controllers: dict, images: Mapping, members: Mapping | None, where: str) -> Disk:
    at = f"disks[{i}]"
    device = _DEVICES[text(item, "ResourceType", f"{at}.device")]
    bus, model, number = controllers.get(text(item, "Parent", f"{at}.controller"), ("fdc" if device == "floppy" else "sata", "", 0))
    unit = text(item, "AddressOnParent", f"{at}.unit") or text(item, "Address", f"{at}.unit")
    number_of = instance(item, f"{at}.id") or str(i)
    label = text(item, "ElementName", f"{at}.title") or text(item, "Caption", f"{at}.title")
    host = text(item, "HostResource", f"{at}.source")
    image = _image(host, images, where) if host else None
    text(item, "ResourceSubType", f"{at}.device")
    disk = Disk(
        id=f"{device}{number_of}"[:40],
        title=label,
        device=device,
        bus=bus,
        controller_model=model,
        controller=number,
        unit=int(unit) if unit.isdigit() and len(unit) < 6 else 0,
        order=i,
        read_only=device == "cdrom",
    )
    return _with_image(disk, image, members, where) if image else disk


def _image(host: str, images: Mapping, where: str):
    kind, _slash, name = host.removeprefix("ovf:").lstrip("/").partition("/")
    if kind == "disk" and name in images:
        return images[name]
    if kind == "file":
        return None
    raise IntakeError(f"{where}: HostResource {host[:80]!r}; expected ovf:/disk/ID of the DiskSection or ovf:/file/ID")


def _with_image(disk: Disk, image, members: Mapping | None, where: str) -> Disk:
    file, format = image.file, next((short for word, short in _FORMATS if word in image.format.lower()), "")
    values = {"size_bytes": image.size_bytes, "format": format or image.format[:80], "backing": image.parent}
    if file:
        kind = "network" if "://" in file.href else "file" if is_safe(file.href) else "refused"
        values |= {"source": file.href, "source_kind": kind, "member": file.href, "compression": file.compression, "member_bytes": file.size_bytes}
        if file.chunk_bytes:
            values["compression"] = f"{file.compression or 'identity'}, in chunks"
        elif members is not None and "://" not in file.href:
            member = members.get(file.href)
            if member is None:
                raise IntakeError(f"{where}: the archive has no member {file.href[:80]!r} that the descriptor refers to")
            if file.size_bytes is not None and file.size_bytes != member.size_bytes:
                raise IntakeError(f"{where}: member {file.href[:80]!r} has {member.size_bytes} bytes, the descriptor says {file.size_bytes}")
            values |= {"source": where, "source_kind": "ova", "member_offset": member.offset, "member_bytes": member.size_bytes}
    return dataclasses.replace(disk, **values)


def _nic(item: Cursor, i: int, where: str) -> Nic:
    at = f"nics[{i}]"
    return Nic(
        id=f"nic{instance(item, at + '.id') or i}"[:40],
        order=i,
        mac=_mac(text(item, "Address", f"{at}.mac"), where),
        model=text(item, "ResourceSubType", f"{at}.model"),
        network=text(item, "Connection", f"{at}.network"),
        network_kind="network",
        link_up=text(item, "AutomaticAllocation", f"{at}.link_up").lower() != "false",
    )


def _booted(sections: Iterable[Cursor], disks: list[Disk], nics: list[Nic]) -> tuple[list[Disk], list[Nic]]:
    """Apply BootOrderSection: instance ids of disks and adapters in the order in which they are tried."""
    ranks: dict[str, int] = {}
    for section in sections:
        section.attr("vmw:type", "disks.boot_order")
        for number in section.attr("vmw:instanceId", "disks.boot_order").split():
            ranks.setdefault(number, len(ranks) + 1)
    if not ranks:
        return disks, nics
    return (
        [dataclasses.replace(disk, boot_order=ranks.get(disk.id.removeprefix(disk.device))) for disk in disks],
        [dataclasses.replace(nic, boot_order=ranks.get(nic.id.removeprefix("nic"))) for nic in nics],
    )


def _mac(value: str, where: str) -> str:
    """Return a MAC address; an Address without a colon or dash is a bus address in OVF 0.9 and none."""
    return mac(value, f"{where}: Address of a network adapter") if any(c in value for c in ":-") else ""


def _host_device(item: Cursor, kind: str, i: int) -> HostDevice:
    at, settings = f"host_devices[{i}]", {}
    for setting in item.children("vmw:Config"):
        key = setting.attr("vmw:key", at)
        settings[key.rpartition(".")[2]] = setting.attr("vmw:value", at)
    profile = settings.get("vgpu", "")
    return HostDevice(
        id=f"pci{i}",
        kind="vgpu" if profile or kind.endswith("vmiop") else "pci",
        profile=profile,
        vendor_id=_hex(settings.get("vendorId", "")),
        product_id=_hex(settings.get("deviceId", "")),
        address=settings.get("id", ""),
    )


def _hex(value: str) -> str:
    """Return four hexadecimal digits for VMware's decimal (also negative 16-bit) or 0x-prefixed identifiers."""
    try:
        return f"{integer(value.lstrip('-'), 'PCI id', 0, 65535) * (-1 if value.startswith('-') else 1) & 0xFFFF:04x}" if value else ""
    except IntakeError:
        return value.lower()[:8]
