# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Part "mixed" of make bench-placement: generated estates of VMs and models through the planner, with the checker's verdict; how time grows."""
from __future__ import annotations

import itertools
import math
import multiprocessing
import queue
import random
import resource
import time

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity, Gpu, Node, Running
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import (
    Affinity,
    Demand,
    Failover,
    GpuRequest,
    License,
    Policy,
    Shape,
    Workload,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker import check
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.solve import solve

from .figures import FULL, figure, say

SEED = 20261124
GIB = 1 << 30
H100 = "NVIDIA-H100-80GB-HBM3"
# vCPUs, GiB of memory, share in thousandths; workloads, nodes, seconds and gap in percent that the bars allow.
SIZES = ((1, 2, 250), (2, 4, 300), (2, 8, 150), (4, 16, 180), (8, 32, 90), (16, 64, 30))
CASES = [(100, 12, 2, 0.0), (1000, 110, 15, 0.5), (10_000, 1200, 60, 1.0), *([(100_000, 12_000, 300, 1.0)] if FULL else [])]
PATIENCE = 4
MOST_GIB = 4


def estate(count: int, nodes: int) -> tuple[Capacity, Demand]:
    """Return nodes of 64 CPUs, of ten one with whole GPUs and one in MIG slices, with load; 10 % with GPUs, 20 % in pairs kept apart."""
    draw = random.Random(SEED)
    found, wanted, affinities = [], [], []
    for number in range(nodes):
        gpus = [Gpu(f"GPU-{number}-{gpu}", H100, memory_bytes=80 * GIB, mig={"1g.10gb": list(range(7))} if number % 10 == 6 else {})
                for gpu in range(4 if number % 10 in (1, 6) else 0)]
        found.append(Node(f"node-{number:05d}", {"cpu_milli": 64000, "memory_bytes": 256 * GIB, "pods": 110}, gpus=gpus,
                          gpu_mode={1: "container", 6: "mig-mixed"}.get(number % 10, "")))
    for number in range(count):
        cpu, memory, _ = draw.choices(SIZES, [share for *_, share in SIZES])[0]
        gpu = None if number % 10 else GpuRequest("mig", profile="1g.10gb") if number % 20 else GpuRequest("full")
        wanted.append(Workload(f"work-{number:06d}", "model" if gpu else "vm", [Shape("only", {"cpu_milli": cpu * 1000, "memory_bytes": memory * GIB}, gpu)],
                               namespace="bench", priority=100 if number % 7 == 3 else 0, products=["database"] if number % 50 == 5 else []))
    for number in range(1, count - 1, 10):
        affinities.append(Affinity(f"apart-{number}", [wanted[number].name, wanted[number + 1].name]))
    load = [Running(f"agent-{node.name}", "system", node.name, {"cpu_milli": 2000, "memory_bytes": 4 * GIB}) for node in found]
    licenses = [License("database", "database", max(2, nodes // 4))]
    return Capacity(found, load), Demand(wanted, affinities, licenses=licenses, policy=Policy([Failover(100)]))


def measure(count: int, nodes: int, answers) -> None:
    """Plan one estate and send what came of it."""
    capacity, demand = estate(count, nodes)
    began, cpu = time.perf_counter(), time.process_time()
    plan = solve(capacity, demand)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    answers.put((seconds, cpu, memory, {level.name: [level.value, level.bound, round(100 * level.gap, 3), level.ended_by] for level in plan.levels},
                 len(plan.unplaced), check(capacity, demand, plan)[:3], plan.engine))


def main(_folder=None) -> None:
    """Print seconds and gaps of every size, each in a process of its own; a size that takes too long is given up and said so."""
    times: list[tuple[int, float]] = []
    context = multiprocessing.get_context("spawn")
    for count, nodes, limit, most in CASES:
        say(f"mixed: {count} workloads on {nodes} nodes")
        answers, name = context.Queue(), f"mixed/{count}x{nodes}"
        worker = context.Process(target=measure, args=(count, nodes, answers), daemon=True)
        worker.start()
        try:
            seconds, cpu, memory, levels, unplaced, violations, engine = answers.get(timeout=PATIENCE * limit + 30)
        except queue.Empty:
            figure("placement", name, "seconds", None, "s", f"<= {limit}", False, given_up_after_seconds=PATIENCE * limit + 30)
            continue
        finally:
            worker.terminate()
            worker.join()
        figure("placement", name, "seconds", round(seconds, 2), "s", f"<= {limit}", seconds <= limit, cpu_seconds=round(cpu, 2), engine=engine)
        figure("placement", name, "memory", round(memory, 2), "GiB", f"<= {MOST_GIB}", memory <= MOST_GIB)
        times.append((count, cpu))
        gap = levels["placed"][2]
        figure("placement", name, "placed_gap", gap, "%", f"<= {most}", gap <= most, unplaced=unplaced, levels=levels)
        figure("placement", name, "violations", len(violations), "violations", "== 0", not violations, first=violations)
    for (few, short), (many, long) in itertools.pairwise(times):
        figure("placement", f"mixed/{few}-{many}", "cpu_seconds_grow_as_workloads_to_the_power", round(math.log(long / short) / math.log(many / few), 2), "power")


if __name__ == "__main__":
    main()
