# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Legacy VMs from files and addresses: the one place of the room that opens files."""
from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, LegacyVm, Rule

from . import libvirt, ova, ovf, vmx, xmltree
from .errors import IntakeError
from .ovf import Member
from .paths import is_safe

SUFFIXES = {".xml": libvirt.parse, ".ovf": ovf.parse, ".vmx": vmx.parse}
PACKAGES = (".ovf", ".vmx")  # descriptors whose disks lie beside them
MAX_FILES = 100_000
MAX_DISK_BYTES = 2**60  # more than any image format holds: a header that lies
LIBVIRT_DRIVERS = ("qemu", "xen", "test")  # libvirt's names of the hypervisor drivers


@dataclass(frozen=True)
class Access:
    """How to reach a source over the network; the password never leaves memory."""

    username: str = ""
    password: str = field(default="", repr=False)
    validate_certs: bool = True
    timeout_seconds: int = 60
    ca_file: str = ""


def read(source: str, accepted: Iterable[str] = (), access: Access | None = None) -> tuple[list[LegacyVm], list[Rule]]:
    """Read a source: a file, a folder of files, a libvirt URI or vsphere://host[:port]; raises IntakeError."""
    access, accepted = access or Access(), list(accepted)
    if source.startswith("vsphere://"):
        from . import vsphere_reader

        vms, rules = vsphere_reader.read(source, access, accepted)
    elif "://" in source:
        if source.partition(":")[0].partition("+")[0] not in LIBVIRT_DRIVERS:
            raise IntakeError(f"{source}: expected a file, a folder, a libvirt address such as qemu:///system or"
                              " qemu+ssh://user@host/system, or vsphere://host")
        from . import libvirt_reader

        vms, rules = libvirt_reader.read(source, accepted), []
    else:
        vms, rules = [vm for path in files(source) for vm in read_file(path, accepted)], []
    return vms, rules


def files(path: str) -> list[str]:
    """Return a file itself, or the descriptors below a folder in the order of their names; links to folders are not followed."""
    if not os.path.isdir(path):
        return [path]
    found = sorted(os.path.join(folder, name) for folder, _folders, names in os.walk(path) for name in names
                   if os.path.splitext(name)[1].lower() in (*SUFFIXES, ".ova"))
    for name in found:
        if not inside(name, path):
            raise IntakeError(f"{name}: a link that leads out of {path}; name the file itself as a source")
    if not found or len(found) > MAX_FILES:
        raise IntakeError(f"{path}: {len(found)} descriptors; expected 1 to {MAX_FILES} files that end in .ova, .ovf, .vmx or .xml")
    return found


def read_file(path: str, accepted: Iterable[str] = ()) -> list[LegacyVm]:
    """Read one descriptor or OVA, by the end of its name; sizes of local disks are read from their headers."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in (*SUFFIXES, ".ova"):
        raise IntakeError(f"{path}: expected a file that ends in .ova, .ovf, .vmx or .xml, or an address such as qemu:///system")
    try:
        with open(path, "rb") as stream:
            if suffix == ".ova":
                return ova.parse(stream, path, accepted)
            raw = stream.read(xmltree.MAX_BYTES + 1)
    except OSError as error:
        raise IntakeError(f"{path}: {error.strerror}; expected a VM descriptor") from None
    vms = SUFFIXES[suffix](raw, path, accepted)
    if suffix == ".ovf":
        _verify_beside(path)
    place = os.path.dirname(path) or "."
    return [dataclasses.replace(vm, disks=[with_size(packaged(disk, place, path) if suffix in PACKAGES else disk, place) for disk in vm.disks]) for vm in vms]


def inside(path: str, folder: str) -> bool:
    """Tell whether a path, links followed, lies in a folder."""
    real = os.path.realpath(folder)
    return os.path.commonpath([os.path.realpath(path), real]) == real


def packaged(disk: Disk, folder: str, where: str) -> Disk:
    """Return a disk of a package as refused when its file leads to others: a link out of the folder, or an image on top of another one.

    Raises IntakeError when the file has another size than the descriptor says.
    """
    path = os.path.join(folder, disk.source)
    if disk.source_kind != "file" or not disk.source or os.path.isabs(disk.source) or not os.path.isfile(path):
        return disk
    if disk.member_bytes is not None and os.path.getsize(path) != disk.member_bytes:
        raise IntakeError(f"{where}: file {disk.source[:80]!r} has {os.path.getsize(path)} bytes, the descriptor says {disk.member_bytes}")
    try:
        with open(path, "rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise IntakeError(f"{path}: {error.strerror}; expected the file of disk {disk.id}") from None
    layered = head[:4] == b"QFI\xfb" and any(head[8:16])  # qcow2: offset of the backing file's name
    named = re.search(rb'^(RW|RDONLY|NOACCESS) .*"[^"]*[/\\]|^parentFileNameHint', head, re.MULTILINE)  # VMDK descriptor: extents elsewhere
    return dataclasses.replace(disk, source_kind="refused") if layered or named or not inside(path, folder) else disk


def with_size(disk: Disk, folder: str) -> Disk:
    """Return a disk with the virtual size its local file states, when that can be read."""
    if disk.size_bytes or disk.source_kind not in ("file", "block") or not disk.source or disk.device not in ("disk", "lun"):
        return disk
    try:
        with open(os.path.join(folder, disk.source), "rb") as stream:
            head = stream.read(512)
            stream.seek(0, 2)
            return dataclasses.replace(disk, size_bytes=virtual_bytes(head, stream.tell(), disk.format))
    except OSError:
        return disk


def virtual_bytes(head: bytes, file_bytes: int, format: str) -> int | None:
    """Return the virtual size an image header states (qcow2 offset 24, VMDK sparse extent offset 12), or the file's for raw."""
    stated = int.from_bytes(head[24:32], "big") if head[:4] == b"QFI\xfb" else int.from_bytes(head[12:20], "little") * 512 if head[:4] == b"KDMV" else None
    if stated is not None:
        return stated if 0 < stated <= MAX_DISK_BYTES else None
    return file_bytes if format in ("raw", "") and file_bytes else None


def _verify_beside(path: str) -> None:
    """Check the files that a manifest beside an OVF lists, where they are there."""
    manifest = os.path.splitext(path)[0] + ".mf"
    if not os.path.isfile(manifest):
        return
    with open(manifest, "rb") as stream:
        listed = ova.manifest_lines(stream.read(ova.MAX_HEADER * 4).decode("utf-8", "replace"), manifest)
    for name, (algorithm, digest) in listed.items():
        file = os.path.join(os.path.dirname(path), name)
        if not is_safe(name):
            raise IntakeError(f"{manifest}: {name[:80]!r}; expected a relative path inside the descriptor's folder")
        if os.path.isfile(file) and not os.path.islink(file):
            with open(file, "rb") as stream:
                if ova.digest_of(stream, Member(name, 0, os.path.getsize(file)), algorithm) != digest:
                    raise IntakeError(f"{file}: its {algorithm} differs from the manifest; the file is damaged or changed")
