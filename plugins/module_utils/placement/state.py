# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A partial placement that can be grown and shrunk: what is free, which devices are granted, who counts in which domain."""
from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ansible_collections.tandem.hybrid.plugins.module_utils.placement.gpus import Grant
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import Option, Problem


class Place(NamedTuple):
    """Where one item is: node index, option index, NUMA cell or -1, granted devices."""

    node: int
    option: int
    cell: int = -1
    grant: Grant | None = None


class State:
    """All places at one moment; `fit` finds a place on a node, `put` and `drop` change it."""

    def __init__(self, problem: Problem):
        self.problem = problem
        self.free = [list(info.free) for info in problem.nodes]
        self.cells = [[dict(cell) for cell in info.cells] for info in problem.nodes]
        self.gpus = problem.gpus()
        self.places: dict[int, Place] = {}
        self.on: list[set[int]] = [set() for _unused in problem.nodes]
        self.counts: list[Counter] = [Counter() for _unused in problem.rules]
        self.licensed: dict[int, set[int]] = {}
        self.chosen_hosts: dict[int, set[int]] = {}
        self.spread_domains: dict[int, set[int]] = {}
        for kind in problem.types:
            for rule in kind.rules:
                if problem.rules[rule].kind == "spread":
                    domains = problem.rules[rule].domains
                    self.spread_domains.setdefault(rule, set()).update(domains[node] for node in kind.eligible if domains[node] >= 0)

    def fit(self, kind: int, node: int, frozen: bool = False) -> Place | None:
        """Return the first option of a type that fits a node, with its devices, or None."""
        return self.fit_any(kind, node, frozen) if self.allowed(kind, node) else None

    def fit_any(self, kind: int, node: int, frozen: bool = False) -> Place | None:
        """Return a place by resources, NUMA cells and devices as `fit` does; rules are not looked at."""
        for number, option in enumerate(self.problem.types[kind].options):
            place = self.fit_option(option, number, node, frozen)
            if place is not None:
                return place
        return None

    def fit_option(self, option: Option, number: int, node: int, frozen: bool = False) -> Place | None:
        """Return a place for one option on a node by its resources, NUMA cells and devices; rules are not looked at."""
        free = self.free[node]
        for resource, quantity in option.requests:
            if free[resource] < quantity:
                return None
        cell = -1
        if option.cell and self.cells[node]:
            cell = self._cell(option, node)
            if cell < 0:
                return None
        if option.gpu is None:
            return Place(node, number, cell)
        grant = self.gpus[node].find(option.gpu, frozen)
        return None if grant is None else Place(node, number, cell, grant)

    def allowed(self, kind: int, node: int) -> bool:
        """Say whether the required rules of a type admit one more item on a node."""
        return all(self.admits(rule, node) for rule in self.problem.types[kind].rules)

    def admits(self, number: int, node: int) -> bool:
        rule, counts = self.problem.rules[number], self.counts[number]
        domain = rule.domains[node]
        if not rule.required:
            return True
        if rule.kind == "apart":
            return domain < 0 or counts[domain] < 1
        if rule.kind == "together":
            return domain >= 0 and (not counts or domain in counts)
        if rule.kind == "license":
            if number in self.licensed:
                return domain in self.licensed[number]
            return domain >= 0 and (domain in counts or len(counts) < rule.limit)
        return domain >= 0 and counts[domain] + 1 - self.least(number) <= rule.limit

    def least(self, rule: int) -> int:
        """Return the smallest count of a spread rule over its domains."""
        counts = self.counts[rule]
        return min((counts[domain] for domain in self.spread_domains.get(rule, ())), default=0)

    def put(self, item: int, place: Place) -> None:
        kind = self.problem.types[self.problem.items[item].type]
        self.places[item] = place
        self.on[place.node].add(item)
        self._use(kind.options[place.option], place, -1)
        if place.grant:
            self.gpus[place.node].take(place.grant)
        for rule in kind.rules:
            self.counts[rule][self.problem.rules[rule].domains[place.node]] += 1

    def drop(self, item: int) -> Place:
        kind = self.problem.types[self.problem.items[item].type]
        place = self.places.pop(item)
        self.on[place.node].discard(item)
        self._use(kind.options[place.option], place, 1)
        if place.grant:
            self.gpus[place.node].give(place.grant)
        for rule in kind.rules:
            counts, domain = self.counts[rule], self.problem.rules[rule].domains[place.node]
            counts[domain] -= 1
            if not counts[domain]:
                del counts[domain]
        return place

    def close_licenses(self) -> None:
        """Choose the hosts of every license for good: those in use, then the eligible ones with the most room, up to the limit."""
        for number, rule in enumerate(self.problem.rules):
            if rule.kind != "license":
                continue
            hosts = set(self.counts[number])
            chosen = self.chosen_hosts.get(number, set())
            if hosts <= chosen and len(chosen) <= rule.limit:
                hosts = set(chosen)
            eligible = {id(kind.eligible): kind.eligible for kind in self.problem.types if number in kind.rules}
            spare = {node for nodes in eligible.values() for node in nodes if rule.domains[node] >= 0} - hosts
            cpu = self.problem.resources.index("cpu_milli") if "cpu_milli" in self.problem.resources else 0
            ranked = sorted(spare, key=lambda node: (-self.free[node][cpu], node))
            self.licensed[number] = hosts | set(ranked[:max(0, rule.limit - len(hosts))])

    def skewed(self) -> list[int]:
        """Return the spread rules that do not hold now (dropping an item can break one)."""
        return [number for number in self.spread_domains if self.counts[number]
                and max(self.counts[number].values()) - self.least(number) > self.problem.rules[number].limit]

    def _use(self, option, place, sign):
        free = self.free[place.node]
        for resource, quantity in option.requests:
            free[resource] += sign * quantity
        if place.cell >= 0:
            cell = self.cells[place.node][place.cell]
            for name, quantity in option.cell:
                cell[name] += sign * quantity

    def _cell(self, option, node):
        best, rank = -1, None
        for number, cell in enumerate(self.cells[node]):
            if all(cell.get(name, 0) >= quantity for name, quantity in option.cell):
                left = cell["cpu_milli"]
                if rank is None or left < rank:
                    best, rank = number, left
        return best
