# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inner loops of the batch packer over integer arrays; compiled by numba where it is there, plain Python (slow) where not.

A row of `nodes` is GPUs, model, and what it has of every resource (cpu_milli first); a row of `types` is GPUs, milli of each of these, the
models that serve it as bits, and what it takes of every resource. What is placed: of each node, `count` entries of `kinds` (type) and
`devices` (its GPUs as bits). `balance` is the CPU that goes with a GPU; 0 where GPUs play no part and bins are to be filled tightly.
"""
from __future__ import annotations

import numpy

try:
    from numba import njit
except ImportError:
    def njit(**_options):
        return lambda function: function

NOWHERE = 1e18
# How many of the rounds empty one GPU of each node they chose, not the node: what shares GPUs is better sorted in small steps.
SMALL_STEPS = 0.8


@njit(cache=True)
def fits(node, kind, nodes, types, room, free, count, limit):
    """Say whether one more workload of a type fits a node."""
    for resource in range(room.shape[1]):
        if room[node, resource] < types[kind, 3 + resource]:
            return False
    wanted = types[kind, 0]
    if count[node] >= limit or (types[kind, 2] >> nodes[node, 1]) & 1 == 0:
        return False
    if wanted == 0:
        return True
    for gpu in range(nodes[node, 0]):
        if free[node, gpu] >= types[kind, 1]:
            wanted -= 1
    return wanted <= 0


@njit(cache=True)
def choose(node, kind, nodes, types, free):
    """Return the GPUs with the least room that hold a workload, as bits, and what the last of them has left; it has to fit."""
    taken = 0
    left = 0
    for _unused in range(types[kind, 0]):
        best = -1
        for gpu in range(nodes[node, 0]):
            if (taken >> gpu) & 1 == 0 and free[node, gpu] >= types[kind, 1] and (best < 0 or free[node, gpu] < free[node, best]):
                best = gpu
        taken |= 1 << best
        left = free[node, best] - types[kind, 1]
    return taken, left


@njit(cache=True)
def score(node, kind, left, nodes, types, room, free, balance, weights):
    """Return how badly a place suits (lower is better): room left on a shared GPU, CPU out of balance with the GPUs left whole, or room left."""
    if balance == 0:
        total = 0.0
        for resource in range(room.shape[1]):
            total += weights[resource] * (room[node, resource] - types[kind, 3 + resource])
        return total
    cpu = room[node, 0] - types[kind, 3]
    if types[kind, 0] == 1 and types[kind, 1] < 1000:
        return left + 0.002 * cpu
    whole = -types[kind, 0]
    for gpu in range(nodes[node, 0]):
        whole += free[node, gpu] == 1000
    spare = cpu - whole * balance
    return 0.01 * abs(spare) if types[kind, 0] else -1.0 * spare


@njit(cache=True)
def fill(chosen, order, pool, nodes, types, room, free, count, kinds, devices, balance, weights):
    """Place the pool on the chosen nodes, type after type, each workload where it suits best."""
    limit = kinds.shape[1]
    for kind in order:
        while pool[kind] > 0:
            best, worst, taken = -1, NOWHERE, 0
            for node in chosen:
                if not fits(node, kind, nodes, types, room, free, count, limit):
                    continue
                mask, left = choose(node, kind, nodes, types, free)
                rank = score(node, kind, left, nodes, types, room, free, balance, weights)
                if rank < worst:
                    best, worst, taken = node, rank, mask
            if best < 0:
                break
            pool[kind] -= 1
            room[best] -= types[kind, 3:]
            for gpu in range(nodes[best, 0]):
                if (taken >> gpu) & 1:
                    free[best, gpu] -= types[kind, 1]
            kinds[best, count[best]] = kind
            devices[best, count[best]] = taken
            count[best] += 1


@njit(cache=True)
def take_off(node, gpu, pool, nodes, types, room, free, count, kinds, devices):
    """Put what uses a GPU of a node, or all that the node has where `gpu` is -1, back into the pool."""
    kept = 0
    for entry in range(count[node]):
        kind, mask = kinds[node, entry], devices[node, entry]
        if gpu >= 0 and (mask >> gpu) & 1 == 0:
            kinds[node, kept], devices[node, kept] = kind, mask
            kept += 1
            continue
        pool[kind] += 1
        room[node] += types[kind, 3:]
        for one in range(nodes[node, 0]):
            if (mask >> one) & 1:
                free[node, one] += types[kind, 1]
    count[node] = kept


@njit(cache=True)
def emptier(node, nodes, free):
    """Return the GPU with more room of two random ones of a node; -1 if it has none."""
    if nodes[node, 0] == 0:
        return -1
    one, other = numpy.random.randint(nodes[node, 0]), numpy.random.randint(nodes[node, 0])
    return one if free[node, one] >= free[node, other] else other


@njit(cache=True)
def draw(room, free, most, balance, weights):
    """Return 1 to `most` nodes, the first of them rather one with much left."""
    size = 1 + numpy.random.randint(most)
    chosen = numpy.empty(size, numpy.int64)
    lost = -1.0
    for _unused in range(4):
        node = numpy.random.randint(room.shape[0])
        left = (weights * room[node]).sum() if balance == 0 else 1.0 * free[node].sum()
        if left > lost:
            lost, chosen[0] = left, node
    for position in range(1, size):
        again = True
        while again:
            chosen[position] = numpy.random.randint(room.shape[0])
            again = False
            for other in range(position):
                again = again or chosen[other] == chosen[position]
    return chosen


@njit(cache=True)
def shuffled(candidates, types, balance, weights):
    """Return the types in a random order near big first: by GPU share with CPU added, per CPU, or alone; without GPUs by weighted size."""
    keys = numpy.empty(candidates.shape[0])
    mode = numpy.random.randint(3)
    for position in range(candidates.shape[0]):
        kind = candidates[position]
        luck = 1 + 0.6 * numpy.random.random()
        if balance == 0:
            keys[position] = -luck * (weights * types[kind, 3:]).sum() if mode else luck
            continue
        share, cpu = types[kind, 0] * types[kind, 1] / 1000.0, types[kind, 3] / balance
        if mode == 0:
            share += 0.3 * cpu
        elif mode == 1:
            share /= 0.3 + cpu
        if types[kind, 0]:
            keys[position] = -share * luck
        elif numpy.random.random() < 0.3:
            keys[position] = -3 * numpy.random.random()
        else:
            keys[position] = luck
    return candidates[numpy.argsort(keys)]


@njit(cache=True)
def improve(nodes, types, value, left, room, free, count, kinds, devices, balance, weights, seed, iterations, most, spare):
    """Empty a few nodes, or one GPU of each, and fill them again in another order, keep what is worth no less; ends after `iterations` or with
    nothing left.

    No more than `spare` milli of GPUs in use are given up over all rounds together. Without GPUs each round weighs the resources (`weights`)
    anew at random. Returns the iterations used.
    """
    numpy.random.seed(seed)
    for iteration in range(iterations):
        if left.sum() == 0:
            return iteration
        tilt = weights * numpy.random.random(weights.shape[0])
        chosen = draw(room, free, most, balance, tilt)
        old_room, old_free, old_count = room[chosen], free[chosen], count[chosen]
        old_kinds, old_devices = kinds[chosen], devices[chosen]
        small = balance > 0 and numpy.random.random() < SMALL_STEPS
        pool = left.copy()
        for node in chosen:
            take_off(node, emptier(node, nodes, free) if small else -1, pool, nodes, types, room, free, count, kinds, devices)
        order = shuffled(numpy.nonzero(pool)[0], types, balance, tilt)
        fill(chosen, order, pool, nodes, types, room, free, count, kinds, devices, balance, tilt)
        worth, share = 0.0, 0.0
        for kind in order:
            worth += value[kind] * (pool[kind] - left[kind])
            share += types[kind, 0] * types[kind, 1] * (pool[kind] - left[kind])
        if worth <= 1e-9 and share <= spare:
            spare -= share
            left[:] = pool
        else:
            for position in range(chosen.shape[0]):
                node = chosen[position]
                room[node], free[node], count[node] = old_room[position], old_free[position], old_count[position]
                kinds[node], devices[node] = old_kinds[position], old_devices[position]
    return iterations
