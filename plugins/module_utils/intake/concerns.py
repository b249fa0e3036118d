# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concerns: what a person has to know or decide before a VM moves. The rules are data (concern_rules.py), the checks small functions."""
from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Concern, LegacyVm, Severity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Rule as SourceRule

from .concern_checks import Hit
from .concern_rules import RULES, Rule
from .errors import IntakeError

_ORDER = {Severity.BLOCK: 0, Severity.WARN: 1, Severity.INFORM: 2}
BY_ID = {rule.id: rule for rule in RULES}


def assess(vms: Iterable[LegacyVm], rules: Iterable[SourceRule] = ()) -> list[LegacyVm]:
    """Return the VMs with their concerns, blocking ones first; collisions and rules of the source are looked for across all of them."""
    vms = list(vms)
    across = _collisions(vms)
    for rule in rules:
        for name in rule.vms:
            across[name].append(("source-rule", Hit(f"{rule.name} ({rule.kind})")))
    out = []
    for vm in vms:
        found = [_concern(rule, hit) for rule in RULES for hit in rule.find(vm)]
        found += [_concern(BY_ID[name], hit) for name, hit in across[vm.id]]
        out.append(dataclasses.replace(vm, concerns=sorted(found, key=lambda c: (_ORDER[c.severity], c.id, c.ledger, c.sentence))))
    return out


def explain(name: str) -> str:
    """Return what a concern means, as Markdown; raises IntakeError for an id that does not exist."""
    rule = BY_ID.get(name)
    if rule is None:
        raise IntakeError(f"concern {name[:60]!r}: unknown; one of {', '.join(sorted(BY_ID))}")
    return f"### {rule.id}\n\n*{rule.severity.value}* - {rule.sentence.replace('{detail}', '...')}\n\n{rule.why}\n\nRemedy: {rule.remedy}\n"


def _concern(rule: Rule, hit: Hit) -> Concern:
    return Concern(rule.id, rule.severity, rule.sentence.replace("{detail}", hit.detail), rule.remedy, hit.ledger)


def _collisions(vms: list[LegacyVm]) -> dict[str, list[tuple[str, Hit]]]:
    """Find UUIDs and MAC addresses that more than one VM has, and names that needed a suffix to stay apart."""
    uuids, macs = defaultdict(list), defaultdict(list)
    for vm in vms:
        if vm.uuid:
            uuids[vm.uuid].append(vm)
        for mac in {nic.mac for nic in vm.nics if nic.mac}:
            macs[mac].append(vm)
    out: dict[str, list[tuple[str, Hit]]] = defaultdict(list)
    for name, table in (("uuid-collision", uuids), ("mac-collision", macs)):
        for value, owners in table.items():
            for vm in owners if len(owners) > 1 else ():
                others = sorted(other.name for other in owners if other.id != vm.id)
                out[vm.id].append((name, Hit(f"{value} with {', '.join(others[:5])}", _line(vm, value))))
    return out


def _line(vm: LegacyVm, value: str) -> str:
    return next((line.path for line in vm.ledger if line.value.lower().replace("-", ":") == value.replace("-", ":")), "")
