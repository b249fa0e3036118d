# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Part "vectorpack" of make bench-placement: items of several dimensions into the fewest bins, against the published best of 351 heuristics.

The published bins come from results_data/*_summary_known.csv of the instances' repository (Vectorpack/experiments_vector_paper); without
these files from the copy below, for the quick sample only.
"""
from __future__ import annotations

import csv
import math
import pathlib
import random
import tarfile
import time

import numpy
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import batch

from .figures import FULL, figure, say

SETS = ("New", "Panigrahy")
SAMPLE = 100 if FULL else 10
SEED = 1
ITERATIONS = 500_000
PUBLISHED = {
    "New": {"class2_40_10_5": 10, "class1_500_10_9": 147, "class3_60_3_2": 23, "class2_250_10_1": 62, "class6_40_5_4": 13,
            "class6_120_5_0": 36, "class6_250_10_7": 77, "class5_20_5_7": 7, "class3_250_10_9": 102, "class2_120_3_2": 27},
    "Panigrahy": {"class2_40_10_5": 40, "class7_250_5_5": 112, "class9_500_10_4": 249, "class1_500_10_9": 154, "class3_60_3_2": 42,
                  "class2_250_10_1": 243, "class6_40_5_4": 21, "class9_40_5_8": 25, "class6_120_5_0": 57, "class6_250_10_7": 127}}


def read(text: str) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """Return the bin's capacities, the kinds of items, and how many there are of each."""
    numbers = [int(word) for word in text.split()]
    size = numbers[0]
    rows = numpy.array(numbers[size + 2:]).reshape(numbers[size + 1], size + 1)
    kinds, where = numpy.unique(rows[:, :size], axis=0, return_inverse=True)
    return numpy.array(numbers[1:size + 1]), kinds, numpy.bincount(where.ravel(), rows[:, size]).astype(int)


def lower_bound(bin_: numpy.ndarray, kinds: numpy.ndarray, demand: numpy.ndarray) -> int:
    """Return bins that no packing can do without: by the sum of a dimension, and by items no two of which fit one bin (greedy clique)."""
    by_sum = max(-(-int(total) // int(room)) for total, room in zip(demand @ kinds, bin_, strict=True))
    order = numpy.argsort(-(kinds / bin_).max(axis=1), kind="stable")
    items, counts = kinds[order], demand[order]
    clique: list[int] = []
    for item, one in enumerate(items):
        if all((one + items[other] > bin_).any() for other in clique):
            clique.append(item)
    return max(by_sum, sum(int(counts[item]) if (2 * items[item] > bin_).any() else 1 for item in clique))


def solve(bin_: numpy.ndarray, kinds: numpy.ndarray, demand: numpy.ndarray, least: int) -> int:
    """Return the bins that the batch engine needs, verified."""
    types = numpy.hstack([numpy.tile([0, 0, 1], (len(kinds), 1)), kinds])
    nodes = numpy.tile(numpy.array([0, 0, *bin_]), (min(int(demand.sum()), 2 * least + 10), 1))
    packing = batch.fewest(nodes, types, demand, ITERATIONS, least)
    counted = numpy.zeros(len(kinds), int)
    for found, count in zip(packing.kinds, packing.count, strict=True):
        assert (kinds[found[:count]].sum(axis=0) <= bin_).all()
        counted += numpy.bincount(found[:count], minlength=len(kinds))
    assert (counted == demand).all()
    return len(packing.count)


def published(folder: pathlib.Path, name: str) -> dict[str, int]:
    """Return the published best by instance, as far as known."""
    path = folder / "results_data" / f"{name}_summary_known.csv"
    if not path.is_file():
        return PUBLISHED.get(name, {})
    with open(path, newline="") as file:
        return {row["instance_name"]: int(row["best_overall"]) for row in csv.DictReader(file, delimiter="\t")}


def main(folder: pathlib.Path) -> None:
    """Print the figures of a fixed sample of each set."""
    solve(numpy.array([10, 10]), numpy.array([[5, 5]]), numpy.array([4]), 2)  # compiles
    for name in SETS:
        best, own, compared, others, bounds, slowest = published(folder, name), 0, 0, 0, 0, 0.0
        with tarfile.open(folder / "data" / f"{name}_instances.tar.gz") as archive:
            members = sorted((member for member in archive.getmembers() if member.name.endswith(".vbp")), key=lambda member: member.name)
            sample = random.Random(SEED).sample(members, min(SAMPLE, len(members)))
            for member in sample:
                instance = pathlib.PurePath(member.name).stem
                bin_, kinds, demand = read(archive.extractfile(member).read().decode())
                started = time.perf_counter()
                least = lower_bound(bin_, kinds, demand)
                bins = solve(bin_, kinds, demand, least)
                seconds = time.perf_counter() - started
                own, bounds, slowest = own + bins, bounds + least, max(slowest, seconds)
                if instance in best:
                    compared, others = compared + bins, others + best[instance]
                figure("placement", f"vectorpack/{name}/{instance}", "bins", bins, "bins", lower_bound=least, items=int(demand.sum()),
                       published_best=best.get(instance), seconds=round(seconds, 2))
        say(f"vectorpack: {name}, {len(sample)} instances")
        figure("placement", f"vectorpack/{name}", "bins", own, "bins", lower_bound=bounds, gap_percent=round(100 * (own - bounds) / own, 2), instances=len(sample))
        if others:
            figure("placement", f"vectorpack/{name}", "bins_where_published", compared, "bins", f"< {others}", compared < others)
        figure("placement", f"vectorpack/{name}", "slowest_instance", math.ceil(100 * slowest) / 100, "s", "<= 10", slowest <= 10)
