# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exhaustive search over tiny problems: every place and device of every replica; the independent checker says what is allowed."""
from __future__ import annotations

import itertools
from dataclasses import replace

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.codec import digest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Toleration
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, DeviceUse, Failure, NodeSetting, Plan, Unplaced
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu import mig
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu.names import KINDS, matches, resource_name
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import checker, checker_gpu, checker_order, checker_rules

SHARES = {"1g.6gb": 125, "2g.12gb": 250}


def best(capacity, demand):
    """Return the best values of the levels, in the policy's order, as a tuple of which the smallest is best."""
    items = [(workload, replica) for workload in demand.workloads for replica in range(workload.replicas)]
    found = None
    bare = checker.Facts(capacity, demand, Plan(digest(capacity), digest(demand), []))
    for places in itertools.product(*(choices(bare, capacity, workload, replica) for workload, replica in items)):
        taken = [device for place in places if place for device in place[2]]
        whole = [(place[0].name, use.gpu) for place in places if place for use in place[2] if use.slot is None]
        if len(set(whole)) < len(whole) or len({(id(place), use.gpu, use.slot) for place in places if place for use in place[2]}) < len(taken):
            continue
        plan = candidate(capacity, demand, items, places)
        if plan is None:
            continue
        facts = checker.Facts(capacity, demand, plan)
        if any(True for check in (checker._complete, checker._room, checker_rules.check_rules, checker_gpu.check_gpus) for _ in check(facts)):
            continue
        value = values(capacity, demand, plan, facts, found)
        if value is not None and (found is None or value < found):
            found = value
    return found


def choices(facts, capacity, workload, replica):
    """Return None (not placed) and every (node, shape, devices); what runs keeps its shape."""
    found = [None]
    runs = facts.adopted.get(workload.name, [])
    kept = [shape for shape in workload.shapes if replica < len(runs) and shape.requests == runs[replica].requests]
    for node in capacity.nodes:
        if checker.forbidden(facts, workload, node):
            continue
        for shape in kept or workload.shapes:
            if any(quantity > facts.allocatable(node, name) for name, quantity in shape.requests.items()):
                continue
            found += [(node, shape, devices) for devices in device_choices(node, shape.gpu)]
    return found


def device_choices(node, request):
    if request is None:
        return [()]
    single = []
    for gpu in node.gpus:
        if not matches(request, gpu):
            continue
        if request.kind == "mig":
            starts = mig.geometry(gpu.product).profiles[request.profile].starts
            single += [DeviceUse(gpu.id, request.profile, start) for start in starts]
        else:
            single.append(DeviceUse(gpu.id))
    return list(itertools.combinations(single, request.count))


def candidate(capacity, demand, items, places):
    settings = {}
    for node in capacity.nodes:
        if not node.gpus:
            continue
        here = [(place, use) for place in places if place and place[0] is node for use in place[2]]
        kinds = {place[1].gpu.kind for place, _ in here}
        modes = [node.gpu_mode, *sorted(mode for mode in node.gpu_modes_possible if mode not in (node.gpu_mode, "mig-single"))]
        mode = next((mode for mode in modes if kinds <= KINDS[mode]), None)
        if mode is None:
            return None
        layouts = {}
        for gpu in node.gpus:
            now = {(profile, slot) for profile, slots in gpu.mig.items() for slot in slots}
            planned = {(use.profile, use.slot) for _, use in here if use.gpu == gpu.id and use.slot is not None}
            whole = any(use.gpu == gpu.id and use.slot is None for _, use in here)
            kept = now if mode == node.gpu_mode and planned <= now and not whole else planned
            if kept:
                layouts[gpu.id] = [f"{profile}@{slot}" for profile, slot in sorted(kept, key=lambda one: (one[1], one[0]))]
        settings[node.name] = NodeSetting(node.name, mode, layouts, mode != node.gpu_mode)
    assignments, unplaced = [], []
    for (workload, replica), place in zip(items, places, strict=True):
        if place is None:
            unplaced.append(Unplaced(workload.name, replica, [], "", ""))
            continue
        node, shape, devices = place
        gpus = {gpu.id: gpu for gpu in node.gpus}
        resource = resource_name(shape.gpu, gpus[devices[0].gpu], settings[node.name].gpu_mode) if devices else ""
        assignments.append(Assignment(workload.name, workload.kind, replica, node.name, shape.name, list(devices), dict(shape.requests), resource))
    licensed = [replace(one, eligible=[one.node]) for one in assignments]
    return Plan("", "", licensed, unplaced, list(settings.values()))


