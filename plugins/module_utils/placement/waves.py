# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waves: moves of what runs and starts of what comes, in an order that keeps capacity on both ends of every live migration."""
from __future__ import annotations

import functools
from collections import Counter

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Move, Wave
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.errors import PlacementError
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import State
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.validate import wave_levels


class _Simulation:
    """What is free while the waves run; a moving item holds its old and its new node until the wave ends."""

    def __init__(self, state: State):
        self.state, self.problem = state, state.problem
        self.policy = state.problem.demand.policy
        self.free = [list(info.free) for info in self.problem.nodes]
        self.where = {}
        self.spreads = {rule: Counter() for rule in state.spread_domains}
        for item in state.places:
            if self.problem.items[item].current >= 0:
                self.where[item] = self.problem.items[item].current
                self.count(item)
                if self.where[item] == state.places[item].node:
                    self.take(item, self.where[item])
                else:
                    self.hold(item, 1)

    def requests(self, item):
        kind = self.problem.types[self.problem.items[item].type]
        return kind.options[self.state.places[item].option].requests

    def take(self, item, node, sign=1):
        for resource, quantity in self.requests(item):
            self.free[node][resource] -= sign * quantity

    def hold(self, item, sign):
        """Take or release what an item holds on the node where it runs now, which may differ from what it will ask for."""
        entry = self.problem.items[item]
        for resource, quantity in entry.held:
            self.free[entry.current][resource] -= sign * quantity

    def release(self, item, node):
        if node == self.problem.items[item].current:
            self.hold(item, -1)
        else:
            self.take(item, node, -1)

    def fits(self, item, node):
        return all(self.free[node][resource] >= quantity for resource, quantity in self.requests(item))

    def count(self, item):
        """Count an item in the domains where the plan puts it."""
        for rule, counts in self.spreads.items():
            if rule in self.problem.types[self.problem.items[item].type].rules:
                counts[self.problem.rules[rule].domains[self.state.places[item].node]] += 1

    def skews(self, item):
        """Say whether a start now would break a spread: kube-scheduler would put the pod elsewhere."""
        for rule in self.problem.types[self.problem.items[item].type].rules:
            if rule in self.spreads:
                counts, info = self.spreads[rule], self.problem.rules[rule]
                least = min((counts[domain] for domain in self.state.spread_domains[rule]), default=0)
                if counts[info.domains[self.state.places[item].node]] + 1 - least > info.limit:
                    return True
        return False

    def live(self, item):
        return self.problem.items[item].live

    def handing_over(self, moves):
        """Return the nodes on which something that is yet to leave still holds GPUs."""
        return {self.where[item] for item in moves if self.state.places[item].grant is not None}

    def awaits_gpu(self, item, handing_over):
        return self.state.places[item].grant is not None and self.state.places[item].node in handing_over


def schedule(state: State) -> tuple[list[Wave], dict[int, int]]:
    """Return the waves and the wave of every item that starts or moves; raises PlacementError when moves can't be ordered."""
    simulation = _Simulation(state)
    problem = state.problem
    moves = [item for item, node in sorted(simulation.where.items()) if node != state.places[item].node]
    starts = [item for item in state.places if item not in simulation.where]
    levels = wave_levels(problem.demand)
    before = _before(problem.demand)
    groups = {workload.name: (workload.group, -workload.priority) for workload in problem.demand.workloads}

    def order(item):
        name = problem.items[item].workload
        return levels[name], *groups[name][::-1], name, problem.items[item].replica
    starts.sort(key=order)
    wave_of: dict[int, int] = {}
    waves: list[Wave] = []
    open_names = Counter(problem.items[item].workload for item in starts)
    while moves or starts:
        busy: Counter = Counter()
        # What waits for a GPU waits for the wave after the one in which its holder leaves.
        handing_over = simulation.handing_over(moves)
        started = functools.partial(_starts, simulation, starts, busy, before, open_names, handing_over)
        done_moves = _moves(simulation, moves, busy, handing_over)
        done_starts = started(simulation.policy.wave_size - len(done_moves))
        if not done_moves and not done_starts:
            done_starts = started(simulation.policy.wave_size, skewed=True)
        if not done_moves and not done_starts:
            done_moves = _pivot(simulation, moves, busy) or _swap(simulation, moves)
            if not done_moves:
                raise PlacementError("the moves of this plan wait for each other's room and no node can be their pivot: "
                                     + ", ".join(problem.items[item].workload for item in moves))
        number = len(waves) + 1
        for item, source, _move in done_moves:
            simulation.release(item, source)
            if simulation.where[item] == state.places[item].node:
                wave_of[item] = number
        moves = [item for item in moves if item not in wave_of] if done_moves else moves
        for item in done_starts:
            open_names[problem.items[item].workload] -= 1
            wave_of[item] = number
        _take_out(starts, set(done_starts))
        waves.append(Wave(number, [move for _unused, _unused, move in done_moves], [_name(problem.items[item]) for item in done_starts]))
    return waves, wave_of


