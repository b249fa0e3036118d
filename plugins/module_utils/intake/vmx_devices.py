# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices of a VMX file: SCSI, SATA, IDE and NVMe disks, floppies, network adapters, passthrough devices."""
from __future__ import annotations

import dataclasses
import re

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, HostDevice, Nic

from .ledger import Cursor
from .units import mac

_DISK = re.compile(r"(scsi|sata|ide|nvme)(\d{1,3}):(\d{1,3})\.filename|(scsi|sata|ide|nvme)(\d{1,3}):(\d{1,3})\.present")
_EMPTY = ("auto detect", "emptybackingstring", "vmware-null-remote-floppy")
_RANK = ("scsi", "sata", "nvme", "ide")


def truth(value: str) -> bool:
    """Return a VMX boolean."""
    return value.strip().lower() in ("true", "yes", "1", "on")


def read(vmx: Cursor) -> dict:
    """Return the fields of LegacyVm that come from devices."""
    disks = [_disk(vmx, *place, i) for i, place in enumerate(_places(vmx))]
    disks += [floppy for number in range(2) if (floppy := _floppy(vmx, number, len(disks)))]
    nics = [_nic(vmx, number, i) for i, number in enumerate(_present(vmx, "ethernet", 64))]
    devices = [_passthrough(vmx, number) for number in _present(vmx, "pcipassthru", 64)]
    return {"disks": _booted(vmx, disks), "nics": nics, "host_devices": devices, "tpm": "tpm-crb" if _on(vmx, "vtpm", "tpm") else "",
            "sound": (vmx.attr("sound.virtualdev", "sound") or "sound") if _on(vmx, "sound", "sound") else "",
            "video": "svga", "serial_console": any(_present(vmx, "serial", 8, "serial_console"))}


def _on(vmx: Cursor, name: str, target: str) -> bool:
    return truth(vmx.attr(f"{name}.present", target))


def _present(vmx: Cursor, name: str, most: int, target: str = "") -> list[int]:
    """Return the numbers of the devices of a kind that are present; what absent ones say is dropped."""
    out = []
    for number in range(most):
        key = f"{name}{number}"
        if truth(vmx.peek(f"{key}.present")):
            vmx.attr(f"{key}.present", target or f"{key}.present")
            out.append(number)
        else:
            _drop(vmx, f"{key}.")
    return out


def _drop(vmx: Cursor, prefix: str) -> None:
    for key in [key for key in vmx.node.attributes if key.startswith(prefix)]:
        vmx.drop(key, "a device that is not present")


def _places(vmx: Cursor) -> list[tuple[str, int, int]]:
    """Return bus, controller and unit of every disk that is present, in the guest's order."""
    found = set()
    for key in vmx.node.attributes:
        if match := _DISK.fullmatch(key):
            bus, controller, unit = [part for part in match.groups() if part is not None]
            found.add((bus, int(controller), int(unit)))
    present = []
    for bus, controller, unit in sorted(found, key=lambda place: (_RANK.index(place[0]), place[1], place[2])):
        if truth(vmx.peek(f"{bus}{controller}:{unit}.present")):
            present.append((bus, controller, unit))
        else:
            _drop(vmx, f"{bus}{controller}:{unit}.")
    return present


