# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernels and initramfs of a Linux guest, and the drivers that are in them."""
from __future__ import annotations

import re
from dataclasses import dataclass, field

from .disk import MIB, Allowance
from .errors import FitnessError
from .filesystems import Reader
from .initramfs import builtin_drivers, contents
from .rules import DRIVERS

BOOT = ("boot", "")  # a directory of the root file system, or a file system of its own
_KERNEL = re.compile(r"(?:vmlinuz|vmlinux|bzImage|kernel)(?:-(.+))?")
_INITRAMFS = re.compile(r"(?:initrd\.img|initramfs|initrd)(?:-(.+?))?(?:\.img)?")
_SPARE = re.compile(r"rescue|kdump|fallback|\.(?:old|bak|dpkg-.*)$")
_BUILTIN_PATHS = ("lib/modules", "usr/lib/modules")


@dataclass
class Kernel:
    """The kernel that boots: the newest one, as boot loaders take it. `builtin` is None when nothing tells what it has built in."""

    version: str
    initramfs: str = ""
    drivers: set[str] = field(default_factory=set)
    builtin: set[str] | None = None
    problem: str = ""

    def has(self, names: tuple[str, ...]) -> bool | None:
        """Whether all of these drivers are there in time; None when that can't be told."""
        missing = set(names) - self.drivers - (self.builtin or set())
        return not missing or (None if self.problem or self.builtin is None else False)


def newest_kernel(readers: list[Reader], allowance: Allowance, needed: tuple[str, ...]) -> Kernel | None:
    """The newest kernel on these file systems with its initramfs, which is read until the needed drivers were seen; None when there is none."""
    found: dict[str, dict[str, tuple]] = {}
    for reader in readers:
        for directory in BOOT:
            for name, entry in reader.names(directory).items():
                for kind, pattern in (("kernel", _KERNEL), ("initramfs", _INITRAMFS)):
                    fits = pattern.fullmatch(name)
                    if fits and entry.is_file and not _SPARE.search(name):
                        found.setdefault(fits[1] or "", {}).setdefault(kind, (reader, directory, name, entry))
    if not found:
        return None
    version = max(found, key=lambda text: ("kernel" in found[text], _natural(text)))
    kernel = Kernel(version, builtin=_builtin(readers, version))
    if "initramfs" in found[version]:
        reader, directory, name, entry = found[version]["initramfs"]
        kernel.initramfs = f"/{directory}/{name}".replace("//", "/")
        try:
            inside = contents(reader.content(entry), allowance, set(needed) - (kernel.builtin or set()))
        except FitnessError as error:
            kernel.problem = f"{kernel.initramfs}: {error}"
        else:
            kernel.drivers = inside.drivers
            kernel.builtin = inside.builtin if kernel.builtin is None else kernel.builtin | (inside.builtin or set())
    return kernel


def _natural(text: str) -> list[tuple[int, int, str]]:
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.findall(r"\d{1,18}|\D+", text)]


def _builtin(readers: list[Reader], version: str) -> set[str] | None:
    if not version or "/" in version:
        return None
    for reader in readers:
        for directory in BOOT:
            entry = reader.names(directory).get(f"config-{version}")
            if entry and entry.is_file:
                lines = set(_small(reader, entry).splitlines())
                return {name for name, option in DRIVERS.items() if b"CONFIG_%s=y" % option.encode() in lines}
        for path in _BUILTIN_PATHS:
            entry = reader.names(f"{path}/{version}").get("modules.builtin")
            if entry and entry.is_file:
                return builtin_drivers(_small(reader, entry))
    return None


def _small(reader: Reader, entry) -> bytes:
    found = b""
    for piece in reader.content(entry):
        found += piece
        if len(found) > MIB:
            raise FitnessError("a text file of the guest's kernel is larger than it can be")
    return found
