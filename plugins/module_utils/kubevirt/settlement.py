# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger's last word: each field that the Estate took over is followed into the VirtualMachine."""
from __future__ import annotations

import dataclasses

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Fate, LedgerLine, LegacyVm

from .decisions import Changed, Dropped
from .places import decide


def settle(vm: LegacyVm) -> LegacyVm:
    """Return the VM with every mapped or changed ledger line carried on to its place in the manifest; a field without one is unknown."""
    return dataclasses.replace(vm, ledger=[_settled(vm, line) for line in vm.ledger])


def _settled(vm: LegacyVm, line: LedgerLine) -> LedgerLine:
    if line.fate not in (Fate.MAPPED, Fate.CHANGED):
        return line
    try:
        place, outcome = decide(vm, line.target)
    except (KeyError, IndexError, StopIteration):
        return dataclasses.replace(line, fate=Fate.UNKNOWN, reason=f"no rule says where {line.target} ends")
    if isinstance(outcome, Dropped):
        return dataclasses.replace(line, fate=Fate.DROPPED, reason=outcome.reason)
    if isinstance(outcome, Changed) and line.fate is Fate.MAPPED:
        return dataclasses.replace(line, fate=Fate.CHANGED, becomes=outcome.becomes, reason=outcome.reason, place=place)
    return dataclasses.replace(line, place=place)


def lookup(manifest: dict, claims: list[dict], place: str) -> bool:
    """Tell whether a place of the ledger exists in a rendered VM; annotation keys contain dots and slashes, indices are in brackets."""
    if place.startswith("PersistentVolumeClaim"):
        index = place.partition("[")[2].rstrip("]")
        return len(claims) > int(index or 0)
    if place.startswith("metadata.annotations."):
        return place.removeprefix("metadata.annotations.") in manifest["metadata"]["annotations"]
    found: object = manifest
    for step in place.split("."):
        name, _bracket, index = step.partition("[")
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
        if index:
            if not isinstance(found, list) or int(index.rstrip("]")) >= len(found):
                return False
            found = found[int(index.rstrip("]"))]
    return True
