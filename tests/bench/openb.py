# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Part "openb" of make bench-placement: the Alibaba GPU trace of 2023, one pod at a time and as a batch, with a proven bound."""
from __future__ import annotations

import csv
import pathlib
import resource
import time

import numpy
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import batch, batch_bound, batch_kernel

from . import openb_online as online
from .figures import FULL, figure, say

# By load in percent: a round weighs each type that waits, and at 130 % nearly all do.
ITERATIONS = {100: 2_000_000, 130: 1_000_000}
# The two packings of batch Tandem, by what goes first in the policy's order.
BATCH = {"Tandem batch, GPU share first": "gpu_share", "Tandem batch, count first": "placed"}
TYPICAL = 0.95
GAP_POINTS, FEWER_PERCENT = 0.15, 25
# Of GPU share: what is nearer to its proven bound than this many points is given up for workloads.
TOLERANCE_POINTS = 0.14
POLICIES = {"Random": (online.RANDOM, False), "BestFit": (online.BEST_FIT, True), "DotProd": (online.DOT_PRODUCT, True),
            "FGD by name": (online.FGD, True), "FGD random ties": (online.FGD, False), "Tandem online": (online.TANDEM, True)}


def read(folder: pathlib.Path, trace: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return nodes and pods as integers, in the layout of batch_kernel."""
    with open(folder / "openb_node_list_gpu_node.csv", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["sn"])
    models = {model: number for number, model in enumerate(sorted({row["model"] for row in rows}))}
    nodes = numpy.array([[int(row["gpu"]), models[row["model"]], int(row["cpu_milli"]), int(row["memory_mib"])] for row in rows])
    with open(folder / f"openb_pod_list_{trace}.csv", newline="") as file:
        pods = numpy.array([_pod(row, models) for row in csv.DictReader(file)])
    return nodes, pods


def _pod(row, models):
    gpus = int(row["num_gpu"])
    named = [models[model] for model in (row.get("gpu_spec") or "|".join(models)).split("|") if model in models]
    return [gpus, int(row["gpu_milli"] or 0) if gpus else 0, sum(1 << model for model in named), int(row["cpu_milli"]), int(row["memory_mib"])]


def arrivals(pods: numpy.ndarray, milli: float, seed: int) -> numpy.ndarray:
    """Return the pods that arrive, in order, that ask for `milli` of GPU in all: some left out, or drawn again, as the authors do."""
    draw = numpy.random.default_rng(seed)
    order, share = list(draw.permutation(len(pods))), pods[:, 0] * pods[:, 1]
    total = share.sum()
    while total > milli:
        total -= share[order.pop(int(draw.integers(len(order))))]
    while total + share[pod := int(draw.integers(len(pods)))] <= milli:
        total += share[pod]
        order.append(pod)
    return pods[draw.permutation(order)]


def typical(pods: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the kinds of pods (memory apart) that make up 95 % of the trace, and how often each comes: what FGD knows."""
    kinds, counts = numpy.unique(pods * [1, 1, 1, 1, 0], axis=0, return_counts=True)
    order = numpy.argsort(-counts, kind="stable")
    order = order[:int(numpy.searchsorted(numpy.cumsum(counts[order]), TYPICAL * len(pods))) + 1]
    return kinds[order], counts[order] / counts[order].sum()


def verify(nodes: numpy.ndarray, pods: numpy.ndarray, where: numpy.ndarray, devices: numpy.ndarray) -> None:
    """Fail unless every placed pod has its CPU, memory and GPUs of an admitted model, by sums of its own."""
    cpu, memory, used = numpy.zeros(len(nodes)), numpy.zeros(len(nodes)), numpy.zeros((len(nodes), 64))
    for pod, node, mask in zip(pods.tolist(), where.tolist(), devices.tolist(), strict=True):
        if node >= 0:
            cpu[node] += pod[3]
            memory[node] += pod[4]
            gpus = [gpu for gpu in range(64) if mask >> gpu & 1]
            used[node, gpus] += pod[1]
            assert len(gpus) == pod[0] and all(gpu < nodes[node, 0] for gpu in gpus)
            assert not gpus or pod[2] >> nodes[node, 1] & 1
    assert (cpu <= nodes[:, 2]).all() and (memory <= nodes[:, 3]).all() and (used <= 1000).all()


def batched(nodes: numpy.ndarray, pods: numpy.ndarray, iterations: int, first: str, least_share: int) -> tuple[int, int]:
    """Return the GPU share that batch Tandem places and the pods that it leaves out, verified."""
    types, demand = numpy.unique(pods, axis=0, return_counts=True)
    packing = batch.pack(nodes, types, demand, iterations, first=first, least_share=least_share)
    entries = [(node, entry) for node, count in enumerate(packing.count) for entry in range(count)]
    where, entry = numpy.array(entries).T
    kinds = packing.kinds[where, entry]
    assert (numpy.bincount(kinds, minlength=len(types)) + packing.left == demand).all()
    verify(nodes, types[kinds], where, packing.devices[where, entry])
    return int((types[kinds, 0] * types[kinds, 1]).sum()), int(packing.left.sum())


def case(folder: pathlib.Path, trace: str, seed: int, percent: int, start: float) -> dict[str, float]:
    """Print the figures of one trace, seed and load; `start` is what start-up took in seconds. Returns what the summary needs."""
    nodes, pods = read(folder, trace)
    total = int(nodes[:, 0].sum()) * 1000
    stream = arrivals(pods, total * percent / 100, seed)
    types, kinds = numpy.unique(stream, axis=0, return_inverse=True)
    name, share, often = f"openb/{trace}/seed{seed}/{percent}", stream[:, 0] * stream[:, 1], typical(pods)
    found = {}
    worth = online.values(*often)
    for policy, (number, by_name) in POLICIES.items():
        began = time.perf_counter()
        where, devices = online.play(nodes, types, kinds.ravel(), *often, number, by_name, seed, worth if number == online.TANDEM else 0 * worth)
        seconds = time.perf_counter() - began
        verify(nodes, stream, where, devices)
        found[policy] = 100 * int(share[where >= 0].sum()) / total, int((where < 0).sum()), seconds
    grouped = numpy.unique(stream, axis=0, return_counts=True)
    bound, fewest = 100 * batch_bound.share_bound(nodes, *grouped) / total, batch_bound.left_bound(nodes, *grouped)
    for planner, first in BATCH.items():
        began, cpu = time.perf_counter(), time.process_time()
        placed, left = batched(nodes, stream, ITERATIONS[percent], first, int((bound - TOLERANCE_POINTS) * total / 100))
        seconds, cpu = time.perf_counter() - began + start, time.process_time() - cpu
        found[planner] = 100 * placed / total, left, seconds
        figure("placement", name, "seconds", round(seconds, 1), "s", "<= 30", seconds <= 30, planner=planner, cpu_seconds=round(cpu, 1),
               start_seconds=round(start, 1))
    for policy, (allocated, unplaced, took) in found.items():
        figure("placement", name, "allocated_percent", round(allocated, 3), "%", planner=policy, unplaced=unplaced, seconds=round(took, 2))
    fgd = found["FGD by name"]
    # Within the bar of points no packing leaves out fewer than this: where FGD's bar asks for less, one packing can't meet both.
    least = batch_bound.left_bound(nodes, *grouped, int((bound - GAP_POINTS) * total / 100))
    both = least <= (1 - FEWER_PERCENT / 100) * fgd[1]
    figure("placement", name, "least_unplaced_within_gap_bar", least, "pods", fgd=fgd[1], both_bars_possible=both)
    for planner in BATCH:
        _against(name, planner, found[planner], fgd, bound, fewest, (percent == 100, percent == 100 and trace == "default"))
    shared, counted = (found[planner] for planner in BATCH)
    # With as much GPU share as the first packing has, no packing leaves out fewer: what count costs, and share.
    figure("placement", name, "least_unplaced_at_most_share", batch_bound.left_bound(nodes, *grouped, int(shared[0] * total / 100)), "pods",
           unplaced_share_first=shared[1], unplaced_count_first=counted[1], least_unplaced=fewest)
    online_gain = found["Tandem online"][0] - fgd[0]
    figure("placement", name, "online_points_above_fgd", round(online_gain, 3), "points", ">= 0", online_gain >= 0)
    return {"percent": percent, "gap": bound - shared[0]}


def _against(name, planner, own, fgd, bound, fewest, barred):
    """Print a packing against both bounds and against FGD; the bars hold for every load of 100 %, the one on points for one trace."""
    gap, better, fewer = bound - own[0], own[0] - fgd[0], 100 * (1 - own[1] / max(1, fgd[1]))
    figure("placement", name, "gap_points", round(gap, 3), "points", *((f"<= {GAP_POINTS}", gap <= GAP_POINTS) if barred[0] else ()), planner=planner,
           allocated_percent=round(own[0], 3), bound_percent=round(bound, 3))
    figure("placement", name, "gap_unplaced", own[1] - fewest, "pods", planner=planner, unplaced=own[1], bound=fewest)
    figure("placement", name, "points_above_fgd", round(better, 3), "points", *((">= 1.2", better >= 1.2) if barred[1] else ()), planner=planner)
    figure("placement", name, "fewer_unplaced_than_fgd", round(fewer, 1), "%", *((f">= {FEWER_PERCENT}", fewer >= FEWER_PERCENT) if barred[0] else ()), planner=planner,
           fgd=fgd[1], tandem=own[1])


def main(folder: pathlib.Path) -> None:
    """Print the figures of every trace below a folder of the trace's layout."""
    folder = folder / "data" / "csv" if (folder / "data" / "csv").is_dir() else folder
    traces = sorted(path.stem.removeprefix("openb_pod_list_") for path in folder.glob("openb_pod_list_*.csv"))
    if not FULL:
        traces = [trace for trace in ("default", "gpushare40", "multigpu30") if trace in traces] or traces[:3]
    began = time.perf_counter()
    nodes, pods = read(folder, traces[0])
    types, demand = numpy.unique(pods[:200], axis=0, return_counts=True)
    batch.pack(nodes[:20], types, demand, 10)
    start = time.perf_counter() - began
    say(f"openb: {len(traces)} traces; compiled in {start:.1f} s" + ("" if hasattr(batch_kernel.fill, "py_func") else "; numba is missing: slow"))
    results = []
    for trace in traces:
        for seed in (1, 2, 3) if FULL else (1,):
            for percent in ITERATIONS:
                say(f"openb: {trace} seed {seed} at {percent} %")
                results.append(case(folder, trace, seed, percent, start))
    for percent in ITERATIONS:
        gaps = [result["gap"] for result in results if result["percent"] == percent]
        mean = sum(gaps) / len(gaps)
        figure("placement", f"openb/all/{percent}", "mean_gap_points", round(mean, 3), "points",
               *(("<= 0.4", mean <= 0.4) if percent == 130 else ()), worst=round(max(gaps), 3), cases=len(gaps))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    figure("placement", "openb/all", "memory", round(memory, 2), "GiB", "<= 1.5", memory <= 1.5)
