# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker's view of how good a plan is: every level counted anew from the documents, and bounds, gaps and settings that say the truth."""
from __future__ import annotations

from collections import Counter, defaultdict

from ansible_collections.tandem.hybrid.plugins.module_utils.placement import checker_gpu
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker_nodes import holds
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker_rules import placed_in

SENSES = {"placed": "max", "gpu_share": "max"}
EIGHTHS = {"1g": 1, "2g": 2, "3g": 4, "4g": 4, "7g": 8}
SOFT_RULE, MODE_CHANGE, LAYOUT_CHANGE, RESTART = 100, 5, 1, 3


def check_levels(facts):
    """Yield one sentence per level whose value, bound, gap or end is not what the plan has."""
    movers = {move.workload for wave in facts.plan.waves for move in wave.moves}
    if facts.policy.max_moves is not None and len(movers) > facts.policy.max_moves:
        yield f"{len(movers)} workloads move, {facts.policy.max_moves} allowed"
    if [level.name for level in facts.plan.levels] != facts.policy.objectives:
        yield f"levels {[level.name for level in facts.plan.levels]} differ from the policy's {facts.policy.objectives}"
    true = values(facts)
    for level in facts.plan.levels:
        if level.name in true and level.value not in true[level.name]:
            yield f"level {level.name} claims {level.value:g}, but is {true[level.name][0]}"
        if level.sense != SENSES.get(level.name, "min"):
            yield f"level {level.name}: sense {level.sense}"
        better = level.value > level.bound if level.sense == "max" else level.value < level.bound
        if better:
            yield f"level {level.name}: value {level.value:g} is better than its proven bound {level.bound:g}"
        gap = abs(level.bound - level.value) / max(1, abs(level.value), abs(level.bound))
        if abs(gap - level.gap) > 1e-5:
            yield f"level {level.name}: gap {level.gap:g} instead of {gap:g}"
        if level.ended_by not in ("proof", "iterations", "time") or (level.ended_by == "proof") != (level.value == level.bound):
            yield f"level {level.name} ended by {level.ended_by!r}, with value {level.value:g} and bound {level.bound:g}"


def check_settings(facts):
    """Yield one sentence per node setting that is missing, twice, of a node without GPUs, or untrue about a change."""
    count = Counter(setting.node for setting in facts.plan.settings)
    for node in facts.capacity.nodes:
        if count.pop(node.name, 0) != bool(node.gpus):
            yield f"{node.name}: not exactly one setting for a node with GPUs"
            continue
        setting = facts.settings.get(node.name)
        if setting is None:
            continue
        now = {gpu.id: sorted((profile, slot) for profile, slots in gpu.mig.items() for slot in slots) for gpu in node.gpus}
        same = setting.gpu_mode == node.gpu_mode and all(sorted(checker_gpu.layout(facts, node, gpu)) == now[gpu.id] for gpu in node.gpus)
        if setting.changed == same:
            yield f"{node.name}: the setting says {'changed' if setting.changed else 'unchanged'}"
        if set(setting.mig) - set(now) or (setting.changed and not any(one.devices for one in facts.placed_on[node.name])):
            yield f"{node.name}: a setting for nobody"
    if count:
        yield f"{min(count)}: a setting of a node that does not exist"


def values(facts):
    """Return level to its possible values. What runs outside the demand and may move counts as placed by a plan that looked at moving it."""
    weights = {workload.name: 1 + min(max(workload.priority, 0), 1_000_000) for workload in facts.demand.workloads}
    movable = [running for running in facts.staying if running.move != "fixed" and not running.devices]
    nodes, plan = facts.nodes, facts.plan
    used = {one.node for one in plan.assignments}
    plain = sum(not one.devices and bool(nodes[one.node].gpus) for one in plan.assignments) + sum(map(_partial, _devices(facts)))
    asked = [facts.shapes[one.workload, one.shape].gpu for one in plan.assignments]
    found = {"placed": [sum(weights[one.workload] for one in plan.assignments)], "gpu_share": [sum(map(_share, filter(None, asked)))],
             "failover": [sum(len(failure.lost) for failure in plan.failures)], "moves": [_moves(facts)], "preferences": [_wishes(facts)],
             "nodes": [], "fragmentation": []}
    looked = [movable] if any(facts.node_of(running) != running.node for running in movable) else [movable, []]
    for moving in looked:
        ids = {id(running) for running in moving}
        occupied = {running.node for running in facts.staying if id(running) not in ids}
        found["nodes"].append(len((used | {facts.node_of(running) for running in moving}) - occupied))
        found["fragmentation"].append(plain + sum(bool(nodes[facts.node_of(running)].gpus) for running in moving))
    return found


