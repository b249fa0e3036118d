# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices of a vSphere VM: controllers, disks, network adapters, passthrough devices and the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, HostDevice, Nic

from .ledger import Cursor
from .units import integer, mac

_CONTROLLERS = {
    "VirtualIDEController": ("ide", ""),
    "ParaVirtualSCSIController": ("scsi", "pvscsi"),
    "VirtualLsiLogicController": ("scsi", "lsilogic"),
    "VirtualLsiLogicSASController": ("scsi", "lsisas1068"),
    "VirtualBusLogicController": ("scsi", "buslogic"),
    "VirtualAHCIController": ("sata", ""),
    "VirtualSATAController": ("sata", ""),
    "VirtualNVMEController": ("nvme", ""),
}
_DISKS = {"VirtualDisk": "disk", "VirtualCdrom": "cdrom", "VirtualFloppy": "floppy"}
_NICS = {
    "VirtualE1000": "e1000",
    "VirtualE1000e": "e1000e",
    "VirtualVmxnet": "vmxnet",
    "VirtualVmxnet2": "vmxnet2",
    "VirtualVmxnet3": "vmxnet3",
    "VirtualPCNet32": "pcnet32",
    "VirtualSriovEthernetCard": "sriovethernetcard",
    "VirtualVmxnet3Vrdma": "vmxnet3",
}
_SOUND = {"VirtualSoundCard": "ac97", "VirtualEnsoniq1371": "ac97", "VirtualHdAudioCard": "hda"}
_RANK = ("scsi", "sata", "nvme", "ide", "fdc", "")


def read(hardware: Cursor, boot: Cursor, names: Mapping[str, str], where: str) -> dict:
    """Return the fields of LegacyVm that come from devices."""
    devices = hardware.children("device")
    controllers = {device.peek("key"): device for device in devices if device.peek("type") in _CONTROLLERS}
    out: dict = {"host_devices": [], "sound": "", "tpm": "", "video": "svga"}
    disks, nics = [], []
    for device in devices:
        kind = device.peek("type")
        if kind in _DISKS:
            disks.append(_disk(device, len(disks), controllers, where))
        elif kind in _NICS:
            nics.append(_nic(device, len(nics), names, where))
        elif kind == "VirtualPCIPassthrough":
            out["host_devices"].append(_passthrough(device, len(out["host_devices"]), where))
        elif kind == "VirtualUSB":
            out["host_devices"].append(HostDevice(f"usb{device.peek('key')}", "usb"))
            device.attr("type", "host_devices.kind")
        elif kind == "VirtualTPM":
            device.attr("type", "tpm")
            out["tpm"] = "tpm-crb"
        elif kind in _SOUND:
            device.attr("type", "sound")
            out["sound"] = _SOUND[kind]
        elif kind in ("VirtualSerialPort", "VirtualVideoCard"):
            device.attr("type", "serial_console" if kind == "VirtualSerialPort" else "video")
    ranked = sorted(range(len(disks)), key=lambda i: (_RANK.index(disks[i].bus), disks[i].controller, disks[i].unit, i))
    disks = [dataclasses.replace(disk, order=ranked.index(i)) for i, disk in enumerate(disks)]
    disks, nics = _boot(boot, disks, nics)
    return out | {"disks": disks, "nics": nics}


