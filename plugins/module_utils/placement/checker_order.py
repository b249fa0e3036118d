# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker's view of time: waves keep room on both ends, and after every failure everything listed really fits."""
from __future__ import annotations

from collections import Counter, defaultdict

from ansible_collections.tandem.hybrid.plugins.module_utils.placement import checker_gpu


def check_waves(facts):
    """Yield one sentence per violation of order, caps or room in the waves."""
    where, requests = {}, {}
    for running in facts.staying:
        name = f"{running.namespace}/{running.name}"
        where[name] = running.node
        requests[name] = _with_pod(running.requests)
    final = {f"{one.workload}/{one.replica}": one for one in facts.plan.assignments}
    for workload, runs in facts.adopted.items():
        for replica, running in enumerate(runs):
            one = final.get(f"{workload}/{replica}")
            if one is not None:
                where[f"{workload}/{replica}"] = running.node
                requests[f"{workload}/{replica}"] = _with_pod(one.requests if one.node == running.node else running.requests)
    started, held = {}, _held(where, requests)
    for number, wave in enumerate(facts.plan.waves, 1):
        if wave.number != number:
            yield f"wave {wave.number} stands at place {number}"
        if len(wave.moves) + len(wave.starts) > facts.policy.wave_size and not _swap(wave):
            yield f"wave {number}: {len(wave.moves) + len(wave.starts)} at once, {facts.policy.wave_size} allowed"
        busy, left = Counter(), []
        for move in wave.moves:
            if where.get(move.workload) != move.source:
                yield f"wave {number}: {move.workload} moves from {move.source}, but is on {where.get(move.workload)}"
                return
            if move.how == "restart":
                held[move.source].subtract(requests[move.workload])
            else:
                left.append((move.source, requests[move.workload]))
        for move in wave.moves:
            if move.workload in final:
                requests[move.workload] = _with_pod(final[move.workload].requests)
            held[move.target].update(requests[move.workload])
            busy.update((move.source, move.target))
            where[move.workload] = move.target
        for name in wave.starts:
            one = final.get(name)
            if one is None or name in where:
                yield f"wave {number}: {name} starts, but is not planned or runs already"
                return
            held[one.node].update(_with_pod(one.requests))
            busy[one.node] += 1
            where[name], requests[name], started[name] = one.node, _with_pod(one.requests), number
            if one.wave != number:
                yield f"{name} starts in wave {number}, but its assignment says {one.wave}"
        for node, count in busy.items():
            if count > facts.policy.wave_moves_per_node and not _swap(wave):
                yield f"wave {number}: {count} moves and starts on {node}, {facts.policy.wave_moves_per_node} allowed"
        yield from _fits(facts, held, busy, f"wave {number}")
        for node, gone in left:
            held[node].subtract(gone)
    for name, one in final.items():
        if where.get(name) != one.node:
            yield f"{name} ends on {where.get(name)} instead of {one.node}"
    yield from _order(facts, started)
    yield from _manners(facts)
    yield from _handed_over(facts, {name for name, one in final.items() if one.devices})


def _manners(facts):
    """A move is live where it can be, and a restart only where that is allowed."""
    running = {f"{run.namespace}/{run.name}": run.move for run in facts.staying}
    for wave in facts.plan.waves:
        for move in wave.moves:
            workload = facts.workloads.get(move.workload.rpartition("/")[0]) if move.workload not in running else None
            can = running.get(move.workload) if workload is None else "live" if workload.live_migratable else "restart"
            if move.how != can:
                yield f"wave {wave.number}: {move.workload} moves {move.how}, but can only {can}"


def _handed_over(facts, gpu):
    """A GPU is taken in a later wave than the one in which something that held one leaves the node, or all stop before any starts."""
    left = defaultdict(int)
    for wave in facts.plan.waves:
        for move in wave.moves:
            if move.workload in gpu:
                left[move.source] = wave.number
    starts = {f"{one.workload}/{one.replica}": one.node for one in facts.plan.assignments}
    for wave in facts.plan.waves:
        arrivals = {move.workload: move.target for move in wave.moves} | {name: starts.get(name) for name in wave.starts}
        for name, node in arrivals.items():
            if name in gpu and wave.number <= left[node] and not (_swap(wave) and wave.number == left[node]):
                yield f"wave {wave.number}: {name} takes a GPU of {node} before its holder has left"


def check_failures(facts):
    """Yield one sentence per failure whose restarts are incomplete or do not fit."""
    claimed = {failure.domain: failure for failure in facts.plan.failures}
    domains = list(_domains(facts))
    if len(facts.plan.failures) != len(domains) or len(claimed) < len({domain for domain, _nodes, _lowest in domains}):
        yield f"{len(facts.plan.failures)} failures in the plan, {len(domains)} expected"
    names = {f"{one.workload}/{one.replica}": one for one in facts.plan.assignments}
    running = {f"{run.namespace}/{run.name}": run for run in facts.staying if run.move != "fixed" and not run.devices}
    for domain, nodes, lowest in domains:
        failure = claimed.get(domain)
        if failure is None or sorted(failure.nodes) != sorted(nodes):
            yield f"failure of {domain} is not in the plan"
            continue
        needed = {f"{one.workload}/{one.replica}" for node in nodes for one in facts.placed_on[node]
                  if facts.workloads[one.workload].restart and facts.workloads[one.workload].priority >= lowest}
        needed |= {name for node in nodes for run in facts.staying_on[node]
                   if (name := f"{run.namespace}/{run.name}") in running and run.priority >= lowest}
        if needed != set(failure.restarts) | set(failure.lost):
            yield f"failure of {domain}: {sorted(needed ^ (set(failure.restarts) | set(failure.lost)))[0]} is missing or too much"
            continue
        yield from _restarts(facts, failure, names, running, set(nodes))


