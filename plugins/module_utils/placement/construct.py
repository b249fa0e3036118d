# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""First placements: types in several orders, nodes by several scores, best-fit with ties by name."""
from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import ItemType, Problem
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import Place, State

SCALE = 10000


def portfolio(problem: Problem) -> Iterable[State]:
    """Yield complete constructions, one per order and score."""
    for score in (tight, open_first, loose):
        for order in (scarce_first, big_first):
            yield construct(problem, order, score)


def construct(problem: Problem, order: Callable, score: Callable) -> State:
    """Place family after family; gangs that do not fit as a whole are taken back, and what fits into the room they leave is placed."""
    state = State(problem)
    families: dict[int, dict[int, list[int]]] = {}
    for number, kind in sorted(enumerate(problem.types), key=lambda entry: (order(entry[1]), entry[0])):
        families.setdefault(kind.family, {})[number] = kind.items
    for wanted in families.values():
        fill(state, wanted, score)
    if break_gangs(state):
        for wanted in families.values():
            if all(problem.types[kind].gang < 0 for kind in wanted):
                fill(state, wanted, score)
    return state


def fill(state: State, wanted: dict[int, list[int]], score: Callable, nodes: Iterable[int] | None = None) -> None:
    """Place the open items of the types of one family: where they run already if they can stay, else on the node with the least score.

    The nodes are ranked once for the family: its types fit and rank alike but for the rules that keep workloads apart.
    """
    waiting = {kind: [item for item in items if item not in state.places and not _stays(state, kind, item, nodes)]
               for kind, items in wanted.items()}
    first = next((kind for kind, items in waiting.items() if items), None)
    if first is None:
        return
    heap = [(score(state, first, place), node) for node in (state.problem.types[first].eligible if nodes is None else nodes)
            if (place := state.fit_any(first, node)) is not None]
    heapq.heapify(heap)
    spread = any(state.problem.rules[rule].kind == "spread" for rule in state.problem.types[first].rules)
    for kind, items in waiting.items():
        barred: list[tuple[tuple, int]] = []
        for item in items:
            if not _next(state, kind, item, score, heap, barred):
                break
            if spread:  # One more here can admit one more elsewhere; no other rule comes to admit more while items are added.
                _again(heap, barred)
        _again(heap, barred)


def _stays(state, kind, item, nodes):
    current = state.problem.items[item].current
    if current not in state.problem.types[kind].nodes or (nodes is not None and current not in nodes):
        return False
    place = state.fit(kind, current)
    if place is not None:
        state.put(item, place)
    return place is not None


def _again(heap, barred):
    for entry in barred:
        heapq.heappush(heap, entry)
    barred.clear()


def _next(state, kind, item, score, heap, barred):
    while heap:
        rank, node = heapq.heappop(heap)
        place = state.fit_any(kind, node)
        if place is None:
            continue
        if not state.allowed(kind, node):
            barred.append((rank, node))
            continue
        now = score(state, kind, place)
        if now > rank and heap and (now, node) > heap[0]:
            heapq.heappush(heap, (now, node))
            continue
        state.put(item, place)
        again = state.fit_any(kind, node)
        if again is not None:
            heapq.heappush(heap, (score(state, kind, again), node))
        return True
    return False


def break_gangs(state: State) -> bool:
    """Take back the gangs of which not every replica has a place; returns whether there was one."""
    problem = state.problem
    whole: dict[int, list[int]] = {}
    for kind in problem.types:
        if kind.gang >= 0:
            whole.setdefault(kind.gang, []).extend(kind.items)
    broken = [items for items in whole.values() if not all(item in state.places for item in items)]
    dropped = False
    for items in broken:
        for item in items:
            if item in state.places:
                state.drop(item)
                dropped = True
    return dropped


def scarce_first(kind: ItemType) -> tuple:
    """Order: what must stay, priority, GPUs, fewest eligible nodes, size."""
    return (not kind.must, -kind.priority, kind.options[0].gpu is None, len(kind.eligible), -kind.size)


def big_first(kind: ItemType) -> tuple:
    """Order: what must stay, priority, size."""
    return (not kind.must, -kind.priority, -kind.size)


def base(state: State, kind: int, place: Place) -> tuple[int, int, int]:
    """Return the part that all scores share: cost of changes, missed wishes, GPU nodes kept for GPUs and whole GPUs kept whole."""
    problem = state.problem
    gpus = state.gpus[place.node]
    option = problem.types[kind].options[place.option]
    change = fragments = 0
    if place.grant is not None:
        before = gpus.cost if gpus.granted else 0, gpus.partial
        gpus.take(place.grant)
        change, fragments = gpus.cost - before[0], gpus.partial - before[1]
        gpus.give(place.grant)
    elif gpus.devices:
        fragments = 1
    wishes = problem.types[kind].wishes.get(place.node, 0) + option.cost
    for number in problem.types[kind].rules:
        rule = problem.rules[number]
        if not rule.required:
            here = state.counts[number][rule.domains[place.node]]
            wishes += 100 * (here if rule.kind == "apart" else not here and bool(state.counts[number]))
    return change, wishes, fragments


def left(state: State, kind: int, place: Place) -> int:
    """Return the mean share that the node has left after the place, in 1/SCALE."""
    free, option = state.free[place.node], state.problem.types[kind].options[place.option]
    total = 0
    for resource, quantity in option.requests:
        total += (free[resource] - quantity) * SCALE // max(1, state.problem.nodes[place.node].free[resource])
    return total // max(1, len(option.requests))


def tight(state: State, kind: int, place: Place) -> tuple:
    """Score: fewest changes, wishes, fragments, an open node, the least room left."""
    return (*base(state, kind, place), not _open(state, place.node), left(state, kind, place))


def open_first(state: State, kind: int, place: Place) -> tuple:
    """Score: as tight, but first by name among the open nodes."""
    return (*base(state, kind, place), not _open(state, place.node))


def loose(state: State, kind: int, place: Place) -> tuple:
    """Score: fewest changes, wishes, fragments, the most room left (good for fail-over)."""
    return (*base(state, kind, place), -left(state, kind, place))


def _open(state, node):
    return state.problem.nodes[node].occupied or bool(state.on[node])
