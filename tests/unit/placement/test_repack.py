# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The batch engine inside the planner: it places more where room is scarce, and leaves alone what it can't express."""
from __future__ import annotations

import random

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity, Gpu, Node
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import (
    Affinity,
    Demand,
    GpuRequest,
    Policy,
    Shape,
    Workload,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import (
    batch_kernel,
    construct,
    exact,
    objective,
    repack,
    solve,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker import check
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import normalise

GIB = 1 << 30


def scarce(nodes=12, seed=1):
    """Return nodes that planted workloads fill to the last CPU, some with GPUs, and two workloads kept apart."""
    draw = random.Random(seed)
    fleet, wanted = [], []
    for number in range(nodes):
        gpus = [Gpu(f"gpu-{number}-{index}", "NVIDIA-A30", memory_bytes=24 * GIB) for index in range(2)] if number % 3 == 0 else []
        fleet.append(Node(f"n{number:02d}", {"cpu_milli": 32000, "memory_bytes": 64 * GIB, "pods": 110}, gpus=gpus, gpu_mode="shared" if gpus else ""))
        cuts, more = (sorted(draw.sample(range(1, 32), 4)) for _unused in range(2))
        parts = [(high - low, top - bottom) for low, high, bottom, top in zip([0, *cuts], [*cuts, 32], [0, *more], [*more, 32], strict=True)]
        shares = [GpuRequest("full"), GpuRequest("shared", milli=400), GpuRequest("shared", milli=600)] if gpus else []
        for index, (cpu, memory) in enumerate(parts):
            gpu = shares[index] if index < len(shares) else None
            wanted.append(Workload(f"w{number:02d}-{index}", "model", [Shape("only", {"cpu_milli": cpu * 1000, "memory_bytes": 2 * memory * GIB}, gpu)]))
    return Capacity(fleet), Demand(wanted, [Affinity("apart", [wanted[0].name, wanted[1].name])], policy=Policy(iterations=50))


@pytest.fixture()
def large(monkeypatch):
    """Every problem counts as too large for the complete proof; few rounds where nothing compiles them."""
    monkeypatch.setattr(exact, "MAX_VARIABLES", 0)
    if not hasattr(batch_kernel.fill, "py_func"):
        monkeypatch.setattr(repack, "available", lambda: True)
        monkeypatch.setattr(repack, "ROUNDS", 1000)


def test_it_places_more_than_any_construction_and_the_plan_holds(large):
    capacity, demand = scarce()
    problem = normalise(capacity, demand)
    constructed = min(objective.key(state) for state in construct.portfolio(problem))
    plan = solve.solve(capacity, demand)
    assert check(capacity, demand, plan) == []
    assert plan.levels[0].value > -constructed[0]
    assert any(note.startswith("the batch engine placed") for note in plan.notes)


def test_what_it_cannot_express_stays_where_it_is(large):
    capacity, demand = scarce()
    problem = normalise(capacity, demand)
    state = construct.construct(problem, construct.scarce_first, construct.tight)
    packed = repack.repack(state)
    ruled = [item for kind in problem.types if kind.rules for item in kind.items]
    assert ruled and all(packed.places.get(item) == state.places.get(item) for item in ruled)
    assert objective.values(packed)["placed"] >= objective.values(state)["placed"]
    assert min(map(min, packed.free)) >= 0


def test_the_same_plan_twice(large):
    capacity, demand = scarce()
    assert solve.solve(capacity, demand) == solve.solve(capacity, demand)


def test_where_everything_is_placed_it_has_nothing_to_do(large):
    capacity, demand = scarce()
    problem = normalise(capacity, Demand(demand.workloads[:5], policy=demand.policy))
    assert repack.repack(construct.construct(problem, construct.big_first, construct.tight)) is None


def trade():
    """Return two nodes on which either eight small workloads without a GPU or two of a whole GPU each fit, with the CPU that there is."""
    fleet = [Node(f"n{number}", {"cpu_milli": 8000, "memory_bytes": 64 * GIB, "pods": 110}, gpu_mode="container",
                  gpus=[Gpu(f"gpu-{number}", "NVIDIA-A30", memory_bytes=24 * GIB)]) for number in range(2)]
    wanted = [Workload(f"big-{number}", "model", [Shape("only", {"cpu_milli": 8000}, GpuRequest("full"))]) for number in range(2)]
    return Capacity(fleet), [*wanted, *(Workload(f"small-{number}", "vm", [Shape("only", {"cpu_milli": 2000})]) for number in range(8))]


@pytest.mark.parametrize(("first", "placed", "share"), [("placed", 8, 0), ("gpu_share", 2, 2000)])
def test_the_policy_says_whether_count_or_gpu_share_goes_first(large, first, placed, share):
    capacity, wanted = trade()
    order = [first, *({"placed", "gpu_share"} - {first})]
    demand = Demand(wanted, policy=Policy(objectives=order, iterations=50))
    other = construct.construct(normalise(capacity, demand), construct.big_first if first == "placed" else small_first, construct.tight)
    packed = repack.repack(other)
    assert [objective.values(packed)[name] for name in ("placed", "gpu_share")] == [placed, share]
    plan = solve.solve(capacity, demand)
    assert check(capacity, demand, plan) == []
    assert {level.name: level.value for level in plan.levels} == {"placed": placed, "gpu_share": share}
    assert plan.levels[0].ended_by == "proof"


def small_first(kind):
    """Order: small workloads before big ones, so that GPUs are left without CPU."""
    return kind.size
