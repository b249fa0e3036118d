# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Layers of container images: tar files whose bytes follow from their entries alone."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

# VFS_CAP_REVISION_2 with the effective bit, permitted = 1 << CAP_NET_BIND_SERVICE (linux/capability.h).
NET_BIND_SERVICE = b"\x01\x00\x00\x02\x00\x04\x00\x00".ljust(20, b"\x00")


@dataclass(frozen=True)
class File:
    """A regular file in a layer: from `source` on this machine, or with the bytes `content`."""

    target: str
    source: Path | None = None
    content: bytes = b""
    mode: int = 0o644
    owner: int = 0
    capability: bytes = b""


@dataclass(frozen=True)
class Directory:
    """A directory in a layer; parents of other entries need not be named."""

    target: str
    mode: int = 0o755
    owner: int = 0


@dataclass(frozen=True)
class Link:
    """A symbolic link in a layer."""

    target: str
    to: str


Entry: TypeAlias = "File | Directory | Link"


def tree(source: Path, target: str) -> list[Entry]:
    """The files, directories and symbolic links under `source` as entries under `target`, modes kept."""
    entries: list[Entry] = []
    for path in sorted(source.rglob("*")):
        name = str(PurePosixPath(target, path.relative_to(source).as_posix()))
        if path.is_symlink():
            entries.append(Link(name, str(path.readlink())))
        elif path.is_dir():
            entries.append(Directory(name, mode=path.stat().st_mode & 0o7777))
        else:
            entries.append(File(name, source=path, mode=path.stat().st_mode & 0o7777))
    return entries


def write_layer(out: Path, entries: Iterable[Entry]) -> None:
    """Writes the entries to the tar file `out`: sorted by name, dated 1970, parents added as root's 0755."""
    by_name = {_name(entry.target): entry for entry in entries}
    for name in list(by_name):
        for parent in _parents(name):
            by_name.setdefault(parent, Directory(parent))
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, entry in sorted(by_name.items()):
            _add(tar, name, entry)


def read_member(archive: Path, name: str) -> bytes:
    """The content of the regular file `name` in the tar file `archive`; KeyError where there is none."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile(name)
        if member is None:
            raise KeyError(name)
        return member.read()


def _name(target: str) -> str:
    return target.strip("/")


def _parents(name: str) -> Iterator[str]:
    return (str(parent) for parent in PurePosixPath(name).parents if str(parent) != ".")


def _add(tar: tarfile.TarFile, name: str, entry: Entry) -> None:
    info = tarfile.TarInfo(name)
    if isinstance(entry, Link):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.to, 0o777
        tar.addfile(info)
        return
    info.mode, info.uid, info.gid = entry.mode, entry.owner, entry.owner
    if isinstance(entry, Directory):
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
        return
    if entry.capability:
        info.pax_headers["SCHILY.xattr.security.capability"] = entry.capability.decode()
    if entry.source is None:
        info.size = len(entry.content)
        tar.addfile(info, io.BytesIO(entry.content))
        return
    info.size = entry.source.stat().st_size
    with entry.source.open("rb") as file:
        tar.addfile(info, file)
