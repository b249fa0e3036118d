# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the guest on a disk boot from the bus that it gets? A look at the disk, never a change."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .disk import MIB, Window
from .errors import FitnessError
from .filesystems import READABLE, WINDOWS, Reader, detect
from .linux import Kernel, newest_kernel
from .partitions import Partition, partitions
from .rules import CONVERT, EVERYWHERE, LINUX, READY, REBUILD, UNKNOWN
from .rules import WINDOWS as WINDOWS_RULES

MAX_SHOWN = 16


@dataclass
class Fitness:
    """The answer: `verdict` is ready, rebuild (the initramfs lacks a driver), convert (Windows without virtio drivers) or unknown.

    `drivers` are those seen of the ones that matter. `compatible` tells of a guest that is not ready whether it boots from SATA (None: unknown).
    """

    bus: str
    verdict: str = UNKNOWN
    sentence: str = ""
    table: str = ""
    partitions: list[str] = field(default_factory=list)
    kernel: str = ""
    initramfs: str = ""
    drivers: list[str] = field(default_factory=list)
    compatible: bool | None = None


def look(read: Callable[[int, int], bytes], size_bytes: int, bus: str) -> Fitness:
    """Look at a disk by `read(offset, length)`; what can't be read ends in unknown, with the reason."""
    found = Fitness(bus)
    try:
        _judge(found, *_explore(found, Window(read, size_bytes)))
    except FitnessError as error:
        found.verdict, found.sentence = UNKNOWN, str(error)
    found.sentence = _printable(found.sentence, 300)
    return found


def _explore(found: Fitness, disk: Window) -> tuple[list[str], Kernel | None, str]:
    """The kinds of file systems, the kernel, and what went wrong with a file system that should have been readable."""
    found.table, parts = partitions(disk)
    kinds, readers, problem = [], [], ""
    for part in parts or [Partition(0, 0, disk.size_bytes)]:
        window = disk.part(part.start, part.size_bytes)
        kind = detect(window)
        kinds.append(kind)
        if len(found.partitions) < MAX_SHOWN:
            found.partitions.append(f"{part.number}: {kind or 'unknown'}, {window.size_bytes // MIB} MiB")
        if kind in READABLE:
            try:
                readers.append(_usable(READABLE[kind](window)))
            except FitnessError as error:
                problem = problem or str(error)
    return kinds, newest_kernel(readers, disk.allowance, LINUX[found.bus]), problem


def _usable(reader: Reader) -> Reader:
    reader.names("")
    return reader


def _judge(found: Fitness, kinds: list[str], kernel: Kernel | None, problem: str) -> None:
    if kernel:
        _linux(found, kernel)
    elif any(kind in WINDOWS for kind in kinds) and not any(kind not in (*WINDOWS, "FAT", "") for kind in kinds):
        found.verdict, found.sentence = WINDOWS_RULES[found.bus]
        found.compatible = WINDOWS_RULES[EVERYWHERE][0] == READY or None
        if found.verdict == CONVERT:
            found.sentence += " that it starts at boot"
    else:
        known = ", ".join(sorted({kind for kind in kinds if kind}))
        found.sentence = problem or (f"no kernel was found on what can be read; the disk has {known}" if known else "nothing on the disk is known")


def _linux(found: Fitness, kernel: Kernel) -> None:
    needed, there = LINUX[found.bus], kernel.drivers | (kernel.builtin or set())
    found.kernel, found.initramfs = _printable(kernel.version, 64), _printable(kernel.initramfs, 100)
    found.drivers = sorted(there)
    name = f"Linux {found.kernel}".rstrip()
    missing = ", ".join(driver for driver in needed if driver not in there)
    fit = kernel.has(needed)
    if fit:
        found.verdict, found.sentence = READY, f"{name} has {', '.join(needed)} in {found.initramfs or 'its kernel'}{' or built in' if found.initramfs else ''}"
        return
    found.compatible = kernel.has(LINUX[EVERYWHERE])
    if fit is False:
        found.verdict, found.sentence = REBUILD, f"{found.initramfs or 'the kernel'} of {name} lacks {missing}"
    else:
        found.sentence = kernel.problem or f"{found.initramfs or 'the kernel'} of {name} lacks {missing}, unless they are built in, which nothing tells"


def _printable(text: str, most: int) -> str:
    """Names on a disk that nobody vouches for go into a journal and onto terminals."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text[:most])
