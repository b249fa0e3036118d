# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way along a path through directories that name inodes by number."""
from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar


class AnyInode(Protocol):
    """What every file system's inode tells."""

    @property
    def is_directory(self) -> bool: ...

    @property
    def is_file(self) -> bool: ...


Found = TypeVar("Found", bound=AnyInode)


def named(path: str, root: int, inode: Callable[[int], Found], entries: Callable[[Found], dict[str, int]]) -> dict[str, Found]:
    """The directories and regular files of a directory by name; none when there is no such directory."""
    found = inode(root)
    for part in path.strip("/").split("/") if path.strip("/") else ():
        number = entries(found).get(part)
        if not number:
            return {}
        found = inode(number)
        if not found.is_directory:
            return {}
    inodes = ((name, inode(number)) for name, number in entries(found).items() if name not in (".", ".."))
    return {name: one for name, one in inodes if one.is_directory or one.is_file}
