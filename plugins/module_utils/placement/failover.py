# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""N+1: every single failure replayed on the placement as it is, with the eligible hosts, GPU modes and MIG layouts as they are."""
from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from ansible_collections.tandem.hybrid.plugins.module_utils.placement import masks
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import Place, State


@dataclass
class Replay:
    """The loss of one failure domain: where its items restart, and which are lost (numbers of items)."""

    domain: str
    nodes: list[int]
    restarts: dict[int, Place] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)


def domains(state: State) -> list[tuple[str, list[int], int]]:
    """Return the failure domains of the policy: name, node numbers, lowest priority that has to restart."""
    found = []
    for policy in state.problem.demand.policy.failover:
        groups: dict[str, list[int]] = {}
        for number, info in enumerate(state.problem.nodes):
            value = masks.label(info.node, policy.topology_key)
            if value is not None:
                groups.setdefault(value, []).append(number)
        prefix = "" if policy.topology_key == masks.HOSTNAME else f"{policy.topology_key}="
        found += [(prefix + name, nodes, policy.min_priority) for name, nodes in sorted(groups.items())]
    return found


def replay_all(state: State, most: float = math.inf, first: Iterable[int] = ()) -> list[Replay]:
    """Replay the loss of every domain, those with the `first` nodes before the others, until more than `most` restarts are lost."""
    soon = set(first)
    found = sorted(domains(state), key=lambda domain: soon.isdisjoint(domain[1])) if soon else domains(state)
    if not found:
        return []
    state.close_licenses()
    rankings: dict[tuple, list[tuple[int, int]]] = {}
    replays, lost = [], 0
    for domain in found:
        replays.append(_replay(state, *domain, rankings))
        lost += len(replays[-1].lost)
        if lost > most:
            break
    state.licensed = {}
    return replays


def _replay(state, domain, nodes, min_priority, rankings):
    """Replay the loss of some nodes; several orders are tried and the one that loses least is kept. The state is left as it was."""
    problem = state.problem
    dead = set(nodes)
    gone = {item: state.places[item] for node in nodes for item in sorted(state.on[node])}
    result = Replay(domain, nodes)
    waiting = [item for item in gone if _restarts(problem.types[problem.items[item].type], min_priority)]
    if not waiting:
        return result
    ranked = {item: _ranked(state, item, gone[item].option, rankings) for item in waiting}
    for item in gone:
        state.drop(item)
    for order in _orders(problem, waiting):
        restarts: dict[int, Place] = {}
        lost = []
        for item in order:
            place = _restart(state, item, gone[item].option, ranked[item], dead, {other.node for other in restarts.values()})
            if place is None:
                lost.append(item)
            else:
                restarts[item] = place
                state.put(item, place)
        for item in restarts:
            state.drop(item)
        if (not result.restarts and not result.lost) or len(lost) < len(result.lost):
            result.restarts, result.lost = restarts, sorted(lost)
        if not lost:
            break
    for item, place in gone.items():
        state.put(item, place)
    return result


def _restarts(kind, min_priority):
    return kind.restart and kind.priority >= min_priority


def _orders(problem, waiting):
    def size(item):
        kind = problem.types[problem.items[item].type]
        return (kind.options[0].gpu is None, -kind.priority, len(kind.eligible), -max(quantity for _unused, quantity in kind.options[0].requests))
    by_size = sorted(waiting, key=lambda item: (size(item), item))
    by_choice = sorted(waiting, key=lambda item: (len(problem.types[problem.items[item].type].eligible), size(item), item))
    return [by_size, by_choice, sorted(waiting), by_size[::-1]]


def _left(state, shape, node):
    return sum(state.free[node][resource] - quantity for resource, quantity in shape.requests)


def _ranked(state, item, option, rankings):
    """Return room left and node of all places of an item's shape, tightest first, before anything fails: most failures touch few nodes."""
    kind = state.problem.types[state.problem.items[item].type]
    shape = kind.options[option]
    key = id(kind.eligible), shape
    if key not in rankings:
        rankings[key] = sorted((_left(state, shape, node), node) for node in kind.eligible
                               if state.fit_option(shape, option, node, frozen=True) is not None)
    return rankings[key]


def _restart(state, item, option, ranked, dead, touched):
    """Return the tightest place of an item on a surviving node, in the shape that it was planned with; `touched` nodes hold restarts."""
    number = state.problem.items[item].type
    kind = state.problem.types[number]
    shape = kind.options[option]
    fresh = ((left, node) for left, node in ranked if node not in dead and node not in touched)
    again = sorted((_left(state, shape, node), node) for node in touched & kind.nodes)
    for _unused, node in heapq.merge(again, fresh):
        if state.allowed(number, node):
            place = state.fit_option(shape, option, node, frozen=True)
            if place is not None:
                return place
    return None
