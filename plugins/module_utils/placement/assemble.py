# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A finished State as a Plan document."""
from __future__ import annotations

import bisect
import itertools

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.codec import digest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.enforcement import MOST_NODES
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import (
    Assignment,
    DeviceUse,
    Failure,
    NodeSetting,
    Plan,
    Utilisation,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu.names import KINDS, resource_name
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import explain, failover, pod_rules, waves
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import State


def assemble(state: State, levels: list, notes: list[str], engine: str) -> Plan:
    """Return the plan; raises PlacementError when its moves can't be ordered."""
    problem = state.problem
    order, wave_of = waves.schedule(state)
    replays = failover.replay_all(state)
    targets: dict[int, set[int]] = {}
    for replay in replays:
        for item, place in replay.restarts.items():
            targets.setdefault(item, set()).add(place.node)
    state.close_licenses()
    known: dict[tuple, list[int]] = {}
    eligible = {kind: _eligible(state, kind, known) for kind in range(len(problem.types))}
    workloads = {workload.name: workload for workload in problem.demand.workloads}
    assignments = [_assignment(state, item, workloads, eligible, targets.get(item, set()), wave_of.get(item, 0))
                   for item in sorted(state.places) if problem.items[item].running is None]
    state.licensed = {}
    return Plan(digest(problem.capacity), digest(problem.demand),
                sorted(assignments, key=lambda assignment: (assignment.workload, assignment.replica)),
                explain.unplaced(state), _settings(state), order, levels, _failures(state, replays), _utilisation(state),
                pod_rules.rules(problem.demand), engine, notes)


def name(item) -> str:
    """Return the name by which waves and failures call an item."""
    return item.workload if item.running is not None else f"{item.workload}/{item.replica}"


def _eligible(state, number, known):
    """Return the nodes that could ever host the type: masks, licenses, empty node size, GPU mode after the plan; `known` keeps the answers."""
    kind = state.problem.types[number]
    licenses = tuple(rule for rule in kind.rules if rule in state.licensed)
    key = id(kind.eligible), kind.options, licenses
    if key not in known:
        known[key] = [node for node in kind.eligible if all(node in state.licensed[rule] for rule in licenses)
                      and any(_could(state, option, node) for option in kind.options)]
    return known[key]


def _named(eligible, planned, targets):
    """Return at most as many nodes as kube-scheduler is sure to compare: the planned one, those for restarts, then those after it by name."""
    start = bisect.bisect_left(eligible, planned)
    room = max(0, MOST_NODES - 1 - len(targets - {planned}))
    near = (eligible[(start + step) % len(eligible)] for step in range(len(eligible)))
    return sorted({planned, *targets, *itertools.islice((node for node in near if node != planned and node not in targets), room)})


def _could(state, option, node):
    info, gpus = state.problem.nodes[node], state.gpus[node]
    if any(info.free[resource] < quantity for resource, quantity in option.requests):
        return False
    if option.gpu is None:
        return True
    return option.gpu.kind in KINDS.get(gpus.mode, ()) and sum(
        device.serves(option.gpu) for device in gpus.devices) >= (1 if option.gpu.kind in ("mig", "vgpu") else option.gpu.count)


def _assignment(state, number, workloads, eligible, targets, wave):
    problem = state.problem
    item, place = problem.items[number], state.places[number]
    kind = problem.types[item.type]
    option = kind.options[place.option]
    info, gpus = problem.nodes[place.node], state.gpus[place.node]
    devices, resource, device_class, product = [], "", "", ""
    if place.grant is not None:
        for use in place.grant.uses:
            devices.append(DeviceUse(gpus.devices[use.device].gpu.id, use.profile, use.slot, use.milli))
        first = gpus.devices[place.grant.uses[0].device].gpu
        resource, device_class = resource_name(option.gpu, first, gpus.mode), first.device_class
        product = first.product if device_class else ""
    covered = any(kind.restart and kind.priority >= policy.min_priority for policy in problem.demand.policy.failover)
    pin = option.gpu is not None and option.gpu.kind == "passthrough" and not covered
    nodes = eligible[item.type]
    names = [problem.nodes[node].name for node in _named(nodes, place.node, targets)]
    return Assignment(item.workload, workloads[item.workload].kind, item.replica, info.name, option.name, devices,
                      {problem.resources[number]: quantity for number, quantity in option.requests
                       if problem.resources[number] != "pods"},
                      resource, device_class, product, wave, [info.name] if pin else names, pin,
                      info.node.numa[place.cell].id if place.cell >= 0 else None, pod_rules.carried(state, number),
                      workloads[item.workload].tolerations, explain.reason(state, number, nodes))


def _settings(state):
    found = []
    for info, gpus in zip(state.problem.nodes, state.gpus, strict=True):
        if not gpus.devices:
            continue
        changed_mode = bool(gpus.granted) and gpus.mode != gpus.base_mode
        layouts, changed = {}, changed_mode
        for device in gpus.devices:
            kept = device.existing | device.busy if not changed_mode else frozenset()
            relaid = not changed_mode and device.relaid
            instances = set(device.planned) | device.busy if relaid else kept | set(device.planned)
            changed |= relaid
            if instances:
                layouts[device.gpu.id] = [f"{profile}@{slot}" for profile, slot in sorted(instances, key=lambda one: (one[1], one[0]))]
        found.append(NodeSetting(info.name, gpus.mode, layouts, changed))
    return found


def _failures(state, replays):
    problem = state.problem
    return [Failure(replay.domain, [problem.nodes[node].name for node in replay.nodes],
                    {name(problem.items[item]): problem.nodes[place.node].name for item, place in sorted(replay.restarts.items())},
                    [name(problem.items[item]) for item in replay.lost])
            for replay in replays]


def _utilisation(state):
    problem = state.problem
    before, after = {}, {}
    for number, resource in enumerate(problem.resources):
        total = sum(info.node.allocatable.get(resource, 0) for info in problem.nodes)
        if not total or resource == "pods":
            continue
        reserve = problem.demand.policy.reserve_percent.get(resource, 0)
        staying = sum(info.node.allocatable.get(resource, 0) * (100 - reserve) // 100 - info.free[number] for info in problem.nodes)
        placed = sum(info.free[number] - free[number] for info, free in zip(problem.nodes, state.free, strict=True))
        before[resource] = sum(run.requests.get(resource, 0) for run in problem.capacity.running) * 1000 // total
        after[resource] = (staying + placed) * 1000 // total
    return Utilisation(before, after, *explain.stranded(state))
