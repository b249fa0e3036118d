# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences about a placement: why a workload is where it is, why one has no place and what would give it one."""
from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import GpuRequest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Unplaced
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import conflicts, demand_conflicts, exact, masks
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.conflicts import (
    GANG,
    MODES,
    OTHERS,
    RESERVE,
    RUNNING,
    Analysis,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.relax import OWN, WORKLOAD, Question
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import State


def reason(state: State, number: int, eligible: list[int]) -> str:
    """Return one sentence on why an item is on its node."""
    problem = state.problem
    item, place = problem.items[number], state.places[number]
    node, total = problem.nodes[place.node].name, len(problem.nodes)
    if item.current == place.node:
        return f"runs on {node} already and can stay; {len(eligible)} of {total} nodes could host it"
    if len(eligible) == 1:
        return f"{node} is the only one of {total} nodes that can host it"
    words = []
    grant = place.grant
    if grant is not None:
        gpus = state.gpus[place.node]
        words.append(f"GPU mode changes to {gpus.mode}" if gpus.mode != gpus.base_mode else f"has the GPU in mode {gpus.mode}")
        if grant.uses[0].slot is not None and gpus.mode == gpus.base_mode:
            new = any((use.profile, use.slot) not in gpus.devices[use.device].existing for use in grant.uses)
            words.append("MIG layout changes for it" if new else "MIG instance exists")
    if problem.types[item.type].wishes:
        missed = problem.types[item.type].wishes.get(place.node, 0)
        best = min((problem.types[item.type].wishes.get(other, 0) for other in eligible), default=0)
        words.append("preferred node" if missed == best else f"misses preferences of weight {missed - best}")
    if item.current >= 0:
        words.append(f"moves from {problem.nodes[item.current].name}")
    elif problem.nodes[place.node].occupied or len(state.on[place.node]) > 1:
        words.append("node is in use anyway")
    return f"one of {len(eligible)} of {total} nodes that can host it: " + ", ".join(words or ["first node by name with room"])


def unplaced(state: State) -> list[Unplaced]:
    """Return conflict and relaxation of every replica without a place."""
    problem = state.problem
    workloads = {workload.name: workload for workload in problem.demand.workloads}
    placed = Counter(problem.items[item].workload for item in state.places if problem.items[item].running is None)
    known: dict[tuple, tuple[list[str], str]] = {}
    budget = [demand_conflicts.CALLS]
    found = []
    for number, item in enumerate(problem.items):
        if number in state.places:
            continue
        workload = workloads.get(item.workload) or conflicts.workload_of(state, item.type, problem.capacity)
        key = item.type, placed[item.workload], workload.replicas
        if key not in known:
            known[key] = explain(state, item.type, workload, placed, budget)
        conflict, relaxation = known[key]
        sentence = f"{item.workload}/{item.replica} has no place: " + (
            " + ".join(conflict) + (" can't be met together" if len(conflict) > 1 else " can't be met on any node"))
        found.append(Unplaced(item.workload, item.replica, conflict, relaxation, sentence))
    return sorted(found, key=lambda item: (item.workload, item.replica))


def explain(state: State, kind: int, workload, placed: Counter, budget: list[int]) -> tuple[list[str], str]:
    """Return the smallest conflict of a type and the sentence of its cheapest relaxation: over the whole demand where that can be proven
    within the budget, else in the light of where the others are. Siblings of a gang are placed for the while."""
    problem = state.problem
    siblings = []
    if problem.types[kind].gang >= 0:
        for item in problem.types[kind].items:
            place = next((place for node in problem.types[kind].eligible if (place := state.fit(kind, node))), None)
            if place is None:
                break
            state.put(item, place)
            siblings.append(item)
    analysis = Analysis(state, kind, workload, siblings)
    conflict = analysis.conflict()
    if conflict:
        given_up, nodes = analysis.relaxation()
        text = _relaxation(analysis, given_up, nodes)
        if workload.shapes:
            conflict, text = _of_the_demand(analysis, placed, budget, given_up, text) or (conflict, text)
    else:
        conflict, text = ["search limit"], "more iterations: the search ended before it found a place that exists"
    for item in reversed(siblings):
        state.drop(item)
    return conflict, text


def why(state: State, kind: int, workload) -> list[str]:
    """Return one line per node: what forbids a type there, or that it has room."""
    analysis = Analysis(state, kind, workload)
    lines = []
    for node, info in enumerate(state.problem.nodes):
        options = [clauses for (other, _unused), clauses in analysis.clauses.items() if other == node]
        if any(not clauses for clauses in options):
            lines.append(f"{info.name}: has room")
        else:
            lines.append(f"{info.name}: " + "; ".join(sorted(" + ".join(sorted(clause)) for clause in min(options, key=len))))
    return lines


def stranded(state: State) -> tuple[int, int]:
    """Return the GPU share in thousandths of all GPUs that is free but that the node's CPU, memory or GPU mode lets no shape of the
    demand use, before and after; 0 where the demand wants no GPU."""
    problem = state.problem
    options = {option for kind in problem.types for option in kind.options if option.gpu is not None}
    total = sum(len(info.node.gpus) for info in problem.nodes)
    if not options or not total:
        return 0, 0
    after = sum(_stranded(gpus, free, options) for gpus, free in zip(state.gpus, state.free, strict=True))
    before = sum(_stranded(gpus, info.free, options) for gpus, info in zip(problem.gpus(), problem.nodes, strict=True))
    return before * 1000 // total, after * 1000 // total


def _stranded(gpus, free, options):
    idle = sum(device.untouched for device in gpus.devices)
    usable = any(all(free[resource] >= quantity for resource, quantity in option.requests) and gpus.find(option.gpu)
                 for option in sorted(options, key=repr))
    return 0 if usable else idle


def _of_the_demand(analysis, placed, budget, given_up_here, text_here):
    """Return conflict and relaxation over the whole demand, or None where they could not be proven."""
    problem, workload = analysis.problem, analysis.workload
    if exact.variables(problem) > demand_conflicts.MAX_VARIABLES:
        return None
    count = workload.replicas if workload.gang else placed[workload.name] + 1
    question = Question(problem.capacity, problem.demand, replace(workload, replicas=count),
                        {name: number for name, number in placed.items() if name != workload.name})
    try:
        conflict, given_up = demand_conflicts.smallest(demand_conflicts.Oracle(question, demand_conflicts.places, budget), conflicts.cost)
        if not conflict:
            return None
        if given_up == given_up_here:
            return conflict, text_here
        return conflict, _way_out(analysis, given_up, demand_conflicts.places(question, given_up))
    except demand_conflicts.Undecided:
        return None


def _way_out(analysis, given_up, state):
    """Return the sentence of what is given up, with what is then missing on the node where the workload finds its place."""
    item, place = max((item, place) for item, place in state.places.items() if state.problem.items[item].workload == analysis.workload.name)
    name = state.problem.types[state.problem.items[item].type].options[place.option].name
    option = next(number for number, option in enumerate(analysis.kind.options) if option.name == name)
    free = dict(zip(state.problem.resources, state.free[place.node], strict=True))
    missing = {}
    for resource, quantity in analysis.kind.options[option].requests:
        short = analysis.problem.resources[resource]
        if short in given_up:
            missing[short] = quantity - free[short] if quantity > free[short] else quantity
    where = f"node {state.problem.nodes[place.node].name}"
    return ", and ".join(_step(analysis, one, where, missing, option) for one in sorted(given_up))


def _relaxation(analysis, given_up, nodes):
    names = [analysis.problem.nodes[node].name for node in nodes]
    where = f"node {names[0]}" if len(names) == 1 else "any of " + ", ".join(names[:3]) + (
        f" and {len(names) - 3} more nodes" if len(names) > 3 else "")
    option = next(number for number in range(len(analysis.kind.options))
                  if all(clause & given_up for clause in analysis.clauses[nodes[0], number]))
    missing = {name: short for name, short, _unused in analysis.missing(nodes[0], option)}
    return ", and ".join(_step(analysis, name, where, missing, option) for name in sorted(given_up))


def _step(analysis, name, where, missing, option):
    gpu: GpuRequest | None = analysis.kind.options[option].gpu
    rules = {rule.name: rule for rule in analysis.problem.rules}
    if name == "GPU":
        what = " ".join(filter(None, (gpu.product, gpu.profile, f"of {_size('memory_bytes', gpu.memory_bytes)}" if gpu.memory_bytes else "")))
        return f"{gpu.count} more {gpu.kind} GPU{'s' if gpu.count > 1 else ''}{' ' + what if what else ''} on {where}"
    if name in rules:
        rule = rules[name]
        if rule.kind == "license":
            return f"license {name}: {rule.limit + 1} hosts instead of {rule.limit}" if rule.domains.count(-1) == 0 or rule.limit < len(
                rule.domains) - rule.domains.count(-1) else f"license {name}: one more host, {where}"
        return f"rule {name} as a wish"
    if name.startswith(WORKLOAD):
        return f"no {name}"
    if name in missing:
        return f"{_size(name, missing[name])} more {name} on {where}"
    return {
        OTHERS: f"room that other workloads of this plan take on {where}", RUNNING: f"room that running workloads take on {where}",
        RESERVE: f"a smaller reserve on {where}", MODES: f"GPU mode and layout changes allowed (allow_mode_changes), {where}",
        GANG: "fewer replicas, or no gang", OWN: "fewer replicas", "taints": f"a toleration for the taints of {where}",
        "node schedulable": f"uncordon {where}", "node ready": f"{where} ready again", "zones": f"zone of {where} allowed",
        "node runs VMs": f"KubeVirt on {where}", "NUMA cell": f"a larger NUMA cell on {where}, or no single_numa",
    }.get(name, f"{name} to admit {where}")


def _size(name, quantity):
    if name.endswith("_bytes") or name.startswith(("hugepages", "ephemeral")):
        return f"{quantity / (1 << 30):.2f} GiB"
    return str(quantity)


def excluded(state: State, workload) -> Counter:
    """Return how many nodes each named mask excludes for a workload."""
    volumes = {f"{volume.namespace}/{volume.claim}": volume for volume in state.problem.capacity.volumes}
    return Counter(name for info in state.problem.nodes for name in masks.blockers(workload, info.node, volumes))
