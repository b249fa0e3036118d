# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks behind the concerns: each returns what it found in one VM and the ledger line it stems from."""
from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, Fate, LegacyVm, Severity
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt import choices, names

from .ledger import compile_pattern


@dataclass(frozen=True)
class Hit:
    """One thing found: a few words for the sentence and the path of a ledger line."""

    detail: str
    ledger: str = ""


Check = Callable[[LegacyVm], Iterator[Hit]]


@dataclass(frozen=True)
class Rule:
    """One kind of concern; `{detail}` in the sentence is what the check found."""

    id: str
    severity: Severity
    sentence: str
    remedy: str
    why: str
    find: Check


_INDEX = re.compile(r"\[\d+\]")


@functools.lru_cache(maxsize=65536)
def bare(path: str) -> str:
    """Return a ledger path without indices and root, as drop rules and checks write it."""
    return _INDEX.sub("", path).lstrip("/").partition("/")[2]


def on_lines(pattern: str, *fates: Fate, but: tuple[str, ...] = ()) -> Check:
    """Return a check for ledger lines with one of the fates at a path pattern, whose value is none of `but`; one hit."""
    compiled = compile_pattern(pattern)

    def check(vm: LegacyVm) -> Iterator[Hit]:
        for line in vm.ledger:
            if (not fates or line.fate in fates) and line.value.lower() not in but and compiled.fullmatch(bare(line.path)):
                yield Hit(f"{bare(line.path)} = {line.value}" if line.value else bare(line.path), line.path)
                return

    return check


def each_line(fate: Fate) -> Check:
    """Return a check with a hit for every ledger line of a fate."""

    def check(vm: LegacyVm) -> Iterator[Hit]:
        for line in vm.ledger:
            if line.fate is fate:
                yield Hit(line.path, line.path)

    return check


def when(condition: Callable[[LegacyVm], object], target: str = "") -> Check:
    """Return a check on the VM as a whole: a hit with the condition's value when it is true."""

    def check(vm: LegacyVm) -> Iterator[Hit]:
        value = condition(vm)
        if value:
            yield Hit(value if isinstance(value, str) else "", ledger_of(vm, target))

    return check


def each_disk(condition: Callable[[LegacyVm, Disk], object], attribute: str = "source") -> Check:
    """Return a check with a hit for every disk that meets the condition; a string it returns is told."""

    def check(vm: LegacyVm) -> Iterator[Hit]:
        for i, disk in enumerate(vm.disks):
            value = condition(vm, disk)
            if value:
                yield Hit(f"{disk.id} ({value})" if isinstance(value, str) else disk.id, ledger_of(vm, f"disks[{i}].{attribute}"))

    return check


def each_nic(condition: Callable, attribute: str = "model") -> Check:
    """Return a check with a hit for every network interface that meets the condition."""

    def check(vm: LegacyVm) -> Iterator[Hit]:
        for i, nic in enumerate(vm.nics):
            value = condition(vm, nic)
            if value:
                yield Hit(f"{nic.id} ({value})" if isinstance(value, str) else nic.id, ledger_of(vm, f"nics[{i}].{attribute}"))

    return check


def each_device(condition: Callable) -> Check:
    """Return a check with a hit for every host device that meets the condition."""

    def check(vm: LegacyVm) -> Iterator[Hit]:
        for i, device in enumerate(vm.host_devices):
            if condition(device):
                what = device.profile or f"{device.vendor_id}:{device.product_id}".strip(":") or device.address
                yield Hit(f"{device.id} ({device.kind} {what})", ledger_of(vm, f"host_devices[{i}]"))

    return check


def ledger_of(vm: LegacyVm, target: str) -> str:
    """Return the path of the first ledger line that was mapped to an estate field, or one below it."""
    if not target:
        return ""
    return next((line.path for line in vm.ledger if line.target.startswith(target)), "")


def disk_name(vm: LegacyVm, disk: Disk) -> str:
    """Return the change of the kind of device name that Linux gives, such as `nvme0n1 to vda`, or an empty string."""
    kinds = {"virtio": "vda", "nvme": "nvme0n1", "xen": "xvda"}
    before, after = kinds.get(disk.bus, "sda"), kinds.get(choices.disk_bus(disk), "sda")
    return f"{before} to {after}" if before != after and disk.device == "disk" else ""


def renamed(vm: LegacyVm) -> str:
    """Return `old to new` where the target name differs from the source's."""
    return f"{vm.name} to {vm.target_name}" if vm.target_name and vm.target_name != vm.name else ""


def bad_serial(vm: LegacyVm, disk: Disk) -> str:
    """Return `old to new` for a serial that KubeVirt does not admit."""
    new = choices.disk_serial(vm, disk)
    return f"{disk.serial} to {new}" if disk.serial and disk.serial != new else ""


def no_label(vm: LegacyVm) -> bool:
    """Tell whether nothing of a name survives as an RFC 1123 label."""
    return not names.label(vm.name)


def boot_order(vm: LegacyVm) -> str:
    """Return how the order of several disks at boot was completed, or an empty string where the source gives it whole."""
    disks = choices.kept_disks(vm)
    rest = [disk.id for disk in disks if not disk.boot_order]
    if len(disks) < 2 or not rest:
        return ""
    given = any(item.boot_order for item in (*disks, *vm.nics))
    return f"{', '.join(rest[:5])} come last" if given else f"{rest[0]} is tried first, as the first disk of the guest"
