# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a type fits nowhere: per node the minimal sets of named constraints that forbid it, the smallest conflict over all nodes, and the
cheapest relaxation. Every set is found from monotone checks, so that it is minimal by construction and verified again."""
from __future__ import annotations

import itertools
from collections.abc import Iterable

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Workload
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import masks
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.gpus import NodeGpus
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import State

OTHERS, RUNNING, RESERVE, MODES, GANG = ("workloads of this plan", "running workloads", "reserve", "GPU modes and MIG layouts stay",
                                         "gang")
COSTS = {"node schedulable": 2, "taints": 3, RESERVE: 3, MODES: 4, "node selector": 5, "node affinity": 5, GANG: 5, "zones": 6,
         "NUMA cell": 7, "node ready": 8, RUNNING: 60, OTHERS: 50}
SUBSETS = 200_000


class Analysis:
    """The minimal clauses of one type on every node, in the light of a finished placement."""

    def __init__(self, state: State, kind: int, workload: Workload, siblings: Iterable[int] = ()):
        self.state, self.problem, self.workload = state, state.problem, workload
        self.kind = self.problem.types[kind]
        self.siblings = set(siblings)
        self.volumes = {f"{volume.namespace}/{volume.claim}": volume for volume in self.problem.capacity.volumes}
        self.clauses = {(node, number): self._clauses(node, option) for node in range(len(self.problem.nodes))
                        for number, option in enumerate(self.kind.options)}

    def infeasible(self, names: frozenset[str]) -> bool:
        """Say whether the named constraints alone forbid the type on every node."""
        return all(any(clause <= names for clause in clauses) for clauses in self.distinct())

    def distinct(self) -> set[frozenset]:
        return set(self.clauses.values())

    def conflict(self) -> list[str]:
        """Return the smallest set of named constraints that forbids the type everywhere; empty when it fits somewhere."""
        classes = self.distinct()
        names = sorted({name for clauses in classes for clause in clauses for name in clause})
        if not self.infeasible(frozenset(names)):
            return []
        tried = 0
        for size in range(1, len(names) + 1):
            for chosen in itertools.combinations(names, size):
                tried += 1
                if self.infeasible(frozenset(chosen)):
                    return list(chosen)
                if tried > SUBSETS:
                    return self._deletion_filter(names)
        return names

    def relaxation(self) -> tuple[frozenset[str], list[int]]:
        """Return the cheapest set of constraints to give up and the nodes on which that suffices."""
        best, nodes = None, []
        for (node, number), clauses in self.clauses.items():
            given_up = _hitting_set(clauses)
            rank = sum(map(cost, given_up)), self.shortage(node, number, given_up), sorted(given_up)
            if best is None or rank < best[0]:
                best, nodes = (rank, given_up), [node]
            elif rank == best[0] and node not in nodes:
                nodes.append(node)
        return best[1], nodes

    def shortage(self, node: int, option: int, given_up: Iterable[str]) -> float:
        """Return the summed relative shortage of the given-up resources on a node."""
        return round(sum(missing / max(1, quantity) for name, missing, quantity in self.missing(node, option) if name in given_up), 6)

    def missing(self, node: int, option: int) -> list[tuple[str, int, int]]:
        """Return name, missing quantity and wanted quantity of every short resource on a node."""
        free = self._free(node, {RESERVE, RUNNING, OTHERS, GANG})
        return [(self.problem.resources[resource], quantity - free[resource], quantity)
                for resource, quantity in self.kind.options[option].requests if free[resource] < quantity]

    def _deletion_filter(self, names):
        kept = list(names)
        for name in sorted(names, key=cost, reverse=True):
            rest = [other for other in kept if other != name]
            if self.infeasible(frozenset(rest)):
                kept = rest
        return kept

    def _clauses(self, node, option):
        info = self.problem.nodes[node]
        found = {frozenset([name]) for name in masks.blockers(self.workload, info.node, self.volumes)}
        free = {subset: self._free(node, subset) for subset in _subsets((RESERVE, RUNNING, OTHERS, GANG))}
        for resource, quantity in option.requests:
            name = self.problem.resources[resource]
            found |= _minimal(name, (RESERVE, RUNNING, OTHERS, GANG), lambda subset, at=resource, need=quantity: free[subset][at] < need)
        if option.cell and info.cells:
            found |= _minimal("NUMA cell", (OTHERS, GANG), lambda subset: not self._cell_fits(node, option, subset))
        if option.gpu is not None:
            found |= _minimal("GPU", (RUNNING, OTHERS, MODES, GANG), lambda subset: self._gpus(node, subset).find(option.gpu) is None)
        for number in self.kind.rules:
            rule = self.problem.rules[number]
            if rule.required:
                found |= _minimal(rule.name, (OTHERS, GANG), lambda subset, at=number: not self._admits(at, node, subset))
        return frozenset(clause for clause in found if not any(other < clause for other in found))

    def _items(self, subset):
        return [item for item in self.state.places if (GANG if item in self.siblings else OTHERS) in subset]

    def _free(self, node, subset):
        info, names = self.problem.nodes[node], self.problem.resources
        free = list(self.state.free[node])
        for item in self.state.on[node]:
            if (GANG if item in self.siblings else OTHERS) not in subset:
                kind = self.problem.types[self.problem.items[item].type]
                for resource, quantity in kind.options[self.state.places[item].option].requests:
                    free[resource] += quantity
        percent = self.problem.demand.policy.reserve_percent
        for number, name in enumerate(names):
            total = info.node.allocatable.get(name, 0)
            reserved = total - total * (100 - percent.get(name, 0)) // 100
            if RESERVE not in subset:
                free[number] += reserved
            if RUNNING not in subset and name in info.node.allocatable:
                free[number] += total - reserved - info.free[number]
        return free

    def _cell_fits(self, node, option, subset):
        cells = [dict(cell) for cell in self.state.cells[node]]
        for item in self.state.on[node]:
            place = self.state.places[item]
            if place.cell >= 0 and (GANG if item in self.siblings else OTHERS) not in subset:
                kind = self.problem.types[self.problem.items[item].type]
                for name, quantity in kind.options[place.option].cell:
                    cells[place.cell][name] += quantity
        return any(all(cell.get(name, 0) >= quantity for name, quantity in option.cell) for cell in cells)

    def _gpus(self, node, subset):
        info = self.problem.nodes[node].node
        everyone = frozenset(name for gpu in info.gpus for name in gpu.used_by)
        adopted = self.problem.adopted if RUNNING in subset else self.problem.adopted | everyone
        released = self.problem.released if RUNNING in subset else self.problem.released | frozenset(
            f"{gpu.id}/{profile}@{slot}" for gpu in info.gpus for profile, slots in gpu.mig.items() for slot in slots)
        alterable = MODES not in subset or self.problem.demand.policy.allow_mode_changes
        gpus = NodeGpus(info, alterable, adopted, released)
        for item in sorted(self.state.on[node]):
            grant = self.state.places[item].grant
            if grant is not None and (GANG if item in self.siblings else OTHERS) in subset:
                gpus.take(grant)
        return gpus

    def _admits(self, number, node, subset):
        counts = self.state.counts[number]
        if {OTHERS, GANG} <= subset:
            return self.state.admits(number, node)
        domains = self.problem.rules[number].domains
        saved = dict(counts)
        counts.clear()
        for item in self._items(subset):
            if number in self.problem.types[self.problem.items[item].type].rules:
                counts[domains[self.state.places[item].node]] += 1
        try:
            return self.state.admits(number, node)
        finally:
            counts.clear()
            counts.update(saved)


def cost(name: str) -> int:
    """Return what giving up a constraint costs; resources, GPUs and rules cost 10, other people's workloads most."""
    return COSTS.get(name, 8 if name.startswith("volume ") else COSTS[OTHERS] if name.startswith("workload ") else 10)


def workload_of(state: State, kind: int, capacity: Capacity) -> Workload:
    """Return the workload of a type's first item (a running one as a bare workload)."""
    item = state.problem.items[state.problem.types[kind].items[0]]
    if item.running is not None:
        return Workload(item.workload, "pod", [])
    return next(workload for workload in state.problem.demand.workloads if workload.name == item.workload)


def _subsets(names):
    for size in range(len(names) + 1):
        for chosen in itertools.combinations(names, size):
            yield frozenset(chosen)


def _minimal(name, modifiers, fails):
    """Return the minimal clauses of a check: its name and the fewest modifiers under which it fails."""
    found: list[frozenset] = []
    for subset in _subsets(modifiers):
        if not any(other <= subset for other in found) and fails(subset):
            found.append(subset)
    return {subset | {name} for subset in found}


def _hitting_set(clauses):
    names = sorted({name for clause in clauses for name in clause}, key=lambda name: (cost(name), name))
    best = frozenset(names)
    for subset in _subsets(tuple(names)) if len(names) <= 12 else [best]:
        if all(subset & clause for clause in clauses) and sum(map(cost, subset)) < sum(map(cost, best)):
            best = subset
    return best
