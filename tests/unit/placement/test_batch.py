# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The batch packer and its bound on small fleets: against exhaustive search, by sums of its own, twice."""
from __future__ import annotations

import itertools
import random

import numpy
import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import batch, batch_bound, batch_kernel, errors


def fleet(seed):
    """Return a small random fleet, types and counts."""
    draw = random.Random(seed)
    nodes = numpy.array([[draw.randrange(0, 3), draw.randrange(2), draw.randrange(4, 17) * 1000, 64 * 1024] for _ in range(2)])
    types = numpy.array([[*draw.choice([(0, 0), (1, 1000), (2, 1000), (1, 300), (1, 460), (1, 550)]), draw.choice([1, 2, 3]),
                          draw.randrange(1, 7) * 1000, 4096] for _ in range(3)])
    types[:, 2] = numpy.where(types[:, 0] > 0, types[:, 2], 3)
    types, demand = numpy.unique(types, axis=0, return_counts=True)
    return nodes, types, demand + 1


def exhaustive(nodes, types, demand):
    """Return the most GPU share that any packing holds."""
    def best(pods, room, free):
        if not pods:
            return 0
        count, milli, models, cpu, memory = types[pods[0]].tolist()
        found = best(pods[1:], room, free)
        for node in range(len(nodes)):
            if room[node][0] < cpu or room[node][1] < memory or (count and not models >> int(nodes[node, 1]) & 1):
                continue
            gpus = [gpu for gpu, left in enumerate(free[node]) if left >= milli]
            for chosen in itertools.combinations(gpus, count):
                rooms, frees = [list(one) for one in room], [list(one) for one in free]
                rooms[node][0] -= cpu
                rooms[node][1] -= memory
                for gpu in chosen:
                    frees[node][gpu] -= milli
                found = max(found, count * milli + best(pods[1:], rooms, frees))
        return found

    pods = [kind for kind, count in enumerate(demand) for _ in range(count)]
    return best(pods, nodes[:, 2:].tolist(), [[1000] * count for count in nodes[:, 0]])


@pytest.mark.parametrize("seed", range(12))
def test_packing_reaches_the_optimum_and_the_bound_is_never_below_it(seed):
    nodes, types, demand = fleet(seed)
    packing = batch.pack(nodes, types, demand, iterations=300 if hasattr(batch_kernel.fill, "py_func") else 100)
    share = types[:, 0] * types[:, 1]
    placed = int((share * (demand - packing.left)).sum())
    optimum = exhaustive(nodes, types, demand)
    assert placed == optimum
    if share.any():
        pytest.importorskip("ortools")
        assert batch_bound.share_bound(nodes, types, demand) >= optimum


def test_every_node_and_gpu_holds_what_is_on_it():
    draw = random.Random(3)
    nodes = numpy.array([[8, 0, 96000, 393216]] * 4 + [[2, 1, 64000, 262144]] * 6)
    types = numpy.array([[1, 250, 3, 2000, 4096], [1, 460, 3, 3000, 4096], [1, 1000, 1, 11000, 8192], [2, 1000, 2, 8000, 8192],
                         [8, 1000, 1, 90000, 65536], [0, 0, 3, 4000, 8192]])
    demand = numpy.array([draw.randrange(1, 20) for _ in types])
    packing = batch.pack(nodes, types, demand, iterations=200)
    assert packing.left.min() >= 0
    counted = numpy.zeros(len(types), int)
    for node, (gpus, model, cpu, memory) in enumerate(nodes):
        kinds, masks = packing.kinds[node, :packing.count[node]], packing.devices[node, :packing.count[node]]
        assert types[kinds, 3].sum() <= cpu and types[kinds, 4].sum() <= memory
        for gpu in range(64):
            used = types[kinds, 1][(masks >> gpu) & 1 == 1].sum()
            assert used <= (1000 if gpu < gpus else 0)
        for kind, mask in zip(kinds, masks, strict=True):
            assert int(mask).bit_count() == types[kind, 0] and (types[kind, 0] == 0 or types[kind, 2] >> model & 1)
        counted += numpy.bincount(kinds, minlength=len(types))
    assert (counted + packing.left == demand).all()


