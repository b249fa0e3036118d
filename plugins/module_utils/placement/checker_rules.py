# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker's view of rules: affinity, spread, licenses and gangs hold, and pods carry what kube-scheduler has to keep."""
from __future__ import annotations

from collections import Counter, defaultdict

from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker_nodes import forbidden


def check_rules(facts):
    """Yield one sentence per rule of the demand that the plan breaks."""
    for rule in facts.demand.affinities:
        if not rule.required:
            continue
        counts = placed_in(facts, rule)
        if rule.apart:
            for value, count in counts.items():
                if value is not None and count > 1:
                    yield f"rule {rule.name}: {count} together in {value}"
        elif len(counts) > 1 or None in counts:
            yield f"rule {rule.name}: spread over {sorted(map(str, counts))}"
    for rule in facts.demand.spreads:
        yield from _spread(facts, rule)
    for rule in facts.demand.licenses:
        hosts = {name for workload in facts.demand.workloads if rule.product in workload.products for one in facts.placed[workload.name]
                 for name in [one.node, *one.eligible]}
        if len(hosts) > rule.max_hosts:
            yield f"license {rule.name}: {len(hosts)} hosts, {rule.max_hosts} allowed"
        if rule.hosts and hosts - set(rule.hosts):
            yield f"license {rule.name}: {sorted(hosts - set(rule.hosts))[0]} is not licensed"
    for workload in facts.demand.workloads:
        count = len(facts.placed[workload.name])
        if workload.gang and 0 < count < workload.replicas:
            yield f"gang {workload.name}: {count} of {workload.replicas} replicas placed"


def placed_in(facts, rule):
    """Return how many of a rule's workloads the plan puts into each domain."""
    return Counter(facts.label(facts.nodes[one.node], rule.topology_key) for name in sorted(set(rule.workloads)) for one in facts.placed[name])


def _spread(facts, rule):
    counts = placed_in(facts, rule)
    if not counts:
        return
    if None in counts:
        yield f"rule {rule.name}: a node without {rule.topology_key}"
    domains = {facts.label(node, rule.topology_key) for node in facts.capacity.nodes
               if any(not forbidden(facts, facts.workloads[name], node) for name in rule.workloads)} - {None}
    skew = max(counts.values()) - min(counts[domain] for domain in domains | (set(counts) - {None}))
    if skew > rule.max_skew:
        yield f"rule {rule.name}: skew {skew}, {rule.max_skew} allowed"


def check_handed_on(facts):
    """Yield one sentence where the plan does not repeat a rule for kube-scheduler, or pods do not carry a required one."""
    apart = {True: "apart", False: "together"}
    wanted = [(rule.name, apart[rule.apart], sorted(set(rule.workloads)), rule.topology_key, rule.required, 1) for rule in facts.demand.affinities]
    wanted += [(rule.name, "spread", sorted(set(rule.workloads)), rule.topology_key, True, rule.max_skew) for rule in facts.demand.spreads]
    given = {rule.name: rule for rule in facts.plan.rules}
    if [(rule.name, rule.kind, rule.workloads, rule.topology_key, rule.required, rule.max_skew) for rule in facts.plan.rules] != wanted:
        yield "the plan's rules differ from those of the demand"
        return
    for name, rule in given.items():
        replicated = [one for one in rule.workloads if facts.workloads[one].replicas > 1]
        spaces = {facts.workloads[one].namespace for one in rule.workloads}
        reach = set(rule.namespaces)
        if rule.replicated != replicated or (len(spaces) > 1 and reach not in (spaces, {"*"})) or (len(spaces) > 1 and "" in spaces and reach != {"*"}):
            yield f"rule {name}: replicas or namespaces differ from the demand's"
    may_of, must_of = defaultdict(set), defaultdict(set)
    for name, rule in given.items():
        for one in rule.workloads:
            may_of[one].add(name)
            if rule.required:
                must_of[one].add(name)
    for one in facts.plan.assignments:
        must, may = must_of[one.workload], may_of[one.workload]
        if not must <= set(one.rules) <= may or len(set(one.rules)) < len(one.rules):
            yield f"{one.workload}/{one.replica} carries rules {one.rules}, expected {sorted(must)}"
        if one.tolerations != facts.workloads[one.workload].tolerations:
            yield f"{one.workload}/{one.replica}: tolerations differ from the demand's"
