# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bounds that need no solver: what no placement can beat, level by level."""
from __future__ import annotations

from collections.abc import Callable

from ansible_collections.tandem.hybrid.plugins.module_utils.gpu.names import KINDS, matches
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import bounds_gpu
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.objective import SENSES, gpu_share
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import ItemType, Option, Problem


class Bounds:
    """What holds for every placement of a problem; computed once, by families of types."""

    def __init__(self, problem: Problem):
        self.problem = problem
        counts: dict[int, list] = {}
        for kind in problem.types:
            counts.setdefault(kind.family, [kind, 0])[1] += len(kind.items)
        self.families: list[tuple[ItemType, int]] = [tuple(entry) for entry in counts.values()]
        self.everything = sum(kind.weight * count for kind, count in self.families)
        self.pools = bounds_gpu.pools(problem, self.families)
        gpus = problem.gpus()
        self.possible = {kind.family: [option for option in kind.options if any(_fits(problem, gpus, option, node) for node in kind.eligible)]
                         for kind, _unused in self.families}
        self.most = self._counts()
        self.placed = min(self.everything, self._placed())
        self.share = self._knapsacks(lambda kind, options: max(gpu_share(option) for option in options))

    def of(self, placed: int) -> dict[str, int]:
        """Return an upper bound for levels that are maximised and a lower bound for the others, where the levels below `placed` hold that
        much weight."""
        order = self.problem.demand.policy.objectives
        below = order[order.index("placed") + 1:] if "placed" in order else []
        slack = self.everything - placed
        found = dict.fromkeys(SENSES, 0)
        found["placed"], found["gpu_share"] = self.placed, self.share
        known = {"failover": lambda: bounds_gpu.lost(self.problem, self.pools, slack), "nodes": lambda: self._nodes(placed),
                 "fragmentation": lambda: bounds_gpu.broken(self.pools, slack), "preferences": lambda: 0 if slack else self._preferences()}
        found.update({name: bound() for name, bound in known.items() if name in below})
        if all(self.possible[kind.family] for kind, _unused in self.families if kind.must):
            items = self.problem.items
            found["moves"] = sum(items[item].move_cost for kind in self.problem.types for item in kind.items
                                 if items[item].current >= 0 and items[item].current not in kind.nodes)
        return found

    def _counts(self) -> dict[int, int]:
        """Return how many items of each family its nodes hold at most, each node for itself."""
        sizes = [(*info.free, info.node.gpu_mode, *info.node.gpu_modes_possible, *sorted(
            (gpu.product, gpu.memory_bytes, gpu.resource, tuple(sorted(gpu.vgpu.items())), tuple(sorted(gpu.mig))) for gpu in info.node.gpus))
            for info in self.problem.nodes]
        names: dict[tuple, int] = {}
        classes = [names.setdefault(size, len(names)) for size in sizes]
        return {kind.family: _most(self.problem, kind, count, classes) for kind, count in self.families}

    def _placed(self) -> int:
        """Return the smaller of: fractional knapsacks over the units of each GPU pool, with everything else placed; and `_knapsacks`."""
        most = self.most
        pooled = {kind.family for pool in self.pools for kind, _unused in pool.members}
        best = sum(most[kind.family] * kind.weight for kind, _unused in self.families if kind.family not in pooled)
        for pool in self.pools:
            held = _knapsack([(kind.weight, most[kind.family], bounds_gpu.need(kind)) for kind, _unused in pool.members], pool.units)
            pool.forced = sum(kind.weight * count for kind, count in pool.members) - held
            best += held
        return min(best, self._knapsacks(lambda kind, _options: kind.weight))

    def _knapsacks(self, worth: Callable[[ItemType, list[Option]], int]) -> int:
        """Return the most that items can be worth: the smallest fractional knapsack over a resource or GPU share, no family counted oftener
        than its nodes hold it."""
        usable = [(worth(kind, options), self.most[kind.family], options)
                  for kind, _unused in self.families if (options := self.possible[kind.family])]
        infos = self.problem.nodes
        room = [sum(max(0, info.free[resource]) for info in infos) for resource in range(len(self.problem.resources))]
        return min(*(_knapsack([(one, most, min(_need(option, resource) for option in options)) for one, most, options in usable], total)
                     for resource, total in enumerate(room)),
                   _knapsack([(one, most, min(gpu_share(option) for option in options)) for one, most, options in usable],
                             1000 * sum(len(info.node.gpus) for info in infos)))

    def _nodes(self, weight: int) -> int:
        """Return the fewest nodes that have to be opened to place a weight, by any one resource."""
        best, infos = 0, self.problem.nodes
        for resource in range(len(self.problem.resources)):
            wanted = self._least(resource, weight) - sum(max(0, info.free[resource]) for info in infos if info.occupied)
            closed = sorted((max(0, info.free[resource]) for info in infos if not info.occupied), reverse=True)
            count = 0
            while wanted > 0 and count < len(closed) and closed[count] > 0:
                wanted -= closed[count]
                count += 1
            best = max(best, count)
        return best

    def _least(self, resource: int, weight: int) -> int:
        """Return the least of a resource with which a weight can be placed: the fractional knapsack from below; what must run comes on top."""
        needs = [(min(_need(option, resource) for option in kind.options), kind, count) for kind, count in self.families]
        total = sum(need * count for need, kind, count in needs if kind.must)
        for need, kind, size in sorted(((need, kind, count) for need, kind, count in needs if kind.weight and not kind.must),
                                       key=lambda entry: entry[0] / entry[1].weight):
            count = min(size, weight // kind.weight)
            total += count * need
            weight -= count * kind.weight
            if count < size:
                return total + need * weight // kind.weight
        return total

    def _preferences(self) -> int:
        """Return the missed wishes that the items can't avoid, each on its best node and with its cheapest shape."""
        return sum(count * ((min((kind.wishes.get(node, 0) for node in kind.eligible), default=0) if kind.wishes else 0)
                            + min(option.cost for option in kind.options)) for kind, count in self.families)


def _knapsack(entries: list[tuple[int, int, int]], room: int) -> int:
    """Return the most worth of (worth of one, most, need of one) that fits a room, the last kind in part."""
    total = 0
    for worth, most, need in sorted(entries, key=lambda entry: entry[2] / entry[0] if entry[0] else 1e18):
        count = most if not need else min(most, room // need)
        total += count * worth
        room -= count * need
        if count < most and need:
            return total + -(-worth * room // need)
    return total


def _most(problem: Problem, kind: ItemType, count: int, classes: list[int]) -> int:
    """Return how many items of a type fit at most, each node for itself alone and by its best option."""
    total, known = 0, {}
    for node in kind.eligible:
        if classes[node] not in known:
            known[classes[node]] = sum(_alone(problem.nodes[node], option, count, problem.demand.policy.allow_mode_changes)
                                       for option in kind.options)
        total += known[classes[node]]
        if total >= count:
            return count
    return total


def _alone(info, option, count, changes):
    for resource, quantity in option.requests:
        count = min(count, max(0, info.free[resource]) // quantity)
    gpu = option.gpu
    if gpu is not None:
        modes = {info.node.gpu_mode, *(info.node.gpu_modes_possible if changes else ())}
        served = any(gpu.kind in KINDS.get(mode, ()) for mode in modes)
        devices = sum(served and matches(gpu, device) for device in info.node.gpus)
        slots = {"mig": 7, "shared": 1000 // gpu.milli, "vgpu": 64}.get(gpu.kind, 1)
        count = min(count, devices * slots // gpu.count)
    return count


def _need(option, resource):
    return dict(option.requests).get(resource, 0)


def _fits(problem, gpus, option, node):
    free = problem.nodes[node].free
    return all(free[resource] >= quantity for resource, quantity in option.requests) and (
        option.gpu is None or gpus[node].find(option.gpu) is not None)
