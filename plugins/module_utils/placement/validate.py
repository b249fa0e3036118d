# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contradictions in Capacity and Demand, found before anything is planned: one clear sentence for the first of them."""
from __future__ import annotations

from collections import Counter

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand, Workload
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu.names import KINDS
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.errors import PlacementError

OBJECTIVES = ("placed", "gpu_share", "failover", "moves", "preferences", "fragmentation", "nodes")
GPU_KINDS = ("full", "mig", "shared", "passthrough", "vgpu")
OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")


def validate(capacity: Capacity, demand: Demand) -> None:
    """Raise PlacementError for the first contradiction."""
    _capacity(capacity)
    resources = {name for node in capacity.nodes for name in node.allocatable}
    names = _unique("workload", [workload.name for workload in demand.workloads])
    groups = {workload.group for workload in demand.workloads if workload.group}
    for workload in demand.workloads:
        _workload(workload, resources)
        for other in workload.after:
            if other not in names | groups:
                raise PlacementError(f"workload {workload.name}: after names {other!r}; expected a workload or a group of this demand")
    wave_levels(demand)
    _rules(demand, names)
    _policy(demand)


def wave_levels(demand: Demand) -> dict[str, int]:
    """Return the wave level of every workload: 0, or one more than the highest it comes after; raises PlacementError for a cycle."""
    members: dict[str, set[str]] = {}
    for workload in demand.workloads:
        members.setdefault(workload.name, set()).add(workload.name)
        if workload.group:
            members.setdefault(workload.group, set()).add(workload.name)
    before = {workload.name: sorted({member for name in workload.after for member in members[name]}) for workload in demand.workloads}
    levels: dict[str, int] = {}
    for root in before:
        path, stack = [], [(root, iter(before[root]))]
        while stack:
            name, others = stack[-1]
            path = [entry[0] for entry in stack]
            other = next((other for other in others if other not in levels), None)
            if other is None:
                levels[name] = max((levels[item] + 1 for item in before[name]), default=0)
                stack.pop()
            elif other in path:
                cycle = " after ".join([*path[path.index(other):], other])
                raise PlacementError(f"workloads wait for each other in a circle: {cycle}; expected an order without a circle")
            else:
                stack.append((other, iter(before[other])))
    return levels


def _capacity(capacity):
    if not capacity.nodes:
        raise PlacementError("capacity has 0 nodes; expected at least one")
    names = _unique("node", [node.name for node in capacity.nodes])
    for node in capacity.nodes:
        for resource, quantity in node.allocatable.items():
            if quantity < 0:
                raise PlacementError(f"node {node.name}: allocatable {resource} is {quantity}; expected 0 or more")
        _unique(f"node {node.name}: GPU", [gpu.id for gpu in node.gpus])
        for mode in [*([node.gpu_mode] if node.gpu_mode else []), *node.gpu_modes_possible]:
            if mode not in KINDS:
                raise PlacementError(f"node {node.name}: unknown GPU mode {mode!r}; expected one of {', '.join(KINDS)}")
        if node.gpus and not node.gpu_mode:
            raise PlacementError(f"node {node.name} has GPUs but no gpu_mode; expected one of {', '.join(KINDS)}")
    for running in capacity.running:
        where = f"running {running.namespace}/{running.name}"
        if running.node not in names:
            raise PlacementError(f"{where}: node {running.node!r} is not in the capacity")
        if running.move not in ("live", "restart", "fixed"):
            raise PlacementError(f"{where}: move is {running.move!r}; expected live, restart or fixed")
        for resource, quantity in running.requests.items():
            if quantity < 0:
                raise PlacementError(f"{where}: request of {resource} is {quantity}; expected 0 or more")


def _workload(workload: Workload, resources: set[str]) -> None:
    where = f"workload {workload.name}"
    if workload.kind not in ("vm", "model", "pod"):
        raise PlacementError(f"{where}: kind is {workload.kind!r}; expected vm, model or pod")
    if workload.replicas < 1:
        raise PlacementError(f"{where}: {workload.replicas} replicas; expected 1 or more")
    if workload.dedicated_cpus < 0:
        raise PlacementError(f"{where}: {workload.dedicated_cpus} dedicated CPUs; expected 0 or more")
    if not workload.shapes:
        raise PlacementError(f"{where} has no shape; expected at least one")
    _unique(f"{where}: shape", [shape.name for shape in workload.shapes])
    for expression in [*workload.required, *(item for wish in workload.preferred for item in wish.expressions)]:
        if expression.operator not in OPERATORS:
            raise PlacementError(f"{where}: operator {expression.operator!r}; expected one of {', '.join(OPERATORS)}")
        if expression.operator in ("Gt", "Lt") and not _is_integer(expression.values):
            raise PlacementError(f"{where}: {expression.operator} of {expression.key} needs one integer, got {expression.values}")
    for shape in workload.shapes:
        for resource, quantity in shape.requests.items():
            if quantity < 0:
                raise PlacementError(f"{where}, shape {shape.name}: {resource} is {quantity}; expected 0 or more")
            if resource not in resources and quantity:
                raise PlacementError(f"{where}, shape {shape.name}: unknown resource {resource!r}; no node offers it")
        if shape.requests.get("cpu_milli", 0) < 1000 * workload.dedicated_cpus:
            raise PlacementError(f"{where}, shape {shape.name}: {workload.dedicated_cpus} dedicated CPUs contradict a request of "
                                 f"{shape.requests.get('cpu_milli', 0)} cpu_milli")
        if shape.gpu is not None:
            _gpu(f"{where}, shape {shape.name}", shape.gpu)


