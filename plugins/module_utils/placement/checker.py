# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The independent checker: does a plan hold on a capacity? It shares the documents and the GPU tables with the search, and no code."""
from __future__ import annotations

import re
from collections import Counter, defaultdict

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker_gpu import check_gpus
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker_levels import check_levels, check_settings
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker_nodes import constraints, forbidden
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker_order import (
    check_failures,
    check_waves,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker_rules import check_handed_on, check_rules


def check(capacity: Capacity, demand: Demand, plan: Plan) -> list[str]:
    """Return one sentence per violation, sorted; empty when the plan holds."""
    facts = Facts(capacity, demand, plan)
    found = [*_complete(facts)]
    if found:
        return sorted(found)
    found += _requests(facts)
    found += _nodes(facts)
    found += _room(facts)
    found += check_rules(facts)
    found += check_handed_on(facts)
    found += check_gpus(facts)
    found += check_waves(facts)
    found += check_failures(facts)
    found += check_settings(facts)
    found += check_levels(facts)
    return sorted(set(found))


class Facts:
    """The documents with look-ups that every check uses."""

    def __init__(self, capacity: Capacity, demand: Demand, plan: Plan):
        self.capacity, self.demand, self.plan, self.policy = capacity, demand, plan, demand.policy
        self.nodes = {node.name: node for node in capacity.nodes}
        self.workloads = {workload.name: workload for workload in demand.workloads}
        self.settings = {setting.node: setting for setting in plan.settings}
        self.shapes = {(workload.name, shape.name): shape for workload in demand.workloads for shape in workload.shapes}
        self.adopted = self._adopt()
        taken = {id(running) for runs in self.adopted.values() for running in runs}
        self.staying = [running for running in capacity.running if id(running) not in taken]
        self.adopted_names, self.adopted_slots = set(), defaultdict(set)
        for running in (running for runs in self.adopted.values() for running in runs):
            self.adopted_names |= {running.name, running.owner, f"{running.namespace}/{running.name}"}
            for text in running.devices:
                if match := re.fullmatch(r"(.+)/[^/]+@(\d+)", text):
                    self.adopted_slots[match[1]].add(int(match[2]))
        self.moved = {}
        for wave in plan.waves:
            for move in wave.moves:
                self.moved[move.workload] = move.target
        self.placed_on, self.staying_on, self.placed, self.rules_of, self.volumes = (defaultdict(list) for _unused in range(5))
        for one in plan.assignments:
            self.placed_on[one.node].append(one)
            self.placed[one.workload].append(one)
        for running in self.staying:
            self.staying_on[self.node_of(running)].append(running)
        for rule in demand.affinities:
            for name in set(rule.workloads):
                self.rules_of[name].append(rule)
        for volume in capacity.volumes:
            self.volumes[volume.namespace, volume.claim].append(volume)

    def used(self, node):
        """Return what is requested on a node by what stays there, what moves there and what the plan puts there."""
        total = Counter()
        for running in self.staying_on[node]:
            total.update(running.requests)
            total["pods"] += "pods" not in running.requests
        for one in self.placed_on[node]:
            total.update(one.requests)
            total["pods"] += 1
        return total

    def _adopt(self):
        found = defaultdict(list)
        for running in sorted(self.capacity.running, key=lambda one: (one.namespace, one.name)):
            for name in (running.owner, running.name):
                workload = self.workloads.get(name)
                if workload is not None and workload.namespace == running.namespace:
                    if len(found[name]) < workload.replicas:
                        found[name].append(running)
                    break
        return found

    def label(self, node, key):
        value = node.labels.get(key)
        if value is None and key == "kubernetes.io/hostname":
            return node.name
        if value is None and key == "topology.kubernetes.io/zone":
            return node.zone or None
        return value

    def node_of(self, running):
        return self.moved.get(f"{running.namespace}/{running.name}", running.node)

    def allocatable(self, node, resource):
        return node.allocatable.get(resource, 0) * (100 - self.policy.reserve_percent.get(resource, 0)) // 100


def _complete(facts):
    seen = Counter((one.workload, one.replica) for one in [*facts.plan.assignments, *facts.plan.unplaced])
    expected = {(workload.name, replica) for workload in facts.demand.workloads for replica in range(workload.replicas)}
    for workload, replica in sorted(expected - set(seen)):
        yield f"{workload}/{replica} is neither placed nor reported as unplaced"
    for (workload, replica), count in sorted(seen.items()):
        if (workload, replica) not in expected:
            yield f"{workload}/{replica} is in the plan but not in the demand"
        elif count > 1:
            yield f"{workload}/{replica} appears {count} times"
    for one in facts.plan.assignments:
        if one.node not in facts.nodes:
            yield f"{one.workload}/{one.replica}: node {one.node} does not exist"
        if (one.workload, one.shape) not in facts.shapes:
            yield f"{one.workload}/{one.replica}: shape {one.shape} does not exist"
    for move in facts.moved.values():
        if move not in facts.nodes:
            yield f"a move ends on node {move}, which does not exist"


def _requests(facts):
    for one in facts.plan.assignments:
        workload, expected = facts.workloads[one.workload], dict(facts.shapes[one.workload, one.shape].requests)
        if workload.kind == "vm" and not workload.dedicated_cpus and "cpu_milli" in expected:
            expected["cpu_milli"] = -(-expected["cpu_milli"] * 100 // facts.policy.vm_cpu_overcommit_percent)
        expected = {name: quantity for name, quantity in expected.items() if quantity and name != "pods"}
        if one.requests != expected:
            yield f"{one.workload}/{one.replica}: requests {one.requests} differ from the shape's {expected}"
        if one.kind != workload.kind:
            yield f"{one.workload}/{one.replica}: kind {one.kind} differs from the demand's {workload.kind}"


def _nodes(facts):
    known = {}
    for one in facts.plan.assignments:
        workload = facts.workloads[one.workload]
        here = [running.node for running in facts.adopted.get(one.workload, [])]
        why_not = known.setdefault(constraints(workload), {})
        for name in {one.node, *one.eligible}:
            if name in facts.nodes and name not in why_not:
                why_not[name] = forbidden(facts, workload, facts.nodes[name])
            if name not in facts.nodes:
                yield f"{one.workload}/{one.replica}: eligible node {name} does not exist"
            elif why := why_not[name]:
                yield f"{one.workload}/{one.replica} can't run on {name}: {why}"
        if one.eligible != sorted(set(one.eligible)):
            yield f"{one.workload}/{one.replica}: eligible nodes are not in order, each once"
        if one.pin != _pinned(facts, one):
            yield f"{one.workload}/{one.replica}: pin is {one.pin}"
        if (one.resource or one.device_class or one.product) and not one.devices:
            yield f"{one.workload}/{one.replica}: resource {one.resource} without a device"
        if one.node not in one.eligible:
            yield f"{one.workload}/{one.replica}: planned node {one.node} is not among its eligible nodes"
        if one.pin and one.eligible != [one.node]:
            yield f"{one.workload}/{one.replica} is pinned to {one.node} but eligible elsewhere"
        restarts = facts.policy.allow_restarts and workload.restart
        if not workload.live_migratable and not restarts and one.replica < len(here) and one.node != here[one.replica]:
            yield f"{one.workload}/{one.replica} can't move from {here[one.replica]} but is planned on {one.node}"
    for running in facts.staying:
        target = facts.node_of(running)
        if target == running.node:
            continue
        node = facts.nodes[target]
        if running.move == "fixed" or running.devices:
            yield f"{running.namespace}/{running.name} can't move but is planned to"
        if running.eligible and target not in running.eligible:
            yield f"{running.namespace}/{running.name} can't run on {target}"
        if not running.eligible and (node.unschedulable or not node.ready or node.taints or (running.kind == "VM" and not node.runs_vms)):
            yield f"{running.namespace}/{running.name} can't run on {target}"


def _pinned(facts, one):
    """A passed-through GPU binds a VM to its node, unless a fail-over policy covers the VM."""
    workload, gpu = facts.workloads[one.workload], facts.shapes[one.workload, one.shape].gpu
    covered = workload.restart and any(workload.priority >= policy.min_priority for policy in facts.policy.failover)
    return gpu is not None and gpu.kind == "passthrough" and not covered


def _room(facts):
    placed = {one.node for one in facts.plan.assignments} | set(facts.moved.values())
    for name in sorted(placed):
        node = facts.nodes[name]
        for resource, quantity in facts.used(name).items():
            if resource == "pods" and "pods" not in node.allocatable:
                continue
            if resource not in node.allocatable and all(resource not in one.requests for one in facts.placed_on[name]):
                continue
            if quantity > facts.allocatable(node, resource):
                yield f"{name}: {quantity} {resource} planned, {facts.allocatable(node, resource)} allowed"
    cells = defaultdict(Counter)
    for one in facts.plan.assignments:
        workload, node = facts.workloads[one.workload], facts.nodes[one.node]
        if not workload.single_numa or not node.numa:
            continue
        if one.numa is None:
            yield f"{one.workload}/{one.replica}: no NUMA cell given on {one.node}"
            continue
        cells[one.node, one.numa]["cpu_milli"] += 1000 * workload.dedicated_cpus or facts.shapes[one.workload, one.shape].requests.get("cpu_milli", 0)
        cells[one.node, one.numa].update({name: quantity for name, quantity in one.requests.items()
                                          if name == "memory_bytes" or name.startswith("hugepages-")})
    for (name, number), total in cells.items():
        cell = next((cell for cell in facts.nodes[name].numa if cell.id == number), None)
        have = {} if cell is None else {"cpu_milli": cell.cpu_milli, "memory_bytes": cell.memory_bytes, **cell.hugepages}
        for resource, quantity in total.items():
            if quantity > have.get(resource, 0):
                yield f"{name}: NUMA cell {number} lacks {resource}: {quantity} planned, {have.get(resource, 0)} there"
