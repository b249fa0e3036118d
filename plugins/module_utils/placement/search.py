# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Large neighbourhood search: take everything off a few nodes, place it again in another order, keep what is no worse."""
from __future__ import annotations

import math
import random

from ansible_collections.tandem.hybrid.plugins.module_utils.placement import construct, failover
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.objective import SENSES, gpu_share, soft
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import State

WORK = 3_000_000
# Failures that a search may replay in all: on thousands of nodes they are most of its work.
REPLAYS = 300_000
NEIGHBOURS = 24


def budget(state: State) -> int:
    """Return the iterations for a problem: the policy's, cut so that the work stays bounded."""
    size = len(state.problem.items) + 10 * len(state.problem.nodes)
    domains = len(failover.domains(state))
    return min(state.problem.demand.policy.iterations, 200 + WORK // (size * (1 + domains)))


def improve(state: State, iterations: int, goal: tuple[int, ...]) -> int:
    """Improve a placement in place; stops early when every level has reached its bound (`goal`). Returns the iterations used."""
    rng = random.Random(state.problem.demand.policy.seed)  # noqa: S311
    losses = _Losses(state)
    order = state.problem.demand.policy.objectives
    least = goal[order.index("failover")] if "failover" in order else 0
    for iteration in range(iterations):
        if iteration % 50 == 0 and construct_key(state, losses.lost) <= goal:
            return iteration
        if losses.replayed > REPLAYS:
            break
        _step(state, rng, losses, least)
    return iterations


class _Losses:
    """What all failures together lose, the nodes of those that lose something, and how many were replayed so far to know it."""

    def __init__(self, state: State):
        self.state, self.replayed, self.nodes = state, 0, set()
        self.keep(self.replay(math.inf, ()))

    def replay(self, most, nodes):
        """Replay the failures of these nodes, of those that lost something, and all others, until more than `most` restarts are lost."""
        found = failover.replay_all(self.state, most, self.nodes.union(nodes))
        self.replayed += len(found)
        return found

    def keep(self, replays):
        self.lost = _count(replays)
        self.nodes = {node for replay in replays if replay.lost for node in replay.nodes}


def construct_key(state: State, lost: int) -> tuple[int, ...]:
    """Return the objective of the whole state with a known number of lost restarts."""
    everything = range(len(state.problem.items))
    return _key(state, everything, range(len(state.problem.nodes)), lost)


def moved(state: State) -> int:
    """Return how many running workloads leave their node."""
    return sum(place.node != state.problem.items[item].current for item, place in state.places.items()
               if state.problem.items[item].current >= 0)


def _step(state, rng, losses, least):
    problem = state.problem
    limit = problem.demand.policy.max_moves
    count = len(problem.nodes)
    missing = [item for item in range(len(problem.items)) if item not in state.places]
    pool = rng.sample(missing, min(len(missing), 40))
    ruined = {rng.randrange(count) for _unused in range(rng.randint(1, 4))}
    if pool and rng.random() < 0.7:
        eligible = problem.types[problem.items[pool[0]].type].eligible
        if eligible:
            ruined.add(rng.choice(eligible))
    nodes = sorted(ruined | {rng.randrange(count) for _unused in range(NEIGHBOURS if rng.random() < 0.5 else 0)})
    removed = [(item, state.places[item]) for node in sorted(ruined) for item in sorted(state.on[node])]
    touched = [item for item, _unused in removed] + pool
    if not touched:
        return
    before = _key(state, touched, nodes, losses.lost)
    for item, _unused in removed:
        state.drop(item)
    kinds: dict[int, list[int]] = {}
    for item in touched:
        kinds.setdefault(problem.items[item].type, []).append(item)
    big = construct.big_first if rng.random() < 0.5 else construct.scarce_first
    order = sorted(kinds, key=lambda kind: (big(problem.types[kind])[:2], rng.random() - problem.types[kind].size))
    score = rng.choice((construct.tight, construct.tight, construct.loose, construct.open_first))
    for kind in order:
        construct.fill(state, {kind: kinds[kind]}, score, [node for node in nodes if node in problem.types[kind].nodes])
    valid = not state.skewed() and _whole(state, touched) and moved(state) <= (math.inf if limit is None else limit)
    if valid:
        position = problem.demand.policy.objectives.index("failover") if "failover" in problem.demand.policy.objectives else None
        after = _key(state, touched, nodes, losses.lost)
        if position is None or not problem.demand.policy.failover:
            if after <= before:
                return
        elif after[:position] <= before[:position] and (losses.lost > least or after <= before):
            # Where the levels above stay as they were, a replay that has lost too many need not go on to count them.
            most = losses.lost - (after > before) if after[:position] == before[:position] else math.inf
            found = losses.replay(most, nodes)
            if _key(state, touched, nodes, _count(found)) <= before:
                losses.keep(found)
                return
    for item in touched:
        if item in state.places:
            state.drop(item)
    for item, place in removed:
        state.put(item, place)


def _whole(state, items):
    problem = state.problem
    for gang in {problem.types[problem.items[item].type].gang for item in items} - {-1}:
        members = [item for kind in problem.types if kind.gang == gang for item in kind.items]
        if 0 < sum(item in state.places for item in members) < len(members):
            return False
    return all(item in state.places for item in items if problem.types[problem.items[item].type].must)


def _count(replays):
    return sum(len(replay.lost) for replay in replays)


def _key(state, items, nodes, lost):
    problem = state.problem
    placed = share = moves = wishes = fragments = 0
    for number in items:
        item, place = problem.items[number], state.places.get(number)
        if item.current >= 0 and (place is None or place.node != item.current):
            moves += item.move_cost
        if place is not None:
            kind = problem.types[item.type]
            placed += kind.weight
            share += gpu_share(kind.options[place.option])
            wishes += kind.wishes.get(place.node, 0) + kind.options[place.option].cost
            fragments += kind.options[place.option].gpu is None and bool(problem.nodes[place.node].node.gpus)
    opened = 0
    for node in nodes:
        gpus = state.gpus[node]
        if gpus.granted:
            moves += gpus.cost
            fragments += gpus.partial
        opened += bool(state.on[node]) and not problem.nodes[node].occupied
    found = {"placed": placed, "gpu_share": share, "failover": lost, "moves": moves, "preferences": wishes + soft(state),
             "fragmentation": fragments, "nodes": opened}
    return tuple(-found[name] if SENSES[name] == "max" else found[name] for name in problem.demand.policy.objectives)