def _gpu(where, gpu):
    if gpu.kind not in GPU_KINDS:
        raise PlacementError(f"{where}: GPU kind {gpu.kind!r}; expected one of {', '.join(GPU_KINDS)}")
    if gpu.count < 1 or gpu.memory_bytes < 0:
        raise PlacementError(f"{where}: {gpu.count} GPUs of {gpu.memory_bytes} bytes; expected 1 or more, of 0 bytes or more")
    if gpu.kind in ("mig", "vgpu") and not gpu.profile:
        raise PlacementError(f"{where}: GPU kind {gpu.kind} needs a profile")
    if gpu.kind == "shared" and not 0 < gpu.milli <= 1000:
        raise PlacementError(f"{where}: {gpu.milli} thousandths of a GPU; expected 1 to 1000")


def _rules(demand, names):
    _unique("rule", [rule.name for rule in [*demand.affinities, *demand.spreads, *demand.licenses]])
    together, apart = {}, {}
    for rule in [*demand.affinities, *demand.spreads]:
        for name in rule.workloads:
            if name not in names:
                raise PlacementError(f"rule {rule.name}: unknown workload {name!r}")
    for rule in demand.affinities:
        if rule.required:
            pairs = apart if rule.apart else together
            for pair in _pairs(rule.workloads):
                pairs.setdefault((pair, rule.topology_key), rule.name)
    for key, name in apart.items():
        if key in together:
            raise PlacementError(f"rules {together[key]} and {name} contradict each other: {' and '.join(key[0])} can't be together and "
                                 f"apart by {key[1]}")
    for rule in demand.spreads:
        if rule.max_skew < 1:
            raise PlacementError(f"rule {rule.name}: max_skew is {rule.max_skew}; expected 1 or more")
    for rule in demand.licenses:
        if rule.max_hosts < 0:
            raise PlacementError(f"license {rule.name}: max_hosts is {rule.max_hosts}; expected 0 or more")
    licensed = {rule.product for rule in demand.licenses}
    for workload in demand.workloads:
        for product in workload.products:
            if product not in licensed:
                raise PlacementError(f"workload {workload.name}: no license names product {product!r}")


def _policy(demand):
    policy = demand.policy
    if unknown := [name for name in policy.objectives if name not in OBJECTIVES]:
        raise PlacementError(f"policy: unknown objective {unknown[0]!r}; expected some of {', '.join(OBJECTIVES)}")
    _unique("policy: objective", policy.objectives)
    if policy.vm_cpu_overcommit_percent < 100:
        raise PlacementError(f"policy: vm_cpu_overcommit_percent is {policy.vm_cpu_overcommit_percent}; expected 100 or more")
    for resource, percent in policy.reserve_percent.items():
        if not 0 <= percent <= 100:
            raise PlacementError(f"policy: reserve_percent of {resource} is {percent}; expected 0 to 100")
    if policy.max_moves is not None and policy.max_moves < 0:
        raise PlacementError(f"policy: max_moves is {policy.max_moves}; expected 0 or more")
    if policy.wave_size < 1 or policy.wave_moves_per_node < 1 or policy.iterations < 0:
        raise PlacementError("policy: wave_size and wave_moves_per_node must be 1 or more, iterations 0 or more")


def _pairs(names):
    ordered = sorted(set(names))
    return [(a, b) for index, a in enumerate(ordered) for b in ordered[index + 1:]]


def _unique(what, names):
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise PlacementError(f"{what} {min(twice)!r} appears twice; expected unique names")
    if "" in names:
        raise PlacementError(f"{what} has an empty name")
    return set(names)


def _is_integer(values):
    return len(values) == 1 and values[0].lstrip("-").isdigit()
