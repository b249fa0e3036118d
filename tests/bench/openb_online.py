# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pod at a time onto the openb fleet: Random, BestFit, DotProd, FGD and online Tandem, each pod on the node of the best score.

FGD is Fragmentation Gradient Descent (Weng et al., USENIX ATC 2023): the node where the expected GPU share that a typical pod can't use
grows least, as a whole number of 0 to 100 as the authors' scheduler has it. Online Tandem adds what FGD does not see: that the CPU left on a
node limits how many typical pods come to its GPUs, and that a share of a GPU is worth what a pattern of typical shares can make of it.
"""
from __future__ import annotations

import numpy
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.batch_kernel import choose, fits, njit

RANDOM, BEST_FIT, DOT_PRODUCT, FGD, TANDEM = range(5)
NEVER = -1e18
PODS_PER_NODE = 4096
# Of what online Tandem scores: the part of the GPU share that lacks CPU, how often CPU may come short before that counts (as not all pods
# are of the type that is looked at), and how much a thousandth of a GPU counts that no pattern of typical shares fills any more.
STARVED, PLENTY, WASTE = 0.2, 2, 6.0
STEP = 10


def values(typical: numpy.ndarray, often: numpy.ndarray) -> numpy.ndarray:
    """Return what 0 to 1000 thousandths of one GPU are worth, in thousandths: by prices of the typical shares at which no pattern is worth
    more than a GPU, and the best patterns are worth one (the dual of the linear programme that packs them onto fewest GPUs)."""
    from ortools.linear_solver import pywraplp
    wanted: dict[int, float] = {}
    for (count, milli, *_rest), part in zip(typical.tolist(), often.tolist(), strict=True):
        if count:
            wanted[-(-milli // STEP)] = wanted.get(-(-milli // STEP), 0.0) + count * part
    solver, whole = pywraplp.Solver.CreateSolver("GLOP"), 1000 // STEP
    solver.Objective().SetMinimization()
    rows = {size: solver.Constraint(amount, solver.infinity()) for size, amount in sorted(wanted.items())}
    fresh = [{size: whole // size} for size in rows]
    while True:
        for pattern in fresh:
            column = solver.NumVar(0.0, solver.infinity(), "")
            solver.Objective().SetCoefficient(column, 1.0)
            for size, count in pattern.items():
                rows[size].SetCoefficient(column, count)
        solver.Solve()
        best, last = _knapsack({size: row.dual_value() for size, row in rows.items()}, whole)
        if best[whole] <= 1 + 1e-7:
            return numpy.array([1000 * best[milli // STEP] for milli in range(1001)])
        fresh = [_pattern(last, whole)]


def _knapsack(prices, whole):
    """Return the best worth of every room, and the size that is last in it (0: one unit stays empty)."""
    best, last = [0.0], [0]
    for room in range(1, whole + 1):
        worth, size = max([(best[room - 1], 0), *((best[room - size] + price, size) for size, price in prices.items() if size <= room)])
        best.append(worth)
        last.append(size)
    return best, last


def _pattern(last, room):
    found: dict[int, int] = {}
    while room:
        if last[room]:
            found[last[room]] = found.get(last[room], 0) + 1
        room -= last[room] or 1
    return found


@njit(cache=True)
def fragments(cpu, free, node, nodes, typical, often):
    """Return the expected GPU share of a node that a typical pod can't use."""
    left = free[node].sum()
    total = 0.0
    for kind in range(typical.shape[0]):
        milli, fitting, small = typical[kind, 1], 0, 0
        if milli and (typical[kind, 2] >> nodes[node, 1]) & 1 and cpu >= typical[kind, 3]:
            for gpu in range(nodes[node, 0]):
                if free[node, gpu] >= milli:
                    fitting += 1
                else:
                    small += free[node, gpu]
            if fitting >= typical[kind, 0]:
                total += often[kind] * small
                continue
        total += often[kind] * left
    return total


@njit(cache=True)
def starved(cpu, free, node, nodes, typical, often):
    """Return the expected GPU share of a node that pods all like a typical one can't use, for its sizes or for lack of CPU."""
    left = free[node].sum()
    total = 0.0
    for kind in range(typical.shape[0]):
        count, milli, needed = typical[kind, 0], typical[kind, 1], typical[kind, 3]
        if milli == 0:
            continue
        usable, fitting = 0.0, 0
        if (typical[kind, 2] >> nodes[node, 1]) & 1 and cpu >= needed:
            for gpu in range(nodes[node, 0]):
                if free[node, gpu] >= milli:
                    fitting += 1
                    usable += free[node, gpu]
            if fitting < count:
                usable = 0.0
            elif needed:
                usable = min(usable, PLENTY * cpu * count * milli / needed)
        total += often[kind] * (left - usable)
    return total