def _moves(facts):
    places = {(one.workload, one.replica): one.node for one in facts.plan.assignments}
    total = sum(running.move_cost for running in facts.staying if facts.node_of(running) != running.node)
    for workload in facts.demand.workloads:
        runs = facts.adopted.get(workload.name, [])
        factor = 1 if workload.live_migratable else RESTART
        for replica in range(workload.replicas):
            here = runs[replica].node if replica < len(runs) else workload.current_node
            if here in facts.nodes and places.get((workload.name, replica)) != here:
                total += factor * (runs[replica].move_cost if replica < len(runs) else 1)
    changed: dict[str, bool] = {}
    for node, _gpu, use in _devices(facts):
        changed[node.name] = checker_gpu.mode(facts, node) != node.gpu_mode
        total += LAYOUT_CHANGE * (bool(use["mig"]) if changed[node.name] else (bool(use["idle"]) and use["whole"]) or not use["mig"] <= use["idle"])
    return total + MODE_CHANGE * sum(changed.values())


def _wishes(facts):
    total = 0
    for one in facts.plan.assignments:
        workload, node = facts.workloads[one.workload], facts.nodes[one.node]
        total += facts.shapes[one.workload, one.shape].cost
        total += sum(wish.weight for wish in workload.preferred
                     if not all(holds(term, facts.label(node, term.key)) for term in wish.expressions))
    for rule in facts.demand.affinities:
        counts = Counter() if rule.required else placed_in(facts, rule)
        if counts:
            total += SOFT_RULE * (sum(count - 1 for value, count in counts.items() if value is not None) if rule.apart else len(counts) - 1)
    return total


def _share(gpu):
    if gpu.kind in ("mig", "vgpu"):
        return gpu.count * 125 * EIGHTHS.get(gpu.profile.partition(".")[0], 0) if gpu.kind == "mig" else 0
    return gpu.count * gpu.milli


def _partial(entry):
    _node, _gpu, use = entry
    return use["fresh"] and bool(use["mig"] or use["part"])


def _devices(facts):
    """Return (node, GPU, use) for every GPU of the nodes where the plan gives any: instances, whole, parts, and what idles on it now."""
    given = defaultdict(list)
    for one in facts.plan.assignments:
        for device in one.devices:
            given[one.node].append((device, facts.shapes[one.workload, one.shape].gpu))
    found = []
    for name, uses in given.items():
        node = facts.nodes[name]
        mates = {mate for device, request in uses if request.kind == "passthrough"
                 for gpu in node.gpus if gpu.id == device.gpu for mate in gpu.companions}
        for gpu in node.gpus:
            here = [(device, request) for device, request in uses if device.gpu == gpu.id]
            holders = checker_gpu.stays(facts, gpu)
            taken = checker_gpu.taken_slots(facts, gpu)
            now = {(profile, slot) for profile, slots in gpu.mig.items() for slot in slots}
            busy = {item for item in now if item[1] in taken}
            found.append((node, gpu, {
                "mig": {(device.profile, device.slot) for device, request in here if request.kind == "mig"}, "idle": now - busy,
                "whole": any(request.kind in ("full", "passthrough") for _device, request in here) or gpu.id in mates,
                "part": any(request.kind == "vgpu" or device.milli < 1000 for device, request in here),
                "fresh": not busy and not (gpu.used_milli and (holders or not gpu.used_by)) and not (holders and node.gpu_mode == "vm-vgpu")}))
    return found
