# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads files and directories of XFS, versions 4 and 5 (XFS Algorithms & Data Structures, 3rd edition)."""
from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .disk import MIB, Window
from .errors import FitnessError
from .inodes import named

_FTYPE, _READABLE = 1, 1 | 2 | 4 | 8 | 32 | 64 | 128  # sparse inodes, metadata UUID, big times, large extent counts, exchange, parent pointers
_FTYPE_V4, _REALTIME, _LARGE_COUNTS = 0x200, 1, 1 << 4
_LOCAL, _EXTENTS, _BTREE = 1, 2, 3
_MAX_DEPTH, _MAX_TREE_BLOCKS, _MAX_DIRECTORY_BYTES = 8, 4096, 4 * MIB
_LEAF_BYTES = 1 << 35  # where a directory's index begins, behind its entries


@dataclass(frozen=True)
class XfsInode:
    """A file or directory; `fork` is what its inode says of its data, in the form `kind`."""

    kind: int
    fork: bytes
    extents: int
    size_bytes: int
    mode: int

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


class Xfs:
    """An XFS file system in a window."""

    def __init__(self, window: Window) -> None:
        self._window = window
        block = window.read(0, 512)
        self._block_bytes, self._root = struct.unpack_from(">I", block, 4)[0], struct.unpack_from(">Q", block, 56)[0]
        self._group_blocks = struct.unpack_from(">I", block, 84)[0]
        version, _sector, self._inode_bytes = struct.unpack_from(">HHH", block, 100)
        self._per_block_log, self._group_log = block[123], block[124]
        features, incompatible = struct.unpack_from(">I", block, 200)[0], struct.unpack_from(">I", block, 216)[0]
        self._is_5 = version & 15 == 5
        self._ftype = bool(incompatible & _FTYPE if self._is_5 else features & _FTYPE_V4)
        self._directory_bytes = self._block_bytes << min(block[192], 16)
        if (self._block_bytes not in (512 << shift for shift in range(8)) or self._inode_bytes not in (256, 512, 1024, 2048) or version & 15 not in (4, 5)
                or self._per_block_log > 8 or not 0 < self._group_log < 32 or not 0 < self._directory_bytes <= 65536):
            raise FitnessError("the superblock of its XFS makes no sense")
        if self._is_5 and incompatible & ~_READABLE:
            raise FitnessError(f"its XFS has features that are not read (0x{incompatible & ~_READABLE:x})")
        self._tree_blocks = 0

    def names(self, path: str) -> dict[str, XfsInode]:
        """The directories and regular files of a directory by name; none when there is no such directory."""
        return named(path, self._root, self._inode, self._entries)

    def content(self, inode: XfsInode) -> Iterator[bytes]:
        """A file's bytes in pieces of at most 1 MiB; holes are zeroes."""
        yield from self._window.pieces(self._runs(inode), self._block_bytes, inode.size_bytes)

    def _inode(self, number: int) -> XfsInode:
        group, within = number >> (self._group_log + self._per_block_log), number & ((1 << (self._group_log + self._per_block_log)) - 1)
        block = group * self._group_blocks + (within >> self._per_block_log)
        at = block * self._block_bytes + (within & ((1 << self._per_block_log) - 1)) * self._inode_bytes
        raw = self._window.read(at, self._inode_bytes)
        magic, mode, version, kind = struct.unpack_from(">2sHBB", raw)
        size, extents, fork_end, flags = *struct.unpack_from(">Q", raw, 56), *struct.unpack_from(">I", raw, 76), raw[82] * 8, *struct.unpack_from(">H", raw, 90)
        if magic != b"IN" or flags & _REALTIME:
            raise FitnessError("a file of its XFS has no inode, or lies on a device of its own")
        start = 176 if version >= 3 else 100
        if version >= 3 and struct.unpack_from(">Q", raw, 120)[0] & _LARGE_COUNTS:
            extents = struct.unpack_from(">Q", raw, 24)[0]
        return XfsInode(kind, raw[start:start + fork_end if fork_end else None], extents, size, mode)

    def _block_at(self, number: int) -> int:
        """The place of a block, counted from the start of the file system, from its number, which has the group in its upper bits."""
        return (number >> self._group_log) * self._group_blocks + (number & ((1 << self._group_log) - 1))

    def _runs(self, inode: XfsInode) -> Iterator[tuple[int, int, int]]:
        """Logical block, physical block and length of what a file has, in order."""
        self._tree_blocks = 0
        if inode.kind == _EXTENTS:
            yield from self._records(inode.fork, 0, inode.extents)
        elif inode.kind == _BTREE and len(inode.fork) >= 4:
            level, count = struct.unpack_from(">HH", inode.fork)
            yield from self._below(inode.fork, 4, count, level)
        elif inode.kind != _LOCAL:
            raise FitnessError("an inode of its XFS is damaged")

    def _records(self, data: bytes, at: int, count: int) -> Iterator[tuple[int, int, int]]:
        if at + count * 16 > len(data):
            raise FitnessError("an extent list of its XFS is damaged")
        for high, low in struct.iter_unpack(">QQ", data[at:at + count * 16]):
            unwritten, length = high >> 63, low & ((1 << 21) - 1)
            if length and not unwritten:
                yield (high >> 9) & ((1 << 54) - 1), self._block_at((high & 511) << 43 | low >> 21), length

    def _below(self, node: bytes, header: int, count: int, level: int) -> Iterator[tuple[int, int, int]]:
        """Follow a node's pointers, which come behind room for as many keys as fit."""
        most = (len(node) - header) // 16
        if not 0 < level <= _MAX_DEPTH or count > most:
            raise FitnessError("an extent tree of its XFS is damaged")
        for (pointer,) in struct.iter_unpack(">Q", node[header + most * 8:header + (most + count) * 8]):
            yield from self._tree(pointer, level - 1)

    def _tree(self, number: int, level: int) -> Iterator[tuple[int, int, int]]:
        self._tree_blocks += 1
        if self._tree_blocks > _MAX_TREE_BLOCKS:
            raise FitnessError("a file of its XFS has more extents than can be followed")
        block = self._window.read(self._block_at(number) * self._block_bytes, self._block_bytes)
        magic, found, count = struct.unpack_from(">4sHH", block)
        if magic != (b"BMA3" if self._is_5 else b"BMAP") or found != level:
            raise FitnessError("an extent tree of its XFS is damaged")
        header = 72 if self._is_5 else 24
        yield from self._below(block, header, count, level) if level else self._records(block, header, count)

    def _entries(self, inode: XfsInode) -> dict[str, int]:
        if not inode.is_directory or inode.size_bytes > _MAX_DIRECTORY_BYTES:
            raise FitnessError("a directory of its XFS is none, or too large to be read")
        if inode.kind == _LOCAL:
            return self._short(inode.fork)
        runs = (run for run in self._runs(inode) if run[0] * self._block_bytes < _LEAF_BYTES)
        data, found = b"".join(self._window.pieces(runs, self._block_bytes, inode.size_bytes)), {}
        for at in range(0, len(data), self._directory_bytes):
            found |= self._data_block(data[at:at + self._directory_bytes])
        return found

    def _short(self, fork: bytes) -> dict[str, int]:
        """A directory in its inode."""
        if len(fork) < 6:
            raise FitnessError("a directory of its XFS is damaged")
        width = 8 if fork[1] else 4
        found, at = {}, 2 + width
        for _number in range(fork[0]):
            if at >= len(fork):
                break
            end = at + 3 + fork[at]
            number = end + self._ftype
            found[fork[at + 3:end].decode("utf-8", "replace")] = int.from_bytes(fork[number:number + width], "big")
            at = number + width
        return found

    def _data_block(self, block: bytes) -> dict[str, int]:
        """A block of a directory's entries; a small directory's only block has its index at the end."""
        magic, at, end = block[:4], 64 if self._is_5 else 16, len(block)
        if magic in (b"XD2B", b"XDB3") and len(block) >= 8:
            end -= 8 + 8 * struct.unpack_from(">I", block, len(block) - 8)[0]
        elif magic not in (b"XD2D", b"XDD3"):
            return {}  # a hole
        found = {}
        while at + 12 <= end:
            unused, length = struct.unpack_from(">HH", block, at)
            if unused == 0xFFFF:
                if length < 8:
                    break
                at += length
                continue
            name_length = block[at + 8]
            found[block[at + 9:at + 9 + name_length].decode("utf-8", "replace")] = struct.unpack_from(">Q", block, at)[0]
            at += (8 + 1 + name_length + self._ftype + 2 + 7) & ~7
        return found