def _take_out(pending, done):
    """Remove the done items, which are near the front of a queue that can be long."""
    kept, position = [], 0
    while done:
        item = pending[position]
        position += 1
        if item in done:
            done.remove(item)
        else:
            kept.append(item)
    pending[:position] = kept


def _before(demand):
    members: dict[str, set[str]] = {}
    for workload in demand.workloads:
        members.setdefault(workload.name, set()).add(workload.name)
        if workload.group:
            members.setdefault(workload.group, set()).add(workload.name)
    return {workload.name: {member for name in workload.after for member in members[name]} for workload in demand.workloads}


def _moves(simulation, pending, busy, handing_over):
    done = []
    for item in pending:
        if len(done) >= simulation.policy.wave_size:
            break
        source, target = simulation.where[item], simulation.state.places[item].node
        cap = simulation.policy.wave_moves_per_node
        if busy[source] >= cap or busy[target] >= cap:
            continue
        if simulation.fits(item, target) and not simulation.awaits_gpu(item, handing_over):
            done.append(_move(simulation, item, source, target, busy))
    return done


def _starts(simulation, pending, busy, before, open_names, handing_over, room, skewed=False):
    """Return the items to start, in an order in which every spread holds at each step (with `skewed` whether it does or not)."""
    done: list[int] = []
    waiting, progress = pending, True
    while waiting and progress:
        put_off, before_pass = [], len(done)
        for item in waiting:
            if len(done) >= room:
                return done
            node, name = simulation.state.places[item].node, simulation.problem.items[item].workload
            if (busy[node] >= simulation.policy.wave_moves_per_node or any(open_names[other] for other in before[name])
                    or simulation.awaits_gpu(item, handing_over)):
                continue
            if simulation.skews(item) and not skewed:
                put_off.append(item)
            elif simulation.fits(item, node):
                simulation.take(item, node)
                simulation.count(item)
                busy[node] += 1
                done.append(item)
        waiting, progress = put_off, len(done) > before_pass
    return done


def _pivot(simulation, pending, busy):
    for item in pending:
        source, target = simulation.where[item], simulation.state.places[item].node
        for node in simulation.problem.types[simulation.problem.items[item].type].eligible:
            if node not in (source, target) and simulation.state.places[item].grant is None and simulation.fits(item, node):
                return [_move(simulation, item, source, node, busy, pivot=node)]
    return []


def _swap(simulation, pending):
    """Break a circle of workloads that restart anyway: all of them stop, then all start."""
    stopped = [item for item in pending if not simulation.live(item)]
    for item in stopped:
        simulation.release(item, simulation.where[item])
    fitting = []
    for item in stopped:
        if simulation.fits(item, simulation.state.places[item].node):
            simulation.take(item, simulation.state.places[item].node)
            fitting.append(item)
    done = []
    for item in stopped:
        source, target = simulation.where[item], simulation.state.places[item].node
        if source == simulation.problem.items[item].current:
            simulation.hold(item, 1)
        else:
            simulation.take(item, source)
        if item in fitting:
            simulation.where[item] = target
            done.append((item, source, _describe(simulation, item, source, target)))
    return done if len(done) == len(stopped) else []


def _move(simulation, item, source, target, busy, pivot=None):
    simulation.take(item, target)
    simulation.where[item] = target
    busy[source] += 1
    busy[target] += 1
    return item, source, _describe(simulation, item, source, target, pivot)


def _describe(simulation, item, source, target, pivot=None):
    nodes = simulation.problem.nodes
    return Move(_name(simulation.problem.items[item]), nodes[source].name, nodes[target].name,
                "live" if simulation.live(item) else "restart", "" if pivot is None else nodes[pivot].name)


def _name(item):
    return item.workload if item.running is not None else f"{item.workload}/{item.replica}"