@pytest.mark.parametrize(("least_share", "left"), [(None, 3), (950, 3), (900, 1)])
def test_no_more_share_is_given_up_for_workloads_than_allowed(least_share, left):
    nodes = numpy.array([[1, 0, 10000, 65536]])
    types = numpy.array([[1, 300, 1, 1000, 1024], [1, 1000, 1, 10000, 1024]])
    packing = batch.pack(nodes, types, numpy.array([3, 1]), iterations=100, least_share=least_share)
    assert packing.left.sum() == left


def test_shares_that_fill_their_gpus_exactly_are_sorted_in_small_steps():
    """Rounds that only empty whole nodes leave 12 out here, also 50,000 of them."""
    if not hasattr(batch_kernel.fill, "py_func"):
        pytest.skip("numba is not installed: 20,000 rounds take too long")
    gpus = [(550, 230, 220)] * 60 + [(650, 350)] * 40 + [(470, 320, 210)] * 40 + [(810, 190)] * 20
    sizes, demand = numpy.unique([share for gpu in gpus for share in gpu], return_counts=True)
    types = numpy.array([[1, share, 1, 1000, 1] for share in sizes])
    packing = batch.pack(numpy.array([[8, 0, 96000, 1000]] * 20), types, demand, iterations=20_000)
    assert packing.left.sum() <= 9


def test_a_seed_gives_one_packing():
    nodes, types, demand = fleet(5)
    one, two = batch.pack(nodes, types, demand, 100, seed=7), batch.pack(nodes, types, demand, 100, seed=7)
    assert (one.kinds == two.kinds).all() and (one.devices == two.devices).all() and (one.count == two.count).all()


def test_patterns_fill_one_gpu_and_are_maximal():
    found = batch_bound.patterns([600, 400])
    assert sorted(found) == [(0, 2), (1, 1)]
    assert batch_bound.patterns([]) == [()]


def test_the_bound_knows_that_two_big_shares_need_two_gpus():
    pytest.importorskip("ortools")
    nodes, types = numpy.array([[2, 0, 96000, 393216]]), numpy.array([[1, 600, 1, 1000, 1024]])
    assert batch_bound.share_bound(nodes, types, numpy.array([5])) == 1200


class Fickle:
    """A solver that gives up until it is told to leave out its preprocessing, as GLOP did on the trace cpu235 (seed 3)."""

    def __init__(self, solver, obedient):
        self.solver, self.obedient, self.plain = solver, obedient, False

    def __getattr__(self, name):
        return getattr(self.solver, name)

    def SetSolverSpecificParametersAsString(self, text):
        self.plain = self.obedient and text == "use_preprocessing: false"
        return self.solver.SetSolverSpecificParametersAsString(text)

    def Solve(self):
        return self.solver.Solve() if self.plain else self.solver.ABNORMAL


def test_a_solver_that_gives_up_is_asked_without_preprocessing():
    pytest.importorskip("ortools")
    nodes, types = numpy.array([[2, 0, 96000, 393216]]), numpy.array([[1, 600, 1, 1000, 1024]])
    relaxed = batch_bound._Relaxed(nodes, types, numpy.array([5]))
    relaxed.solver = Fickle(relaxed.solver, obedient=True)
    assert relaxed.best() == pytest.approx(1.2)
    relaxed = batch_bound._Relaxed(nodes, types, numpy.array([5]))
    relaxed.solver = Fickle(relaxed.solver, obedient=False)
    with pytest.raises(errors.PlacementError, match="has no solution"):
        relaxed.best()


def test_everything_goes_onto_the_fewest_nodes():
    sizes = [(60, 10), (40, 90), (50, 50), (50, 50), (30, 70), (70, 30), (100, 5), (1, 95)]
    nodes, types = numpy.array([[0, 0, 101, 100]] * 8), numpy.array([[0, 0, 1, *size] for size in sizes])
    packing = batch.fewest(nodes, types, numpy.ones(8, int), iterations=500, least=4)
    assert len(packing.count) == 4 and not packing.left.any()
    for kinds, count in zip(packing.kinds, packing.count, strict=True):
        assert (types[kinds[:count], 3:].sum(axis=0) <= [101, 100]).all()
