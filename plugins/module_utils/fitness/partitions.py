# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Partition tables: MBR with its logical partitions, and GPT."""
from __future__ import annotations

import struct
from dataclasses import dataclass

from .disk import Window

SECTOR_BYTES = 512
MAX_PARTITIONS = 128
_GPT, _EXTENDED = 0xEE, (0x05, 0x0F, 0x85)


@dataclass(frozen=True)
class Partition:
    """Where a partition lies, in bytes."""

    number: int
    start: int
    size_bytes: int


def partitions(disk: Window) -> tuple[str, list[Partition]]:
    """The kind of the table (gpt, mbr, or empty for a disk without one) and its partitions; those outside of the disk are left out."""
    sector = disk.peek(0, SECTOR_BYTES)
    if len(sector) < SECTOR_BYTES or sector[510:] != b"\x55\xaa" or sector[3:7] in (b"NTFS", b"-FVE", b"EXFA") or b"FAT" in (sector[54:57], sector[82:85]):
        return "", []
    entries = _entries(sector)
    if any(kind == _GPT for kind, _start, _count in entries):
        return "gpt", _inside(disk, _gpt(disk))
    if any(flag not in (0, 0x80) for flag in sector[446:510:16]) or not any(kind and start and count for kind, start, count in entries):
        return "", []
    return "mbr", _inside(disk, _mbr(disk, entries))


def _entries(sector: bytes) -> list[tuple[int, int, int]]:
    return [(sector[at + 4], *struct.unpack_from("<II", sector, at + 8)) for at in range(446, 510, 16)]


def _inside(disk: Window, found: list[Partition]) -> list[Partition]:
    return [item for item in found if 0 < item.start < disk.size_bytes and item.size_bytes > 0]


def _mbr(disk: Window, entries: list[tuple[int, int, int]]) -> list[Partition]:
    found = [Partition(number, start * SECTOR_BYTES, count * SECTOR_BYTES) for number, (kind, start, count) in enumerate(entries, 1)
             if kind and kind not in _EXTENDED]
    for kind, start, _count in entries:
        if kind in _EXTENDED:
            found += _logical(disk, start)
    return found


def _logical(disk: Window, first: int) -> list[Partition]:
    """Follow the chain of extended boot records, each of which names one partition and the next record."""
    found, at = [], first
    for number in range(5, 5 + MAX_PARTITIONS):
        sector = disk.peek(at * SECTOR_BYTES, SECTOR_BYTES)
        if sector[510:] != b"\x55\xaa":
            break
        (kind, start, count), (link, following, _size) = _entries(sector)[:2]
        if kind:
            found.append(Partition(number, (at + start) * SECTOR_BYTES, count * SECTOR_BYTES))
        if link not in _EXTENDED or first + following <= at:  # they go upwards: a chain that turns back has no end
            break
        at = first + following
    return found


def _gpt(disk: Window) -> list[Partition]:
    for sector_bytes in (SECTOR_BYTES, 4096):
        header = disk.peek(sector_bytes, 92)
        if len(header) == 92 and header[:8] == b"EFI PART":
            first, count, size = struct.unpack_from("<QII", header, 72)
            return _gpt_entries(disk, first * sector_bytes, count, size, sector_bytes)
    return []


def _gpt_entries(disk: Window, at: int, count: int, size: int, sector_bytes: int) -> list[Partition]:
    if not 128 <= size <= 4096:
        return []
    found, table = [], disk.peek(at, min(count, MAX_PARTITIONS) * size)
    for number in range(1, len(table) // size + 1):
        entry = table[(number - 1) * size:number * size]
        first, last = struct.unpack_from("<QQ", entry, 32)
        if any(entry[:16]) and first <= last:
            found.append(Partition(number, first * sector_bytes, (last - first + 1) * sector_bytes))
    return found
