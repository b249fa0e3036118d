# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Thousands of workloads of few types onto a fleet at once: big first, then a large neighbourhood search in compiled code.

For CPU, memory, whole GPUs and thousandths of one GPU, without rules between workloads; deterministic for a seed and a number of iterations.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import ndarray

MOST_NODES = 4
# What one more workload is worth, in thousandths of a GPU, by what goes first: an amount with which the first goes first; for count, half of the
# rounds mind GPU share as well, with which the search gets further. After GPU share a tenth of the rounds looks for more workloads, with no more
# share given up than is allowed.
WORTH = {"gpu_share": (1.0,), "placed": (300.0, 1e5)}
MORE = {"gpu_share": 300.0}


@dataclass
class Packing:
    """Where everything is: of node n the first count[n] entries of kinds[n] (type) and devices[n] (GPUs as bits), and what is left by type."""

    count: ndarray
    kinds: ndarray
    devices: ndarray
    left: ndarray


def pack(nodes: ndarray, types: ndarray, demand: ndarray, iterations: int, seed: int = 1, first: str = "gpu_share",
         least_share: int | None = None) -> Packing:
    """Return a packing of much GPU share, or of many workloads, by the objective that is `first`; arrays as in batch_kernel, `demand` counts
    per type. What it has of GPU share above `least_share` (thousandths of GPUs) may be given up for workloads."""
    search = _Search(nodes, types, demand)
    search.aim(first, 1.0, iterations, seed, least_share)
    return search.packing


def repack(nodes: ndarray, types: ndarray, start: Packing, weights: ndarray, first: str, iterations: int, seed: int = 1) -> Packing:
    """Return what the search makes of `start`, with weights of 1 or more by type: much weight placed, or much GPU share, by what is `first`."""
    demand = start.left.copy()
    for kinds, count in zip(start.kinds, start.count, strict=True):
        for kind in kinds[:count]:
            demand[kind] += 1
    search = _Search(nodes, types, demand, start)
    search.aim(first, weights if first == "placed" else weights / weights.max(), iterations, seed)
    return search.packing


def fewest(nodes: ndarray, types: ndarray, demand: ndarray, iterations: int, least: int = 0, seed: int = 1) -> Packing:
    """Return a packing of everything on as few of these like nodes as `iterations` find, and no fewer than `least`; no GPUs.

    `nodes` has to be enough for a first packing. From then on the node with most room left is taken away, and its workloads are placed again.
    """
    search = _Search(nodes, types, demand)
    search.run(iterations, seed)
    best = search.packing
    while not search.packing.left.any():
        best = search.copy()
        if len(best.count) <= least or iterations <= 0:
            break
        search.take_away()
        iterations -= search.run(iterations, seed)
    return best


class _Search:
    """The arrays of batch_kernel for one packing that is improved in place."""

    def __init__(self, nodes, types, demand, start=None):
        import numpy

        from ansible_collections.tandem.hybrid.plugins.module_utils.placement import batch_kernel
        self.kernel, self.nodes, self.types = batch_kernel, nodes, types
        most = nodes[:, 2:].max(axis=0)
        size = min([int(demand.sum()), *(int(most[one] // least) for one, least in enumerate(types[:, 3:].min(axis=0)) if least > 0)])
        self.room = nodes[:, 2:].copy()
        self.free = numpy.where(numpy.arange(max(1, nodes[:, 0].max()))[None, :] < nodes[:, :1], 1000, 0)
        self.packing = Packing(numpy.zeros(len(nodes), numpy.int64), numpy.zeros((len(nodes), size), numpy.int64),
                               numpy.zeros((len(nodes), size), numpy.int64), demand.astype(numpy.int64))
        self.share = types[:, 0] * types[:, 1]
        total = (self.share * demand).sum()
        self.balance = max(1.0, (types[:, 3] * demand)[self.share > 0].sum() / total * 1000) if total else 0.0
        self.weights = (types[:, 3:] * demand[:, None]).sum(axis=0) / (most.astype(float) ** 2 + 1e-9)
        self.weights /= self.weights.sum() or 1.0
        big = self.types[:, 3:] @ self.weights
        self.value = big + 1e-3 * big.max()
        order = numpy.lexsort((-big, -types[:, 3], -types[:, 1], -types[:, 0])) if total else numpy.argsort(-big, kind="stable")
        if start is None:
            batch_kernel.fill(numpy.arange(len(nodes)), order, self.packing.left, *self._where())
        else:
            self._load(start)

    def _load(self, start):
        found = self.packing
        found.left[:], found.count[:] = start.left, start.count
        for node, count in enumerate(start.count):
            found.kinds[node, :count], found.devices[node, :count] = start.kinds[node, :count], start.devices[node, :count]
            for kind, mask in zip(start.kinds[node, :count], start.devices[node, :count], strict=True):
                self.room[node] -= self.types[kind, 3:]
                self.free[node] -= [self.types[kind, 1] if mask >> gpu & 1 else 0 for gpu in range(self.free.shape[1])]

    def _where(self):
        found = self.packing
        return (self.nodes, self.types, self.room, self.free, found.count, found.kinds, found.devices, self.balance, self.weights)

    def aim(self, first, weights, iterations, seed, least_share=None):
        """Improve GPU share and weight, what is `first` before the other."""
        more = iterations // 10 if first in MORE else 0
        for part, worth in enumerate(WORTH[first]):
            self.value = self.share + worth * weights + 1e-6 * self.types[:, 3]
            self.run((iterations - more) // len(WORTH[first]), seed + part)
        if more:
            self.value = self.share + MORE[first] * weights + 1e-6 * self.types[:, 3]
            self.run(more, seed + len(WORTH[first]), 0.0 if least_share is None else max(0.0, self.in_use() - least_share))

    def in_use(self):
        """The thousandths of GPUs in use."""
        found = self.packing
        return float(sum(self.share[kinds[:count]].sum() for kinds, count in zip(found.kinds, found.count, strict=True)))

    def run(self, iterations, seed, spare=None):
        """Improve, with no more than `spare` of the GPU share given up; returns the iterations used."""
        return self.kernel.improve(self.nodes, self.types, self.value, self.packing.left, *self._where()[2:], seed, iterations,
                                   min(MOST_NODES, len(self.nodes)), self.kernel.NOWHERE if spare is None else spare)

    def copy(self):
        found = self.packing
        return Packing(found.count.copy(), found.kinds.copy(), found.devices.copy(), found.left.copy())

    def take_away(self):
        """Remove the node with most room left; what was on it is left over."""
        import numpy
        found = self.packing
        node = int((self.room @ self.weights).argmax())
        numpy.add.at(found.left, found.kinds[node, :found.count[node]], 1)
        self.nodes, self.room, self.free = (numpy.delete(array, node, axis=0) for array in (self.nodes, self.room, self.free))
        self.packing = Packing(*(numpy.delete(array, node, axis=0) for array in (found.count, found.kinds, found.devices)), found.left)
