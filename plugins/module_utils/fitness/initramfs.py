# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names in an initramfs: cpio archives (newc) one after the other, any of them compressed."""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .disk import Allowance
from .errors import FitnessError
from .rules import DRIVERS
from .unpack import Stream, unpacked

MAX_PACKED_BYTES, MAX_UNPACKED_BYTES, MAX_MEMBERS = 256 << 20, 1 << 30, 200_000
MAX_BUILTIN_BYTES = 1 << 20
_HEADER = re.compile(rb"07070[12][0-9A-Fa-f]{104}")
_MODULE = re.compile(r"(?:\d+[-_])?(\w+)\.ko(?:\.gz|\.xz|\.zst)?")  # an initramfs made by hand may number them in their order


@dataclass
class Contents:
    """The drivers in it, and those that modules.builtin in it names (None where it has none)."""

    drivers: set[str] = field(default_factory=set)
    builtin: set[str] | None = None
    members: int = 0
    enough: set[str] | None = None

    @property
    def complete(self) -> bool:
        return self.enough is not None and self.enough <= self.drivers


def driver(path: str) -> str:
    """The name of a kernel module from its path, if the rules ask for it; else empty."""
    found = _MODULE.fullmatch(path.rpartition("/")[2].replace("-", "_"))
    return found[1] if found and found[1] in DRIVERS else ""


def builtin_drivers(text: bytes) -> set[str]:
    """The drivers that a modules.builtin file names."""
    return {name for line in text.decode("utf-8", "replace").splitlines() if (name := driver(line.strip()))}


def contents(pieces: Iterator[bytes], allowance: Allowance, enough: set[str] | None = None) -> Contents:
    """Read an initramfs to its end, or until the drivers in `enough` were seen; raises FitnessError."""
    found = Contents(enough=enough)
    stream = Stream(_limited(pieces, MAX_PACKED_BYTES, allowance))
    _read(stream, found, allowance, packed=True)
    if not found.members and not found.complete:
        raise FitnessError("it is empty")
    return found


def _read(stream: Stream, found: Contents, allowance: Allowance, packed: bool) -> None:
    while not found.complete:
        stream.skip_zeroes()
        if stream.peek(5) == b"07070":
            _archive(stream, found)
            continue
        if not stream.peek(1):
            return
        inner = unpacked(stream) if packed else None
        if inner is None:
            raise FitnessError("a part of it is neither a cpio archive nor compressed in a way that is read")
        _read(Stream(_limited(iter(inner.some, b""), MAX_UNPACKED_BYTES, allowance)), found, allowance, packed=False)


def _limited(pieces: Iterator[bytes], left: int, allowance: Allowance) -> Iterator[bytes]:
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise FitnessError("it is larger than is read")
        allowance.take(0)
        yield piece


def _archive(stream: Stream, found: Contents) -> None:
    while not found.complete:
        header = stream.read(110)
        if not _HEADER.fullmatch(header):
            raise FitnessError("its cpio archive is damaged")
        size, name_bytes = int(header[54:62], 16), int(header[94:102], 16)
        if not 0 < name_bytes <= 4096:
            raise FitnessError("its cpio archive is damaged")
        name = stream.read(name_bytes).rstrip(b"\0").decode("utf-8", "replace")
        stream.skip(-(110 + name_bytes) % 4)
        if name == "TRAILER!!!":
            return
        found.members += 1
        if found.members > MAX_MEMBERS:
            raise FitnessError("it has more files than are read")
        if module := driver(name):
            found.drivers.add(module)
        if name.endswith("/modules.builtin") and size <= MAX_BUILTIN_BYTES:
            found.builtin = (found.builtin or set()) | builtin_drivers(stream.read(size))
        else:
            stream.skip(size)
        stream.skip(-size % 4)
