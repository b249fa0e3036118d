# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMX files read by Tandem and by libvirt's vmx2xml (its test data beside them): equal, or different for a reason that has a name."""
from __future__ import annotations

import pathlib
import re
from collections import Counter

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import LegacyVm
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import sources_reader

from .figures import figure

FIELDS = ("name", "uuid", "memory", "topology", "firmware", "disks", "nics")
NETWORKS = {"nat": "user", "bridged": "null"}


def run(folder: pathlib.Path) -> None:
    """Compare every pair and print how many fields agree, differ by a named reason, and differ without one."""
    agree, named, unnamed = Counter(), Counter(), []
    for path in sorted(folder.glob("*.vmx")):
        twin = path.with_suffix(".xml")
        if not twin.is_file():
            continue
        ours, theirs = sources_reader.read_file(str(path))[0], sources_reader.read_file(str(twin))[0]
        for field in FIELDS:
            reason = difference(field, ours, theirs)
            if reason is None:
                agree[field] += 1
            elif reason:
                named[f"{field}: {reason}"] += 1
            else:
                unnamed.append(f"{path.name}: {field}")
    for field in FIELDS:
        figure("intake", "vmx-libvirt", f"agree_{field}", agree[field], "files")
    figure("intake", "vmx-libvirt", "explained", sum(named.values()), "fields", reasons=dict(sorted(named.items())))
    figure("intake", "vmx-libvirt", "unexplained", len(unnamed), "fields", "== 0", not unnamed, differences=unnamed[:10])


def difference(field: str, ours: LegacyVm, theirs: LegacyVm) -> str | None:
    """Return None where the readings agree, the name of the reason where they don't, an empty string where none is known."""
    if field == "disks":
        return _disks(ours, theirs)
    if field == "nics":
        return _nics(ours, theirs)
    values = {"name": lambda vm: vm.name, "uuid": lambda vm: vm.uuid, "memory": lambda vm: vm.memory_bytes,
              "topology": lambda vm: (vm.cpu.sockets, vm.cpu.cores, vm.cpu.threads), "firmware": lambda vm: vm.firmware.kind}
    return None if values[field](ours) == values[field](theirs) else ""


def _disks(ours: LegacyVm, theirs: LegacyVm) -> str | None:
    def key(disk):
        return disk.bus, "cdrom" if disk.device == "lun" and not disk.source.startswith("/vmfs/dev") else disk.device, re.split(r"[/ ]", disk.source)[-1]

    mine, other = Counter(key(disk) for disk in ours.disks), Counter(key(disk) for disk in theirs.disks)
    if mine == other:
        return None
    extra, missing = list((mine - other).elements()), list((other - mine).elements())
    if missing:
        paired = {(bus, device) for bus, device, _name in extra}
        return "libvirt leaves out a medium on an unknown datastore" if all((bus, device) in paired and not name for bus, device, name in missing) else ""
    if all(device in ("cdrom", "floppy") for _bus, device, _name in extra):
        return "libvirt leaves out drives without a medium"
    return ""


def _nics(ours: LegacyVm, theirs: LegacyVm) -> str | None:
    if [nic.mac for nic in ours.nics] != [nic.mac for nic in theirs.nics]:
        return ""
    reasons = set()
    for mine, other in zip(ours.nics, theirs.nics, strict=True):
        if mine.model != other.model:
            reasons.add("libvirt tells vmxnet2 by a feature flag" if (mine.model, other.model) == ("vmxnet", "vmxnet2") else "")
        if mine.network != other.network:
            reasons.add("libvirt's word for the kind of network" if NETWORKS.get(mine.network) == other.network else "")
    return None if not reasons else "" if "" in reasons else ", ".join(sorted(reasons))