def values(capacity, demand, plan, facts, best_so_far):
    weights = {workload.name: 1 + workload.priority for workload in demand.workloads}
    requests = [facts.shapes[one.workload, one.shape].gpu for one in plan.assignments]
    found = {"placed": -sum(weights[one.workload] for one in plan.assignments),
             "gpu_share": -sum(request.count * SHARES.get(request.profile, request.milli) for request in requests if request)}
    if best_so_far is not None and found[demand.policy.objectives[0]] > best_so_far[0]:
        return None
    nodes = {node.name: node for node in capacity.nodes}
    placed = {(one.workload, one.replica): one for one in plan.assignments}
    moves = sum(run.move_cost for name, runs in facts.adopted.items() for replica, run in enumerate(runs)
                if (name, replica) not in placed or placed[name, replica].node != run.node)
    fragments = 0
    for setting in plan.settings:
        node = nodes[setting.node]
        changed = setting.gpu_mode != node.gpu_mode
        moves += 5 * changed
        for gpu in node.gpus:
            now = sorted(f"{profile}@{slot}" for profile, slots in gpu.mig.items() for slot in slots)
            used = [use for one in plan.assignments if one.node == node.name for use in one.devices if use.gpu == gpu.id]
            planned = sorted(f"{use.profile}@{use.slot}" for use in used if use.slot is not None)
            if changed:
                moves += bool(planned)
            else:
                moves += not set(planned) <= set(now) or bool(now and used and not planned)
            fragments += bool(planned) and not gpu.used_slots
    fragments += sum(not one.devices and bool(nodes[one.node].gpus) for one in plan.assignments)
    busy = {run.node for run in facts.staying}
    found["moves"], found["fragmentation"] = moves, fragments
    found["nodes"] = len({one.node for one in plan.assignments} - busy)
    found["preferences"] = sum(next(shape.cost for shape in facts.workloads[one.workload].shapes if shape.name == one.shape) for one in plan.assignments)
    found["failover"] = sum(lost(demand, plan, facts, domain, dead, lowest) for domain, dead, lowest in checker_order._domains(facts))
    return tuple(found[name] for name in demand.policy.objectives)


def lost(demand, plan, facts, domain, dead, lowest):
    """Return the fewest restarts that a failure loses, over every choice of targets."""
    waiting = [one for one in plan.assignments if one.node in dead and facts.workloads[one.workload].priority >= lowest]
    names = {f"{one.workload}/{one.replica}": one for one in plan.assignments}
    best_count = len(waiting)
    nodes = [node.name for node in facts.capacity.nodes if node.name not in dead]
    for targets in itertools.product([None, *nodes], repeat=len(waiting)):
        count = targets.count(None)
        if count >= best_count:
            continue
        restarts = {f"{one.workload}/{one.replica}": target for one, target in zip(waiting, targets, strict=True) if target}
        if any(checker.forbidden(facts, facts.workloads[one.workload], facts.nodes[target])
               for one, target in zip(waiting, targets, strict=True) if target):
            continue
        if any(one.devices and facts.shapes[one.workload, one.shape].gpu.kind not in KINDS.get(checker_gpu.mode(facts, facts.nodes[target]), ())
               for one, target in zip(waiting, targets, strict=True) if target):
            continue
        free = {name: replace(one, eligible=[]) for name, one in names.items()}
        if not any(True for _ in checker_order._restarts(facts, Failure(domain, list(dead), restarts), free, {}, set(dead))):
            best_count = count
    return best_count


def mutations(plan):
    """Yield broken copies of a plan, each with a word that names what was done."""
    for number, one in enumerate(plan.assignments):
        rest = plan.assignments[:number] + plan.assignments[number + 1:]

        def swap(**fields):
            return replace(plan, assignments=sorted([*rest, replace(one, **fields)], key=lambda a: (a.workload, a.replica)))
        yield "node gone", swap(node="nowhere")
        yield "shape gone", swap(shape="none")
        yield "wave", swap(wave=one.wave + 1)
        yield "requests", swap(requests={**one.requests, "cpu_milli": one.requests.get("cpu_milli", 0) + 1})
        yield "not eligible", swap(eligible=[other for other in one.eligible if other != one.node])
        yield "dropped", replace(plan, assignments=rest)
        yield "twice", replace(plan, assignments=[*plan.assignments, one])
        yield "tolerations", swap(tolerations=[Toleration("other", "Exists")])
        yield "a rule of nobody", swap(rules=[*one.rules, "nobody's"])
        if any(rule.required and rule.name in one.rules for rule in plan.rules):
            yield "rules not carried", swap(rules=[])
        if one.devices:
            yield "device gone", swap(devices=[replace(one.devices[0], gpu="none"), *one.devices[1:]])
            yield "no devices", swap(devices=[])
            yield "resource", swap(resource="example.com/none")
    for number, rule in enumerate(plan.rules):
        others = [*plan.rules[:number], *plan.rules[number + 1:]]
        yield "rule gone", replace(plan, rules=others)
        yield "rule weaker", replace(plan, rules=[*plan.rules[:number], replace(rule, topology_key="other"), *plan.rules[number + 1:]])
        yield "rule without a member", replace(plan, rules=[*plan.rules[:number], replace(rule, workloads=rule.workloads[1:]), *plan.rules[number + 1:]])
    for number, level in enumerate(plan.levels):
        better = level.bound + 1 if level.sense == "max" else level.bound - 1
        yield "level", replace(plan, levels=[*plan.levels[:number], replace(level, value=better), *plan.levels[number + 1:]])
    for number, wave in enumerate(plan.waves):
        yield "wave number", replace(plan, waves=[*plan.waves[:number], replace(wave, number=99), *plan.waves[number + 1:]])
        if wave.starts:
            yield "start", replace(plan, waves=[*plan.waves[:number], replace(wave, starts=wave.starts[1:]), *plan.waves[number + 1:]])
    for number, failure in enumerate(plan.failures):
        yield "failure", replace(plan, failures=[*plan.failures[:number], *plan.failures[number + 1:]])
        if failure.restarts:
            home = {name: failure.nodes[0] for name in failure.restarts}
            yield "restart", replace(plan, failures=[*plan.failures[:number], replace(failure, restarts=home), *plan.failures[number + 1:]])


