# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OVF descriptors 0.9, 1.x and 2.x (DMTF DSP0243) to LegacyVm."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Cpu, Firmware, LegacyVm

from . import guests, ovf_devices
from .errors import IntakeError
from .ledger import TEXT, Cursor, Ledger, Node, Rules, walk
from .ovf_rules import RULES
from .paths import safe_href
from .units import integer, ovf_bytes, ovf_factor, uuid
from .xmltree import parse as parse_xml

_RULES = Rules(RULES)
_STRUCTURE = "the kind of the section"
_UNITS = {"3": ("hertz", "processor")}


@dataclass(frozen=True)
class Member:
    """Where a file of an OVA lies in the archive."""

    name: str
    offset: int
    size_bytes: int


@dataclass(frozen=True)
class File:
    """A file that the descriptor refers to."""

    href: str
    size_bytes: int | None
    compression: str = ""
    chunk_bytes: int | None = None


@dataclass(frozen=True)
class Image:
    """A disk of the DiskSection."""

    size_bytes: int | None
    format: str
    file: File | None
    parent: str = ""


def parse(raw: bytes, where: str, accepted: Iterable[str] = (), members: Mapping[str, Member] | None = None) -> list[LegacyVm]:
    """Read every virtual system of an OVF descriptor; `members` are the files of the OVA around it. Raises IntakeError."""
    root = parse_xml(raw, where)
    if root.tag != "Envelope":
        raise IntakeError(f"{where}: root element <{root.tag[:80]}>; expected the <Envelope> of an OVF descriptor")
    envelope = Cursor(root, Ledger(), where)
    systems = list(_systems(envelope))
    if not systems:
        raise IntakeError(f"{where}: no VirtualSystem; the descriptor describes no VM")
    images = _images(envelope, _files(envelope, members is not None), where)
    option = _option(envelope)
    vms = [_vm(system, images, option, members, where) for system in systems]
    return _share_lines(vms, systems, envelope.ledger.lines(root, _RULES, accepted), root)


def kind(cursor: Cursor) -> str:
    """Return what a section is: its tag, or in OVF 0.9 the name in xsi:type."""
    if cursor.tag not in ("Section", "Content"):
        return cursor.tag
    return cursor.peek("xsi:type").rpartition(":")[2].removesuffix("_Type")


def sections(cursor: Cursor, *names: str) -> list[Cursor]:
    """Return the sections of a kind, OVF 0.9's form included."""
    found = [child for child in cursor if kind(child) in names]
    for child in found:
        if child.tag in ("Section", "Content"):
            child.attr("xsi:type", "section")
    return found


def _systems(cursor: Cursor) -> Iterable[Cursor]:
    for child in sections(cursor, "VirtualSystem", "VirtualSystemCollection"):
        if kind(child) == "VirtualSystem":
            yield child
        else:
            yield from _systems(child)


def _files(envelope: Cursor, strict: bool) -> dict[str, File]:
    out = {}
    for references in envelope.children("References"):
        for file in references.children("File"):
            size, chunk = file.attr("size", "disks.member_bytes"), file.attr("chunkSize", "disks.chunk")
            href = file.attr("href", "disks.source")
            out[file.attr("id", "disks.source")] = File(
                safe_href(href, envelope.where) if strict else href, integer(size, f"{envelope.where}: File@size") if size else None,
                file.attr("compression", "disks.compression").replace("identity", ""),
                integer(chunk, f"{envelope.where}: File@chunkSize", 1) if chunk else None)
    return out


def _images(envelope: Cursor, files: dict[str, File], where: str) -> dict[str, Image]:
    out = {}
    for section in sections(envelope, "DiskSection"):
        for disk in section.children("Disk"):
            capacity, unit = disk.attr("capacity", "disks.size_bytes"), disk.attr("capacityAllocationUnits", "disks.size_bytes")
            reference = disk.attr("fileRef", "disks.source")
            if reference and reference not in files:
                raise IntakeError(f"{where}: Disk@fileRef {reference[:60]!r}; the References have no file of that id")
            size = ovf_bytes(capacity, unit, f"{where}: Disk@capacity", 1) if capacity and "${" not in capacity else None
            out[disk.attr("diskId", "disks.id")] = Image(size, disk.attr("format", "disks.format"), files.get(reference),
                                                         disk.attr("parentRef", "disks.backing"))
    return out


def _option(envelope: Cursor) -> str:
    """Return the id of the deployment option that applies: the default one, else the first, else none."""
    options = [option for section in sections(envelope, "DeploymentOptionSection") for option in section.children("Configuration")]
    chosen = next((option for option in options if option.peek("default") in ("true", "1")), options[0] if options else None)
    if chosen is None:
        return ""
    chosen.attr("default", "deployment_option")
    return chosen.attr("id", "deployment_option")