def _disk(vmx: Cursor, bus: str, controller: int, unit: int, i: int) -> Disk:
    key, at = f"{bus}{controller}:{unit}", f"disks[{i}]"
    vmx.attr(f"{key}.present", f"{at}.id")
    kind = vmx.attr(f"{key}.devicetype", f"{at}.device").lower()
    source = vmx.attr(f"{key}.filename", f"{at}.source")
    source = "" if source.lower() in _EMPTY else source
    cdrom = kind.startswith(("cdrom", "atapi")) or source.lower().endswith(".iso")
    device = "cdrom" if cdrom else "lun" if "rawdisk" in kind or kind in ("scsi-passthru", "scsi-passthrough-rdm") else "disk"
    for name in ("startconnected", "clientdevice"):
        vmx.attr(f"{key}.{name}", f"{at}.device")
    mode = vmx.attr(f"{key}.mode", f"{at}.mode").lower()
    shared = vmx.attr(f"{bus}{controller}.sharedbus", "disks.shareable").lower() in ("virtual", "physical")
    shared = "multi-writer" in vmx.attr(f"{key}.sharing", f"{at}.shareable").lower() or shared
    through = vmx.attr(f"{key}.writethrough", f"{at}.cache")
    safe = not ({".."} & set(source.replace("\\", "/").split("/")))
    kind_of = "refused" if not safe else "block" if device == "lun" or kind == "cdrom-raw" else "file"
    return Disk(
        id=key, device=device, bus=bus, controller=controller, unit=unit, order=i, source=source, source_kind=kind_of,
        controller_model=(vmx.attr(f"{bus}{controller}.virtualdev", "disks.controller_model") or ("lsilogic" if bus == "scsi" else "")).lower(),
        format="vmdk" if device == "disk" else "", shareable=shared and device != "cdrom", read_only=cdrom,
        cache="writethrough" if truth(through) else "", independent="independent" in mode)


def _floppy(vmx: Cursor, number: int, i: int) -> Disk | None:
    key = f"floppy{number}"
    if not truth(vmx.peek(f"{key}.present", "true" if vmx.peek(f"{key}.filename") else "")):
        _drop(vmx, f"{key}.")
        return None
    for name in ("present", "startconnected", "clientdevice", "filetype", "autodetect"):
        vmx.attr(f"{key}.{name}", f"disks[{i}].device")
    return Disk(id=key, device="floppy", bus="fdc", unit=number, order=i, source=vmx.attr(f"{key}.filename", f"disks[{i}].source"))


def _nic(vmx: Cursor, number: int, i: int) -> Nic:
    key, at = f"ethernet{number}", f"nics[{i}]"
    given, made = vmx.attr(f"{key}.address", f"{at}.mac"), vmx.attr(f"{key}.generatedaddress", f"{at}.mac")
    kind = vmx.attr(f"{key}.addresstype", f"{at}.mac").lower()
    connection = vmx.attr(f"{key}.connectiontype", f"{at}.network_kind") or "bridged"
    network = vmx.attr(f"{key}.networkname", f"{at}.network") or vmx.attr(f"{key}.dvs.portgroupid", f"{at}.network") or \
        vmx.attr(f"{key}.vnet", f"{at}.network") or connection
    address = (given or made) if kind == "static" else (made or given)
    return Nic(id=key, mac=mac(address, f"{vmx.where}: {key}"), model=vmx.attr(f"{key}.virtualdev", f"{at}.model").lower(),
               network=network, network_kind=connection, order=i,
               link_up=vmx.attr(f"{key}.startconnected", f"{at}.link_up").lower() != "false",
               pci_address=vmx.peek(f"{key}.pcislotnumber"))


def _passthrough(vmx: Cursor, number: int) -> HostDevice:
    key, at = f"pcipassthru{number}", f"host_devices[{number}]"
    profile = vmx.attr(f"{key}.vgpu", f"{at}.profile")
    ids = {name: vmx.attr(f"{key}.{name}id", f"{at}.{name}_id").lower().removeprefix("0x") for name in ("vendor", "device")}
    return HostDevice(id=key, kind="vgpu" if profile else "pci", profile=profile, vendor_id=ids["vendor"], product_id=ids["device"],
                      address=vmx.attr(f"{key}.id", f"{at}.address"))


def _booted(vmx: Cursor, disks: list[Disk]) -> list[Disk]:
    """Apply bios.hddOrder, a list like `scsi0:1,scsi0:0`, as boot order."""
    order = [part.strip() for part in vmx.attr("bios.hddorder", "disks.boot_order").lower().split(",") if part.strip()]
    ranks = {name: place for place, name in enumerate(order, 1)}
    return [dataclasses.replace(disk, boot_order=ranks.get(disk.id)) for disk in disks]
