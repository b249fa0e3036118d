# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads files and directories of FAT12, FAT16 and FAT32, with long names."""
from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .disk import MIB, Window
from .errors import FitnessError

_MAX_DIRECTORY_BYTES = 4 * MIB
_PAGE_BYTES = 3 * 4096  # of the table: no entry of 12, 16 or 32 bits lies across two
_VOLUME, _DIRECTORY, _LONG = 0x08, 0x10, 0x0F


@dataclass(frozen=True)
class FatEntry:
    """A file or directory; a directory has no size of its own."""

    cluster: int
    size_bytes: int
    is_directory: bool

    @property
    def is_file(self) -> bool:
        return not self.is_directory


class Fat:
    """A FAT file system in a window."""

    def __init__(self, window: Window) -> None:
        self._window, self._page = window, (-1, b"")
        boot = window.read(0, 512)
        sector, per_cluster, reserved, tables, root_entries, sectors16 = struct.unpack_from("<HBHBHH", boot, 11)
        table16, sectors32, table32 = struct.unpack_from("<H", boot, 22)[0], *struct.unpack_from("<II", boot, 32)
        table = table16 or table32
        if sector not in (512, 1024, 2048, 4096) or per_cluster not in (1, 2, 4, 8, 16, 32, 64, 128) or not reserved or not tables or not table:
            raise FitnessError("the boot sector of its FAT file system makes no sense")
        self._root_at = (reserved + tables * table) * sector
        self._root_bytes = root_entries * 32
        self._data_at = self._root_at + -(-self._root_bytes // sector) * sector
        self._cluster_bytes, self._table_at = per_cluster * sector, reserved * sector
        self._clusters = max(0, ((sectors16 or sectors32) * sector - self._data_at) // self._cluster_bytes)
        self._bits = 12 if self._clusters < 4085 else 16 if self._clusters < 65525 else 32
        self._root = struct.unpack_from("<I", boot, 44)[0]

    def names(self, path: str) -> dict[str, FatEntry]:
        """The directories and files of a directory by name; none when there is no such directory. Case does not count in `path`."""
        data = b"".join(self._chain(self._root, _MAX_DIRECTORY_BYTES)) if self._bits == 32 else self._window.read(self._root_at, self._root_bytes)
        found = _directory(data)
        for part in path.strip("/").split("/") if path.strip("/") else ():
            entry = {name.lower(): entry for name, entry in found.items()}.get(part.lower())
            if not entry or not entry.is_directory:
                return {}
            found = _directory(b"".join(self._chain(entry.cluster, _MAX_DIRECTORY_BYTES)))
        return found

    def content(self, entry: FatEntry) -> Iterator[bytes]:
        """A file's bytes, cluster by cluster."""
        left = entry.size_bytes
        for piece in self._chain(entry.cluster, entry.size_bytes):
            yield piece[:left]
            left -= len(piece)
        if left > 0:
            raise FitnessError("a file of its FAT file system is shorter than it says")

    def _chain(self, cluster: int, most_bytes: int) -> Iterator[bytes]:
        """The clusters from one on, until `most_bytes` are there or the chain ends; a chain that runs in a circle ends there too."""
        for _number in range(-(-most_bytes // self._cluster_bytes)):
            if not 2 <= cluster < self._clusters + 2:
                return
            yield self._window.read(self._data_at + (cluster - 2) * self._cluster_bytes, self._cluster_bytes)
            cluster = self._next(cluster)

    def _next(self, cluster: int) -> int:
        page, at = divmod(cluster * self._bits // 8, _PAGE_BYTES)
        if self._page[0] != page:
            self._page = page, self._window.peek(self._table_at + page * _PAGE_BYTES, _PAGE_BYTES)
        value = int.from_bytes(self._page[1][at:at + (4 if self._bits == 32 else 2)], "little")
        if self._bits == 12:
            return value >> 4 if cluster & 1 else value & 0xFFF
        return value & 0x0FFFFFFF


def _directory(data: bytes) -> dict[str, FatEntry]:
    found, long = {}, ""
    for at in range(0, len(data) - 31, 32):
        entry = data[at:at + 32]
        if not entry[0]:
            break
        if entry[0] == 0xE5:
            long = ""
        elif entry[11] & 0x3F == _LONG:
            piece = (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le", "replace").partition("\0")[0]
            long = piece + ("" if entry[0] & 0x40 else long[:260])
        else:
            if not entry[11] & _VOLUME and entry[0] != ord("."):
                high, low, size = *struct.unpack_from("<H", entry, 20), *struct.unpack_from("<HI", entry, 26)
                found[long or _short(entry)] = FatEntry(low | high << 16, size, bool(entry[11] & _DIRECTORY))
            long = ""
    return found


def _short(entry: bytes) -> str:
    base, extension = entry[:8].decode("cp437").rstrip(), entry[8:11].decode("cp437").rstrip()
    return f"{base}.{extension}".rstrip(".").lower()
