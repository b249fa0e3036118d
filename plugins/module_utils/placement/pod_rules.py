# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demand's rules about other pods as the plan hands them to kube-scheduler, and which of them a workload's pods carry."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand, Spread
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import PodRule
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import State


def rules(demand: Demand) -> list[PodRule]:
    """Return every affinity and spread of a demand as a PodRule, in its order."""
    workloads = {workload.name: workload for workload in demand.workloads}
    found = []
    for rule in [*demand.affinities, *demand.spreads]:
        members = [workloads[name] for name in sorted(set(rule.workloads))]
        kind = "spread" if isinstance(rule, Spread) else "apart" if rule.apart else "together"
        found.append(PodRule(rule.name, kind, [one.name for one in members], rule.topology_key, getattr(rule, "required", True),
                             getattr(rule, "max_skew", 1), [one.name for one in members if one.replicas > 1], _namespaces(members)))
    return found


def carried(state: State, number: int) -> list[str]:
    """Return the names of the rules that an item's pods carry: all required ones, and of the wishes those that the plan meets for it, as
    a wish that it can't meet would outvote the preference for the planned node."""
    problem, place = state.problem, state.places[number]
    found = [(problem.rules[at], state.counts[at]) for at in problem.types[problem.items[number].type].rules]
    return [rule.name for rule, counts in found
            if rule.kind != "license" and (rule.required or _met(rule, counts, rule.domains[place.node]))]


def _met(rule, counts, domain):
    return domain < 0 or counts[domain] == 1 if rule.kind == "apart" else domain >= 0 and len(counts) == 1


def _namespaces(members):
    known = sorted({one.namespace for one in members})
    if len(known) < 2 and (known != [""] or len({one.kind for one in members}) == 1):
        return []
    # A namespace that is left open is chosen by whoever applies the manifests.
    return ["*"] if "" in known else known
