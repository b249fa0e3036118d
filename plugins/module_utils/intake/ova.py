# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OVA archives, read where they lie: the members' places, the manifest's checksums, the descriptor. Nothing is unpacked."""
from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import LegacyVm

from . import ovf
from .errors import IntakeError
from .xmltree import MAX_BYTES

BLOCK = 512
MAX_MEMBERS = 1000
MAX_HEADER = 64 * 1024
CHUNK = 1024 * 1024
_LINE = re.compile(r"(SHA1|SHA256|SHA384|SHA512)\s?\((.{1,1024})\)\s?=\s*([0-9A-Fa-f]{40,128})\s*", re.IGNORECASE)


def parse(stream: BinaryIO, where: str, accepted: Iterable[str] = (), verify: bool = True) -> list[LegacyVm]:
    """Read the VMs of an OVA from a seekable stream; raises IntakeError when the archive lies about itself or a checksum is wrong."""
    members = list_members(stream, where)
    descriptors = [name for name in members if name.lower().endswith(".ovf")]
    if len(descriptors) != 1:
        raise IntakeError(f"{where}: {len(descriptors)} members end in .ovf; an OVA has exactly one descriptor")
    descriptor = members[descriptors[0]]
    if descriptor.size_bytes > MAX_BYTES:
        raise IntakeError(f"{where}: descriptor {descriptors[0]} of {descriptor.size_bytes} bytes; at most {MAX_BYTES}")
    manifests = [member for name, member in members.items() if name.lower().endswith(".mf")]
    if verify and manifests:
        _verify(stream, members, manifests[0], where)
    stream.seek(descriptor.offset)
    folder = descriptors[0].rpartition("/")[0]
    inside = {name.removeprefix(f"{folder}/") if folder else name: member for name, member in members.items()}
    vms = ovf.parse(stream.read(descriptor.size_bytes), where, accepted, inside)
    return [dataclasses.replace(vm, checksums_verified=bool(manifests) and verify) for vm in vms]


def list_members(stream: BinaryIO, where: str) -> dict[str, ovf.Member]:
    """Return name, offset and size of every file of a tar archive; raises IntakeError for links, devices, traversal and lying sizes."""
    stream.seek(0, 2)
    end = stream.tell()
    members: dict[str, ovf.Member] = {}
    for name, offset, size in _headers(stream, end, where):
        clean = name.removeprefix("./")
        if not clean or clean.startswith("/") or ".." in clean.split("/") or "\\" in clean:
            raise IntakeError(f"{where}: member {name[:80]!r}; expected a relative path inside the archive")
        if clean in members:
            raise IntakeError(f"{where}: member {name[:80]!r} twice; which one counts is not defined")
        members[clean] = ovf.Member(clean, offset, size)
    if not members:
        raise IntakeError(f"{where}: no tar archive; an OVA is an uncompressed tar file with an OVF descriptor")
    return members


