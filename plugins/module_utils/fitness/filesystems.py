# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in a partition, by its magic numbers, and a reader for what can be read."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from .disk import Window
from .ext import Ext
from .fat import Fat
from .xfs import Xfs

# Name, offset and bytes. Those that share the first sector with a boot record come last.
_MAGIC = (
    ("ext", 0x438, b"\x53\xef"), ("XFS", 0, b"XFSB"), ("btrfs", 0x10040, b"_BHRfS_M"), ("LUKS", 0, b"LUKS\xba\xbe"), ("swap", 4086, b"SWAPSPACE2"),
    *(("LVM2", sector * 512 + 24, b"LVM2 001") for sector in range(4)), ("MD RAID", 4096, b"\xfc\x4e\x2b\xa9"), ("MD RAID", 0, b"\xfc\x4e\x2b\xa9"),
    ("NTFS", 3, b"NTFS    "), ("BitLocker", 3, b"-FVE-FS-"), ("exFAT", 3, b"EXFAT   "), ("FAT", 54, b"FAT"), ("FAT", 82, b"FAT32"))
WINDOWS = ("NTFS", "BitLocker")
READABLE = {"ext": Ext, "FAT": Fat, "XFS": Xfs}


class Reader(Protocol):
    """A file system: the regular files and directories of a directory by name, and the content of a file in pieces."""

    def names(self, path: str) -> dict: ...

    def content(self, entry) -> Iterator[bytes]: ...


def detect(window: Window) -> str:
    """The name of what lies in the window, empty when nothing known does."""
    head = window.peek(0, 0x10048)
    return next((name for name, offset, magic in _MAGIC if head[offset:offset + len(magic)] == magic), "")