def _restarts(facts, failure, names, running, dead):
    arrivals, gpus, back = defaultdict(list), defaultdict(list), defaultdict(list)
    for name, target in failure.restarts.items():
        one = names.get(name)
        allowed = one.eligible if one else running[name].eligible
        if target in dead or target not in facts.nodes or (allowed and target not in allowed):
            yield f"failure of {failure.domain}: {name} can't restart on {target}"
            continue
        arrivals[target].append(one.requests if one else running[name].requests)
        if one:
            back[one.workload].append(target)
            if one.devices:
                gpus[target].append(one)
    held = {}
    for target, requests in arrivals.items():
        held[target] = Counter()
        for one in [*facts.staying_on[target], *facts.placed_on[target]]:
            held[target].update(_with_pod(one.requests))
        for one in requests:
            held[target].update(_with_pod(one))
    yield from _fits(facts, held, held, f"failure of {failure.domain}")
    for node, ones in gpus.items():
        yield from _devices(facts, facts.nodes[node], ones, failure.domain)
    # Only what starts again can break a rule that the placement keeps.
    for rule in {rule.name: rule for name in back for rule in facts.rules_of[name] if rule.required}.values():
        nodes = [node for name in set(rule.workloads) for node in [*(one.node for one in facts.placed[name] if one.node not in dead), *back[name]]]
        counts = Counter(facts.label(facts.nodes[node], rule.topology_key) for node in nodes)
        if any(count > 1 for value, count in counts.items() if value is not None) if rule.apart else len(counts) > 1:
            yield f"failure of {failure.domain}: rule {rule.name} breaks"


def _devices(facts, node, ones, domain):
    """Count idle devices per restarted request kind; a device serves one of them."""
    taken = {(device.gpu, device.slot) for one in facts.placed_on[node.name] for device in one.devices}
    whole_taken = {gpu for gpu, _unused in taken}
    units = []
    for gpu in node.gpus:
        instances = checker_gpu.layout(facts, node, gpu)
        busy = bool(checker_gpu.stays(facts, gpu))
        for instance in instances:
            if (gpu.id, instance[1]) not in taken and not (busy and instance[1] in gpu.used_slots):
                units.append((gpu, instance[0], 1))
        if not instances and gpu.id not in whole_taken and not busy and not gpu.used_milli:
            units.append((gpu, "", 1000))
    wants = [facts.shapes[one.workload, one.shape].gpu for one in ones]
    for request in sorted(wants, key=lambda request: (-request.memory_bytes, request.product == "", request.kind)):
        if request.kind in ("shared", "vgpu"):
            continue
        for _unused in range(request.count):
            unit = next((unit for unit in units if checker_gpu.matches(request, unit[0])
                         and unit[1] == (request.profile if request.kind == "mig" else "")), None)
            if unit is None:
                yield f"failure of {domain}: not enough {request.kind} GPUs on {node.name}"
                return
            units.remove(unit)


def _domains(facts):
    for policy in facts.policy.failover:
        groups = defaultdict(list)
        for node in facts.capacity.nodes:
            value = facts.label(node, policy.topology_key)
            if value is not None:
                groups[value].append(node.name)
        for value, nodes in groups.items():
            plain = policy.topology_key == "kubernetes.io/hostname"
            yield (value if plain else f"{policy.topology_key}={value}"), nodes, policy.min_priority


def _order(facts, started):
    groups = defaultdict(set)
    for workload in facts.demand.workloads:
        groups[workload.name].add(workload.name)
        if workload.group:
            groups[workload.group].add(workload.name)
    first, last = {}, {}
    for name, number in started.items():
        workload = name.rpartition("/")[0]
        first[workload] = min(number, first.get(workload, number))
        last[workload] = max(number, last.get(workload, number))
    for workload in facts.demand.workloads:
        for other in {member for name in workload.after for member in groups[name]}:
            if workload.name in first and other in last and first[workload.name] <= last[other]:
                yield f"{workload.name} starts in wave {first[workload.name]}, not after {other} (wave {last[other]})"


def _fits(facts, held, nodes, when):
    for name in nodes:
        node = facts.nodes[name]
        for resource, quantity in held[name].items():
            if resource in node.allocatable and quantity > facts.allocatable(node, resource):
                yield f"{when}: {quantity} {resource} on {name}, {facts.allocatable(node, resource)} allowed"


def _held(where, requests):
    held = defaultdict(Counter)
    for name, node in where.items():
        held[node].update(requests[name])
    return held


def _with_pod(requests):
    return {"pods": 1, **requests}


def _swap(wave):
    return bool(wave.moves) and all(move.how == "restart" for move in wave.moves) and not wave.starts