@njit(cache=True)
def loss(cpu, free, node, nodes, typical, often, part):
    """Return FGD's fragments of a node, with a part of them replaced by what `starved` sees."""
    found = (1 - part) * fragments(cpu, free, node, nodes, typical, often)
    return found + part * starved(cpu, free, node, nodes, typical, often) if part else found


@njit(cache=True)
def gradient(node, kind, before, nodes, types, room, free, typical, often, part, worth):
    """Return the best score on a node, by how much less is lost there, and the GPUs it is for."""
    cpu, wanted, milli = room[node, 0] - types[kind, 3], types[kind, 0], types[kind, 1]
    if wanted != 1 or milli == 1000:
        mask, _ = choose(node, kind, nodes, types, free)
        for gpu in range(nodes[node, 0]):
            free[node, gpu] -= milli * ((mask >> gpu) & 1)
        found = before - loss(cpu, free, node, nodes, typical, often, part)
        for gpu in range(nodes[node, 0]):
            free[node, gpu] += milli * ((mask >> gpu) & 1)
        return found, mask
    best, chosen = NEVER, 0
    for gpu in range(nodes[node, 0]):
        if free[node, gpu] >= milli:
            wasted = worth[free[node, gpu]] - worth[free[node, gpu] - milli] - worth[milli]
            free[node, gpu] -= milli
            found = before - loss(cpu, free, node, nodes, typical, often, part) - WASTE * wasted
            free[node, gpu] += milli
            if found > best:
                best, chosen = found, 1 << gpu
    return best, chosen


@njit(cache=True)
def rate(node, kind, policy, before, nodes, types, room, free, typical, often, part, worth):
    """Return the score of a node for a type (more is better) and the GPUs."""
    if not fits(node, kind, nodes, types, room, free, numpy.zeros(nodes.shape[0], numpy.int64), PODS_PER_NODE):
        return NEVER, 0
    mask, _ = choose(node, kind, nodes, types, free)
    cpu, gpu, share = room[node, 0] / 128000, free[node].sum() / 8000, types[kind, 0] * types[kind, 1] / 8000
    if policy == BEST_FIT:
        return numpy.floor(100 * (1 - 0.5 * (cpu - types[kind, 3] / 128000) - 0.5 * (gpu - share))), mask
    if policy == DOT_PRODUCT:
        return -numpy.floor(100 * (cpu * types[kind, 3] / 128000 + gpu * share)), mask
    if policy in (FGD, TANDEM):
        found, mask = gradient(node, kind, before, nodes, types, room, free, typical, often, part, worth)
        return numpy.floor(100 / (1 + numpy.exp(-found / 1000))), mask
    return 0.0, mask


@njit(cache=True)
def play(nodes, types, arrivals, typical, often, policy, by_name, seed, worth):
    """Return the node of every arrival (-1: none) and its GPUs as bits; ties by name, or drawn. `worth` is `values` for Tandem, else zeros."""
    part = STARVED if policy == TANDEM else 0.0
    numpy.random.seed(seed)
    room = nodes[:, 2:].copy()
    free = numpy.zeros((nodes.shape[0], nodes[:, 0].max()), numpy.int64)
    for node in range(nodes.shape[0]):
        free[node, :nodes[node, 0]] = 1000
    scores = numpy.full((types.shape[0], nodes.shape[0]), NEVER)
    masks = numpy.zeros((types.shape[0], nodes.shape[0]), numpy.int64)
    where = numpy.full(arrivals.shape[0], -1)
    devices = numpy.zeros(arrivals.shape[0], numpy.int64)
    for node in range(nodes.shape[0]):
        before = loss(room[node, 0], free, node, nodes, typical, often, part)
        for kind in range(types.shape[0]):
            scores[kind, node], masks[kind, node] = rate(node, kind, policy, before, nodes, types, room, free, typical, often, part, worth)
    for pod in range(arrivals.shape[0]):
        kind, best, chosen, ties = arrivals[pod], NEVER, -1, 0
        for node in range(nodes.shape[0]):
            found = scores[kind, node]
            if found > best:
                best, chosen, ties = found, node, 1
            elif found == best and found > NEVER and not by_name:
                ties += 1
                if numpy.random.random() * ties < 1:
                    chosen = node
        if chosen < 0:
            continue
        where[pod], devices[pod] = chosen, masks[kind, chosen]
        room[chosen, 0] -= types[kind, 3]
        room[chosen, 1] -= types[kind, 4]
        for gpu in range(nodes[chosen, 0]):
            free[chosen, gpu] -= types[kind, 1] * ((devices[pod] >> gpu) & 1)
        before = loss(room[chosen, 0], free, chosen, nodes, typical, often, part)
        for other in range(types.shape[0]):
            scores[other, chosen], masks[other, chosen] = rate(chosen, other, policy, before, nodes, types, room, free, typical, often, part, worth)
    return where, devices
