# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads files and directories of ext2, ext3 and ext4 (Documentation/filesystems/ext4 of Linux)."""
from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .disk import MIB, Window
from .errors import FitnessError
from .inodes import named

# filetype, recover, extents, 64bit, mmp, flex_bg, ea_inode, csum_seed, largedir, inline_data, encrypt, casefold
_READABLE = 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000
_64BIT, _EXTENTS, _INLINE, _ENCRYPTED = 0x80, 0x80000, 0x10000000, 0x800
_ROOT = 2
_MAX_DEPTH, _MAX_TREE_BLOCKS, _MAX_DIRECTORY_BYTES = 5, 4096, 4 * MIB
_UNWRITTEN = 32768  # longer extents are allocated and read as zeroes


@dataclass(frozen=True)
class Inode:
    """A file or directory; `raw` is its inode."""

    raw: bytes
    size_bytes: int
    is_directory: bool
    is_file: bool

    @property
    def flags(self) -> int:
        return struct.unpack_from("<I", self.raw, 32)[0]


class Ext:
    """An ext file system in a window."""

    def __init__(self, window: Window) -> None:
        self._window = window
        block = window.read(1024, 1024)
        self._inodes, log_size = struct.unpack_from("<I", block)[0], struct.unpack_from("<I", block, 24)[0]
        first_block, self._per_group = struct.unpack_from("<I", block, 20)[0], struct.unpack_from("<I", block, 40)[0]
        revision, incompatible = struct.unpack_from("<I", block, 76)[0], struct.unpack_from("<I", block, 96)[0]
        self._inode_bytes = struct.unpack_from("<H", block, 88)[0] if revision else 128
        self._group_bytes = struct.unpack_from("<H", block, 254)[0] if incompatible & _64BIT else 32
        if log_size > 6 or not self._per_group or self._inode_bytes not in (128, 256, 512, 1024, 2048, 4096) or self._group_bytes not in (32, 64, 128):
            raise FitnessError("the superblock of its ext file system makes no sense")
        if incompatible & ~_READABLE:
            raise FitnessError(f"its ext file system has features that are not read (0x{incompatible & ~_READABLE:x})")
        self._block_bytes = 1024 << log_size
        self._groups_at = (first_block + 1) * self._block_bytes
        self._tree_blocks = 0

    def names(self, path: str) -> dict[str, Inode]:
        """The directories and regular files of a directory by name; none when there is no such directory."""
        return named(path, _ROOT, self._inode, self._entries)

    def content(self, inode: Inode) -> Iterator[bytes]:
        """A file's bytes in pieces of at most 1 MiB; holes are zeroes."""
        if inode.flags & _ENCRYPTED:
            raise FitnessError("a file of its ext file system is encrypted")
        if inode.flags & _INLINE:
            yield self._inline(inode)[:inode.size_bytes]
            return
        yield from self._window.pieces(self._runs(inode), self._block_bytes, inode.size_bytes)

    def _inode(self, number: int) -> Inode:
        if not 0 < number <= self._inodes:
            raise FitnessError(f"its ext file system names inode {number} of {self._inodes}")
        group, index = divmod(number - 1, self._per_group)
        descriptor = self._window.read(self._groups_at + group * self._group_bytes, self._group_bytes)
        table = struct.unpack_from("<I", descriptor, 8)[0]
        if self._group_bytes >= 64:
            table |= struct.unpack_from("<I", descriptor, 40)[0] << 32
        raw = self._window.read(table * self._block_bytes + index * self._inode_bytes, self._inode_bytes)
        mode, size = struct.unpack_from("<H", raw)[0], struct.unpack_from("<I", raw, 4)[0] | struct.unpack_from("<I", raw, 108)[0] << 32
        return Inode(raw, size, stat.S_ISDIR(mode), stat.S_ISREG(mode))

    def _entries(self, inode: Inode) -> dict[str, int]:
        if not inode.is_directory or inode.size_bytes > _MAX_DIRECTORY_BYTES:
            raise FitnessError("a directory of its ext file system is none, or too large to be read")
        data = b"".join(self.content(inode))
        if inode.flags & _INLINE:  # the number of the parent, then entries; more of them begin afresh in the attribute
            return _directory(data[4:60]) | _directory(data[60:])
        return _directory(data)

    def _runs(self, inode: Inode) -> Iterator[tuple[int, int, int]]:
        """Logical block, physical block and length of what a file has, in order."""
        self._tree_blocks = 0
        if inode.flags & _EXTENTS:
            yield from self._extents(inode.raw[40:100], _MAX_DEPTH)
            return
        pointers, logical = struct.unpack_from("<15I", inode.raw, 40), 0
        for index, pointer in enumerate(pointers):
            level = max(0, index - 11)
            if logical * self._block_bytes >= inode.size_bytes:
                return
            yield from self._pointed(pointer, level, logical, inode.size_bytes)
            logical += (self._block_bytes // 4) ** level

    def _extents(self, node: bytes, depth: int) -> Iterator[tuple[int, int, int]]:
        magic, count, _most, level = struct.unpack_from("<4H", node)
        if magic != 0xF30A or level > depth or count > len(node) // 12 - 1:
            raise FitnessError("an extent tree of its ext file system is damaged")
        for at in range(12, 12 + 12 * count, 12):
            if level:
                low, high = struct.unpack_from("<IH", node, at + 4)
                yield from self._extents(self._tree_block(low | high << 32), level - 1)
            else:
                logical, length, high, low = struct.unpack_from("<IHHI", node, at)
                if 0 < length <= _UNWRITTEN:
                    yield logical, low | high << 32, length

    def _pointed(self, pointer: int, level: int, logical: int, size_bytes: int) -> Iterator[tuple[int, int, int]]:
        if not pointer:
            return
        if not level:
            yield logical, pointer, 1
            return
        below = (self._block_bytes // 4) ** (level - 1)
        for index, child in enumerate(struct.unpack(f"<{self._block_bytes // 4}I", self._tree_block(pointer))):
            start = logical + index * below
            if start * self._block_bytes >= size_bytes:
                return
            yield from self._pointed(child, level - 1, start, size_bytes)

    def _tree_block(self, number: int) -> bytes:
        self._tree_blocks += 1
        if self._tree_blocks > _MAX_TREE_BLOCKS:
            raise FitnessError("a file of its ext file system has more blocks than can be followed")
        return self._window.read(number * self._block_bytes, self._block_bytes)

    def _inline(self, inode: Inode) -> bytes:
        """Data in the inode: in place of the block pointers, and what is longer in the attribute system.data."""
        raw, data = inode.raw, inode.raw[40:100]
        if len(raw) < 160:
            return data
        at = first = 128 + struct.unpack_from("<H", raw, 128)[0] + 4
        if first > len(raw) or raw[first - 4:first] != b"\x00\x00\x02\xea":
            return data
        while at + 16 <= len(raw) and any(raw[at:at + 4]):
            length, index, offset, elsewhere, size = struct.unpack_from("<BBHII", raw, at)
            if index == 7 and raw[at + 16:at + 16 + length] == b"data" and not elsewhere:
                return data + raw[first + offset:first + offset + size]
            at += (16 + length + 3) & ~3
        return data


def _directory(data: bytes) -> dict[str, int]:
    found, at = {}, 0
    while at + 8 <= len(data):
        inode, length, name_length = struct.unpack_from("<IHB", data, at)
        if length < 8:
            break
        if inode and name_length:
            found[data[at + 8:at + 8 + name_length].decode("utf-8", "replace")] = inode
        at += length
    return found