def _vm(system: Cursor, images: dict[str, Image], option: str, members: Mapping[str, Member] | None, where: str) -> LegacyVm:
    hardware = sections(system, "VirtualHardwareSection")
    for other in hardware[1:]:
        other.drop_all("an alternative to the first hardware section")
    identity = system.attr("id", "name")
    label = system.child_text("Name", "name")
    item = ovf_devices.Items(hardware[0] if hardware else None, option, where)
    config = _config(system, hardware)
    notes = [section.child_text("Annotation", "description") for section in sections(system, "AnnotationSection")]
    devices = ovf_devices.read(item, images, members, where, sections(system, "vmw:BootOrderSection"))
    os_id, family = _guest(system)
    name = label or identity or _identifier(hardware)
    if not name:
        raise IntakeError(f"{where}: a VirtualSystem without id and name")
    bios = uuid(config.get("uuid.bios", ""))
    return LegacyVm(
        name=name, id=f"ovf/{bios or name}", source=where, uuid=bios, title=label if label != name else "",
        description="\n".join(filter(None, notes)), machine=_hardware_version(hardware), hypervisor="vmware",
        firmware=Firmware("efi" if config.get("firmware", "").lower() == "efi" else "bios",
                          config.get("bootOptions.efiSecureBootEnabled", config.get("uefi.secureBoot.enabled", "")).lower() == "true"),
        cpu=_cpu(item, config, where), memory_bytes=_memory(item, where), os_id=os_id, os_family=family,
        hot_add=[name for name in ("cpu", "memory") if config.get(f"{name}HotAddEnabled", "").lower() == "true"], **devices)


def _identifier(hardware: list[Cursor]) -> str:
    system = hardware[0].child("System") if hardware else None
    return system.child_text("vssd:VirtualSystemIdentifier", "name") if system else ""


def _hardware_version(hardware: list[Cursor]) -> str:
    system = hardware[0].child("System") if hardware else None
    return system.child_text("vssd:VirtualSystemType", "machine")[:200] if system else ""


def _config(system: Cursor, hardware: list[Cursor]) -> dict[str, str]:
    """Return vmw:Config and vmw:ExtraConfig settings that matter, and note them."""
    targets = {"firmware": "firmware.kind", "bootOptions.efiSecureBootEnabled": "firmware.secure_boot", "uuid.bios": "uuid",
               "uefi.secureBoot.enabled": "firmware.secure_boot", "nestedHVEnabled": "cpu.nested", "vhv.enable": "cpu.nested",
               "cpuHotAddEnabled": "hot_add", "memoryHotAddEnabled": "hot_add"}
    out = {}
    for place in (system, *hardware[:1]):
        for setting in place.children("vmw:Config", "vmw:ExtraConfig"):
            key = setting.peek("vmw:key") or setting.peek("key")
            if key in targets:
                for name in ("vmw:key", "key"):
                    setting.attr(name, targets[key])
                out[key] = setting.attr("vmw:value", targets[key]) or setting.attr("value", targets[key])
    return out


def _guest(system: Cursor) -> tuple[str, str]:
    for section in sections(system, "OperatingSystemSection"):
        vmware, number = section.attr("vmw:osType", "os_id"), section.attr("id", "os_id")
        text = section.child_text("Description", "os_id")
        os_id = vmware or text or (f"cim:{number}" if number else "")
        return os_id, guests.family(vmware) or guests.family(text) or guests.cim_family(number)
    return "", ""


def _cpu(items: ovf_devices.Items, config: dict[str, str], where: str) -> Cpu:
    total, cores = 0, 1
    for item in items.of("3"):
        count = item.child_text("rasd:VirtualQuantity", "cpu.sockets")
        total += integer(count or "1", f"{where}: virtual CPUs", 1, 65536)
        per_socket = item.child_text("vmw:CoresPerSocket", "cpu.cores")
        cores = integer(per_socket, f"{where}: CoresPerSocket", 1, 65536) if per_socket else cores
        if per_socket and total % cores:
            item.child("vmw:CoresPerSocket").change(TEXT, "cpu.cores", "1", f"{total} vCPUs don't divide into sockets of {cores}")
            cores = 1
    total = total or 1
    nested = "true" in (config.get("nestedHVEnabled", "").lower(), config.get("vhv.enable", "").lower())
    return Cpu(sockets=total // cores, cores=cores, nested=nested)


def _memory(items: ovf_devices.Items, where: str) -> int:
    total = 0
    for item in items.of("4"):
        unit = item.child_text("rasd:AllocationUnits", "memory_bytes")
        amount = item.child_text("rasd:VirtualQuantity", "memory_bytes")
        if not amount and item.child_text("rasd:Reservation", "memory_bytes"):
            amount = item.child_text("rasd:Reservation", "memory_bytes")
        ovf_factor(unit, f"{where}: memory")
        total += ovf_bytes(amount or "0", unit, f"{where}: memory")
    return total


def _share_lines(vms: list[LegacyVm], systems: list[Cursor], lines: list, root: Node) -> list[LegacyVm]:
    """Give each line to the VM whose element it lies in, and lines of the envelope to the first VM: every line exactly once."""
    owner, places = {id(system.node): i for i, system in enumerate(systems)}, []
    for node, path, _bare in walk(root):
        if id(node) in owner:
            places.append((path, owner[id(node)]))
    out: list[list] = [[] for _unused in vms]
    for line in lines:
        mine = next((i for path, i in places if line.path.startswith((f"{path}/", f"{path}[")) or line.path == path), 0)
        out[mine].append(line)
    return [dataclasses.replace(vm, ledger=ledger) for vm, ledger in zip(vms, out, strict=True)]