def _disk(device: Cursor, i: int, controllers: dict[str, Cursor], where: str) -> Disk:
    at, kind = f"disks[{i}]", _DISKS[device.attr("type", f"disks[{i}].device")]
    controller = controllers.get(device.attr("controllerKey", f"{at}.controller"))
    bus, model = _CONTROLLERS[controller.attr("type", "disks.controller_model")] if controller else ("fdc" if kind == "floppy" else "", "")
    shared = controller.attr("sharedBus", "disks.shareable") in ("virtualSharing", "physicalSharing") if controller else False
    backing = device.child("backing") or device
    form = backing.peek("type")
    size = device.attr("capacityInBytes", f"{at}.size_bytes")
    kilobytes = device.attr("capacityInKB", f"{at}.size_bytes")
    raw = "RawDisk" in form
    digits = backing.attr("uuid", f"{at}.serial").replace("-", "") if kind == "disk" and backing is not device else ""
    return Disk(
        id=f"{kind}{device.attr('key', at + '.id')}",
        device="lun" if raw else kind,
        bus=bus,
        controller_model=model,
        controller=integer(controller.attr("busNumber", "disks.controller") or "0", where) if controller else 0,
        unit=integer(device.attr("unitNumber", f"{at}.unit") or "0", where, -1),
        order=i,
        read_only=kind == "cdrom",
        serial=digits,
        size_bytes=(integer(size, where) if size else integer(kilobytes, where) * 1024 if kilobytes else None) if kind == "disk" else None,
        format="vmdk" if kind == "disk" else "",
        source_kind="block" if raw else "file",
        shareable=shared or backing.attr("sharing", f"{at}.shareable") == "sharingMultiWriter",
        source=backing.attr("fileName", f"{at}.source") if backing is not device else "",
        independent="independent" in backing.attr("diskMode", f"{at}.mode"),
        backing=backing.child("parent").peek("fileName") if backing is not device and backing.child("parent") else "",
    )


def _nic(device: Cursor, i: int, names: Mapping[str, str], where: str) -> Nic:
    at = f"nics[{i}]"
    model = _NICS[device.attr("type", f"{at}.model")]
    backing, connectable = device.child("backing"), device.child("connectable")
    port = backing.child("port") if backing else None
    key = port.attr("portgroupKey", f"{at}.network") if port else ""
    network = (
        names.get(key, key)
        or (backing.attr("deviceName", f"{at}.network") if backing else "")
        or (backing.attr("network", f"{at}.network") if backing else "")
    )
    return Nic(
        id=f"nic{device.peek('key')}",
        mac=mac(device.attr("macAddress", f"{at}.mac"), where),
        model=model,
        network=network,
        network_kind="distributed" if port else "network",
        order=i,
        link_up=connectable.attr("startConnected", f"{at}.link_up") != "false" if connectable else True,
    )


def _passthrough(device: Cursor, i: int, where: str) -> HostDevice:
    at = f"host_devices[{i}]"
    device.attr("type", f"{at}.kind")
    backing = device.child("backing")
    if backing is None:
        return HostDevice(f"pci{i}", "pci")
    profile = backing.attr("vgpu", f"{at}.profile")
    chosen = backing.child("allowedDevice") or backing
    vendor, product = chosen.attr("vendorId", f"{at}.vendor_id"), chosen.attr("deviceId", f"{at}.product_id")
    return HostDevice(
        f"pci{i}",
        "vgpu" if profile else "pci",
        address=backing.attr("id", f"{at}.address"),
        profile=profile,
        vendor_id=_hex(vendor, True),
        product_id=_hex(product, chosen is not backing),
    )


def _hex(text: str, decimal: bool) -> str:
    """Return four hexadecimal digits: numbers of the API are decimal (signed 16-bit), the text deviceId is hexadecimal already."""
    if not text:
        return ""
    if decimal and text.lstrip("-").isdigit() and len(text) < 8:
        return f"{int(text) & 0xFFFF:04x}"
    return text.lower().removeprefix("0x")[:8]


def _boot(boot: Cursor, disks: list[Disk], nics: list[Nic]) -> tuple[list[Disk], list[Nic]]:
    """Apply bootOptions.bootOrder: disks and adapters by device key, CD-ROMs as a class."""
    ranks: dict[str, int] = {}
    for entry in boot.children("bootOrder"):
        key = entry.attr("deviceKey", "disks.boot_order")
        entry.attr("type", "disks.boot_order")
        found = [item.id for item in (*disks, *nics) if key and item.id in (f"disk{key}", f"nic{key}")]
        for name in found:
            ranks.setdefault(name, len(ranks) + 1)
    return (
        [dataclasses.replace(disk, boot_order=ranks.get(disk.id)) for disk in disks],
        [dataclasses.replace(nic, boot_order=ranks.get(nic.id)) for nic in nics],
    )
