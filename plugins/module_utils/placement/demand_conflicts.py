# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which few constraints of the whole demand can't be met together, and the cheapest of them to give up.

Asks again and again whether everything has a place without some of the constraints. The smallest conflict and the cheapest relaxation come
from the duality of conflicts and corrections (each hits all of the other), as in Reiter 1987 and Ignatiev et al. 2015.
"""
from __future__ import annotations

from collections.abc import Callable

from ansible_collections.tandem.hybrid.plugins.module_utils.placement import construct, exact
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.bounds import Bounds
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.errors import PlacementError
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import normalise
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.relax import Question, names, without
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import State

MAX_VARIABLES = 2_000
CALLS = 250


class Undecided(PlacementError):
    """The work limit ended before the question was answered."""


class Oracle:
    """Says whether everything has a place under some of the constraints; remembers answers and counts the work."""

    def __init__(self, question: Question, places: Callable[[Question, frozenset], State | None], budget: list[int] | None = None):
        self.question, self.places, self.budget = question, places, budget or [CALLS]
        self.names = frozenset(names(question))
        self.known: dict[frozenset, bool] = {}

    def feasible(self, kept: frozenset) -> bool:
        if kept not in self.known:
            if self.budget[0] < 1:
                raise Undecided("work limit")
            self.budget[0] -= 1
            self.known[kept] = self.places(self.question, self.names - kept) is not None
        return self.known[kept]


def places(question: Question, dropped: frozenset[str]) -> State | None:
    """Return a placement of everything without the dropped constraints, or None where there is none; raises Undecided."""
    problem = normalise(*without(question, dropped))
    best = max(construct.portfolio(problem), key=lambda state: len(state.places))
    if len(best.places) == len(problem.items):
        return best
    everything = sum(kind.weight * len(kind.items) for kind in problem.types)
    if Bounds(problem).placed < everything:
        return None
    if not exact.available() or exact.variables(problem) > MAX_VARIABLES:
        raise Undecided("no proof")
    found = exact.solve(problem, best)
    if found is not None and len(found[0].places) == len(problem.items):
        return found[0]
    if found is None or not found[1]["placed"].optimal:
        raise Undecided("no proof")
    return None


def smallest(oracle: Oracle, costs: Callable[[str], int]) -> tuple[list[str], frozenset[str]]:
    """Return the smallest conflict and the cheapest set to give up; an empty conflict where everything has a place, or where even
    nothing of what has a name is to blame. Raises Undecided."""
    everything = oracle.names
    if oracle.feasible(everything) or not oracle.feasible(frozenset()):
        return [], frozenset()
    conflicts = [_shrink(oracle, everything)]
    while True:
        given_up = _hitting(conflicts, costs)
        if oracle.feasible(everything - given_up):
            break
        conflicts.append(_shrink(oracle, everything - given_up))
    corrections = [given_up]
    while True:
        smallest_one = _hitting(corrections, lambda _name: 1)
        if not oracle.feasible(smallest_one):
            return sorted(smallest_one), given_up
        corrections.append(everything - _grow(oracle, smallest_one))


def _shrink(oracle, infeasible):
    """Return a conflict inside a set that can't be met, from which nothing can be left out; halves are tried first."""
    kept, step = sorted(infeasible), max(1, len(infeasible) // 2)
    while True:
        at = 0
        while at < len(kept):
            rest = kept[:at] + kept[at + step:]
            if oracle.feasible(frozenset(rest)):
                at += step
            else:
                kept = rest
        if step == 1:
            return frozenset(kept)
        step //= 2


def _grow(oracle, feasible):
    """Return a set around one that can be met, to which nothing can be added."""
    kept, waiting, step = set(feasible), sorted(oracle.names - feasible), max(1, len(oracle.names) // 2)
    while True:
        left = []
        for at in range(0, len(waiting), step):
            more = waiting[at:at + step]
            if oracle.feasible(frozenset(kept.union(more))):
                kept.update(more)
            else:
                left += more
        if step == 1:
            return frozenset(kept)
        waiting, step = left, step // 2


def _hitting(sets, costs):
    """Return the cheapest set that has a member of each set; among equals the first by size and name."""
    best: list = [None]

    def search(chosen, spent):
        if best[0] is not None and (spent, len(chosen)) > best[0][:2]:
            return
        missed = [one for one in sets if not one & chosen]
        if not missed:
            rank = spent, len(chosen), sorted(chosen)
            if best[0] is None or rank < best[0]:
                best[0] = rank
            return
        for name in sorted(min(missed, key=lambda one: (len(one), sorted(one))), key=lambda name: (costs(name), name)):
            search(chosen | {name}, spent + costs(name))
    search(frozenset(), 0)
    return frozenset(best[0][2])
