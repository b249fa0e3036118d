# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of a bootable guest disk, as bytes: initramfs archive, partition table, order of kernel modules."""

from __future__ import annotations

import stat
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SECTOR_BYTES = 512
PARTITION_START_SECTOR = 2048  # 1 MiB: room for GRUB between the partition table and the first partition


@dataclass(frozen=True)
class Member:
    """A file, directory or symbolic link of an initramfs."""

    name: str
    mode: int
    content: bytes = b""


def initramfs(members: Sequence[Member]) -> bytes:
    """A cpio archive in the format "newc" (Documentation/driver-api/early-userspace/buffer-format.rst of Linux)."""
    trailer = Member("TRAILER!!!", 0)
    out = bytearray()
    for inode, member in enumerate([*members, trailer], 1):
        name = member.name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(member.mode) else 1
        fields = (inode, member.mode, 0, 0, links, 0, len(member.content), 0, 0, 0, 0, len(name), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        out += _padded(header + name) + _padded(member.content)
    return bytes(out)


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)


def partition_table(disk_sectors: int) -> bytes:
    """The end of a master boot record: one bootable Linux partition from 1 MiB to the end, and the signature."""
    size = disk_sectors - PARTITION_START_SECTOR
    beyond_chs = b"\xfe\xff\xff"
    entry = b"\x80" + beyond_chs + b"\x83" + beyond_chs + struct.pack("<II", PARTITION_START_SECTOR, size)
    return entry + b"\0" * 48 + b"\x55\xaa"


def load_order(dependencies: Mapping[str, Sequence[str]], wanted: Sequence[str]) -> list[str]:
    """Paths of the wanted kernel modules and what they need, each after what it needs.

    `dependencies` maps the path of a module to those of the modules it needs, as modules.dep does. A module that the
    kernel has built in, or lacks, is left out.
    """
    by_name = {path.rsplit("/", 1)[-1].split(".")[0].replace("-", "_"): path for path in dependencies}
    order: list[str] = []

    def add(path: str) -> None:
        if path in order:
            return
        for needed in dependencies[path]:
            add(needed)
        order.append(path)

    for name in wanted:
        if name in by_name:
            add(by_name[name])
    return order


def parse_modules_dep(text: str) -> dict[str, list[str]]:
    """modules.dep as a mapping from module path to the paths of the modules it needs."""
    lines = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {path: needed.split() for path, needed in lines}
