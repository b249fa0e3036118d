# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capacity and Demand in, Plan out: construct, search, prove, assemble."""
from __future__ import annotations

import sys

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Level, Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import (
    assemble,
    construct,
    exact,
    objective,
    repack,
    search,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.bounds import Bounds
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.errors import PlacementError
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import Problem, normalise
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import State


def solve(capacity: Capacity, demand: Demand, engine: str = "auto") -> Plan:
    """Return the plan; engine is auto (exact where small enough and OR-Tools is there), core (pure Python) or exact.

    Raises PlacementError for contradictions in the documents.
    """
    limit = demand.policy.max_moves
    problem = normalise(capacity, demand, fixed=limit == 0)
    state, levels, notes, used = _search(problem, engine)
    try:
        if limit is not None and search.moved(state) > limit:
            raise PlacementError(f"the search found no plan with at most {limit} moves")
        return assemble.assemble(state, levels, notes, used)
    except PlacementError as error:
        state, levels, again, used = _search(normalise(capacity, demand, fixed=True), engine)
        return assemble.assemble(state, levels, [f"{error}; so nothing that runs moves in this plan", *again], used)


def _search(problem: Problem, engine: str) -> tuple[State, list[Level], list[str], str]:
    notes = _notes(problem)
    bounds = Bounds(problem)
    state = best = None
    for made in construct.portfolio(problem):
        key = objective.key(made)
        if best is None or key < best:
            state, best = made, key
            goal, proven = _goal(bounds, state)
        if best <= goal:
            return state, _levels(state, proven, "proof"), notes, "core"
    if engine != "core" and (reason := _not_exact(problem)):
        if engine == "exact":
            raise PlacementError(f"engine exact: {reason}")
        notes.append(f"the complete proof was skipped: {reason}")
    elif engine != "core":
        found = exact.solve(problem, state)
        if found is not None:
            better, proofs = found
            return _exact(bounds, state, better, proofs, proven, notes)
    if engine != "core":
        state = _repacked(state, proven, notes)
        goal, proven = _goal(bounds, state)
    limit = search.budget(state)
    ended = "iterations" if search.improve(state, limit, goal) >= limit else "proof"
    _unused, proven = _goal(bounds, state)
    return state, _levels(state, proven, ended), notes, "core"


def _repacked(state, proven, notes):
    """Return the better of a placement and what the batch engine makes of it; that knows weight and GPU share only, so one has to come first."""
    first = next(iter(state.problem.demand.policy.objectives), "nodes")
    before = objective.values(state, replay=False)[first]
    if objective.SENSES[first] == "min" or before >= proven[first]:
        return state
    if not repack.available():
        notes.append(f"the batch engine was skipped: numba is not installed for {sys.executable}")
        return state
    packed = repack.repack(state)
    if packed is None or objective.key(packed) >= objective.key(state):
        return state
    gain = objective.values(packed, replay=False)[first] - before
    notes.append(f"the batch engine placed {gain} more {'weight' if first == 'placed' else 'thousandths of GPUs'} than any construction")
    return packed


def _not_exact(problem):
    # The size first: importing OR-Tools takes longer than a plan that does not need it.
    if (size := exact.variables(problem)) > exact.MAX_VARIABLES:
        return f"the problem has about {size} variables, more than {exact.MAX_VARIABLES}"
    return "" if exact.available() else f"OR-Tools (ortools) is not installed for {sys.executable}"


def _exact(bounds, state, better, proofs, proven, notes):
    problem, best = bounds.problem, min(better, state, key=objective.key)
    goal, again = _goal(bounds, best)
    if not all(proof.optimal for proof in proofs.values()) or len(proofs) < len(problem.demand.policy.objectives):
        search.improve(best, search.budget(best), goal)
        _unused, again = _goal(bounds, best)
    values = objective.values(best)
    for name in problem.demand.policy.objectives:
        if name not in proofs:
            again.update({other: proven[other] for other in problem.demand.policy.objectives if other not in proofs})
            break
        again[name] = proofs[name].bound
        # A level that the placement misses frees the levels below it from what was proven with that level held.
        if values[name] != proofs[name].value:
            later = problem.demand.policy.objectives[problem.demand.policy.objectives.index(name) + 1:]
            again.update({other: proven[other] for other in later})
            break
    return best, _levels(best, again, "iterations"), notes, "exact"


def _goal(bounds: Bounds, state: State) -> tuple[tuple[int, ...], dict[str, int]]:
    """Return the key that nothing can beat, and its values by level, given the weight that a state places."""
    found = bounds.of(objective.values(state, replay=False)["placed"])
    return tuple(-found[name] if objective.SENSES[name] == "max" else found[name] for name in state.problem.demand.policy.objectives), found


def _levels(state, proven, ended):
    values = objective.values(state)
    levels = []
    for name in state.problem.demand.policy.objectives:
        value, bound, sense = values[name], proven[name], objective.SENSES[name]
        gap = abs(bound - value) / max(1, abs(value), abs(bound))
        levels.append(Level(name, float(value), float(bound), round(gap, 6), sense, "proof" if value == bound else ended))
    return levels


def _notes(problem):
    notes = []
    if any(info.node.gpu_mode == "time-sliced" for info in problem.nodes):
        notes.append("replicas of time-sliced GPUs are not capacity: a shared request counts by its thousandths of the device")
    held = [running.name for running in problem.capacity.running if running.move != "fixed" and running.devices
            and f"{running.namespace}/{running.name}" not in problem.adopted]
    if held:
        notes.append(f"{len(held)} running workloads outside the demand hold GPUs and stay where they are")
    return notes