def _headers(stream: BinaryIO, end: int, where: str) -> Iterator[tuple[str, int, int]]:
    position, count, long_name, attributes = 0, 0, "", {}
    while position + BLOCK <= end:
        stream.seek(position)
        block = stream.read(BLOCK)
        if not block.strip(b"\0"):
            return
        count += 1
        if count > 4 * MAX_MEMBERS:
            raise IntakeError(f"{where}: more than {MAX_MEMBERS} members")
        if not _checksum_fits(block):
            raise IntakeError(f"{where}: byte {position} is no tar header; an OVA is an uncompressed tar file")
        size, kind = _number(block[124:136], where), block[156:157]
        if kind in (b"x", b"g", b"L"):
            if size > MAX_HEADER:
                raise IntakeError(f"{where}: extended header of {size} bytes; at most {MAX_HEADER}")
            data = stream.read(size)
            if kind == b"L":
                long_name = data.rstrip(b"\0").decode("utf-8", "replace")
            elif kind == b"x":
                attributes = _pax(data, where)
        elif kind in (b"0", b"\0"):
            size = int(attributes.get("size", size))
            prefix = block[345:500].rstrip(b"\0") if block[257:262] == b"ustar" and block[263:265] == b"00" else b""
            name = attributes.get("path") or long_name or _join(prefix, block[:100])
            if position + BLOCK + size > end:
                raise IntakeError(f"{where}: member {name[:80]!r} of {size} bytes goes beyond the end of the file ({end} bytes)")
            yield name, position + BLOCK, size
            long_name, attributes = "", {}
        elif kind != b"5":
            what = {b"1": "a hard link", b"2": "a symbolic link"}.get(kind, f"of type {kind!r}")
            raise IntakeError(f"{where}: member {_join(b'', block[:100])[:80]!r} is {what}; an OVA has plain files only")
        position += BLOCK + -(-size // BLOCK) * BLOCK


def _join(prefix: bytes, name: bytes) -> str:
    text = name.split(b"\0")[0].decode("utf-8", "replace")
    return f"{prefix.split(bytes(1))[0].decode('utf-8', 'replace')}/{text}" if prefix else text


def _checksum_fits(block: bytes) -> bool:
    digits = block[148:156].strip(b" \0")
    if not digits or not all(48 <= digit <= 55 for digit in digits):
        return False
    return int(digits, 8) == sum(block) - sum(block[148:156]) + 8 * 32


def _number(data: bytes, where: str) -> int:
    if data[0] & 0x80:
        value = int.from_bytes(data[1:], "big")
        if data[0] == 0x80 and value < 2**62:
            return value
    elif all(48 <= digit <= 55 for digit in data.strip(b" \0")):
        return int(data.strip(b" \0") or b"0", 8)
    raise IntakeError(f"{where}: a member with a malformed size; expected an octal number")


def _pax(data: bytes, where: str) -> dict[str, str]:
    out, position = {}, 0
    while position < len(data):
        digits, _blank, _rest = data[position:position + 20].partition(b" ")
        if not digits.isdigit() or not _blank or int(digits) < len(digits) + 3 or position + int(digits) > len(data):
            raise IntakeError(f"{where}: malformed extended header")
        key, _equals, value = data[position + len(digits) + 1:position + int(digits) - 1].partition(b"=")
        out[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        position += int(digits)
    if "size" in out and (not out["size"].isdigit() or len(out["size"]) > 19):
        raise IntakeError(f"{where}: a member with a malformed size; expected a number")
    return out


def manifest_lines(text: str, where: str) -> dict[str, tuple[str, str]]:
    """Return algorithm and digest by file name from a manifest (.mf)."""
    out = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if not match:
            raise IntakeError(f"{where}: manifest line {number}: expected SHA256(name)= digest, got {line[:60]!r}")
        out[match.group(2).removeprefix("./")] = (match.group(1).lower(), match.group(3).lower())
    return out


def _verify(stream: BinaryIO, members: dict[str, ovf.Member], manifest: ovf.Member, where: str) -> None:
    if manifest.size_bytes > MAX_HEADER * 4:
        raise IntakeError(f"{where}: manifest of {manifest.size_bytes} bytes; at most {MAX_HEADER * 4}")
    stream.seek(manifest.offset)
    listed = manifest_lines(stream.read(manifest.size_bytes).decode("utf-8", "replace"), where)
    folder = manifest.name.rpartition("/")[0]
    for name, (algorithm, digest) in listed.items():
        member = members.get(f"{folder}/{name}" if folder else name)
        if member is None:
            raise IntakeError(f"{where}: the manifest lists {name[:80]!r}, which the archive does not have")
        if digest_of(stream, member, algorithm) != digest:
            raise IntakeError(f"{where}: {algorithm} of member {name[:80]!r} differs from the manifest; the archive is damaged or changed")
    for name in members:
        relative = name.removeprefix(f"{folder}/") if folder else name
        if relative not in listed and not name.lower().endswith((".mf", ".cert")):
            raise IntakeError(f"{where}: member {name[:80]!r} is not in the manifest")


def digest_of(stream: BinaryIO, member: ovf.Member, algorithm: str) -> str:
    """Return the hexadecimal digest of a member, read in chunks."""
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    stream.seek(member.offset)
    left = member.size_bytes
    while left:
        data = stream.read(min(CHUNK, left))
        if not data:
            break
        hasher.update(data)
        left -= len(data)
    return hasher.hexdigest()
