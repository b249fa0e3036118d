# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random tiny problems against exhaustive search and the independent checker."""
from __future__ import annotations

import itertools
import os
from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity, Gpu, Node, Running, Taint
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import (
    Affinity, Demand, Failover, GpuRequest, License, Policy, Shape, Spread, Toleration, Workload,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import conflicts, demand_conflicts, relax
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker import check
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import normalise
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.solve import solve

from . import exhaustive, leaves

EXAMPLES = int(os.environ.get("PLACEMENT_EXAMPLES", "20"))
MANY = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
GIB = 1 << 30


@st.composite
def problems(draw, gpus=False, share=False):
    nodes = []
    for number in range(draw(st.integers(1, 3))):
        devices, mode, modes = [], "", []
        if gpus:
            mode = draw(st.sampled_from(["container", "mig-mixed", "vm-passthrough"]))
            modes = ["container", "mig-mixed", "vm-passthrough"]
            devices = [Gpu(f"gpu-{index}", "NVIDIA-A30", memory_bytes=24 * GIB, resource="nvidia.com/GA100GL_A30_PCIE",
                           mig=draw(st.sampled_from([{}, {"1g.6gb": [0, 1]}, {"2g.12gb": [0, 2]}])) if mode == "mig-mixed" else {})
                       for index in range(draw(st.integers(1, 2)))]
        nodes.append(Node(f"n{number}", {"cpu_milli": draw(st.integers(1, 4)) * 1000, "memory_bytes": draw(st.integers(1, 4)) * GIB},
                          zone=draw(st.sampled_from(["z1", "z2"])), gpu_mode=mode, gpu_modes_possible=modes, gpus=devices,
                          taints=[Taint("dedicated", "db")] if draw(st.integers(0, 4)) == 0 else []))
    requests = [None, GpuRequest("full"), GpuRequest("mig", profile="1g.6gb"), GpuRequest("mig", profile="2g.12gb"),
                GpuRequest("passthrough", resource="nvidia.com/GA100GL_A30_PCIE")] if gpus else [None]
    workloads, running = [], []
    for number in range(draw(st.integers(1, 3))):
        shapes = [Shape(f"s{index}", {"cpu_milli": draw(st.integers(1, 3)) * 1000, "memory_bytes": draw(st.integers(1, 2)) * GIB},
                        draw(st.sampled_from(requests)), index) for index in range(draw(st.integers(1, 2)))]
        replicas = draw(st.sampled_from([1, 1, 1, 2])) if not gpus else 1
        workload = Workload(f"w{number}", "model", shapes, replicas=replicas, gang=draw(st.booleans()), priority=draw(st.integers(0, 2)),
                            products=["db"] if draw(st.integers(0, 4)) == 0 else [],
                            tolerations=[Toleration(operator="Exists")] if draw(st.integers(0, 2)) == 0 else [])
        workloads.append(workload)
        home = draw(st.sampled_from(nodes))
        fits = all(quantity <= home.allocatable[name] for name, quantity in shapes[0].requests.items())
        if draw(st.integers(0, 3)) == 0 and not gpus and fits and not home.taints and all(run.node != home.name for run in running):
            running.append(Running(workload.name, "", home.name, dict(shapes[0].requests)))
    names = [workload.name for workload in workloads]
    affinities, spreads = [], []
    if len(names) > 1 and draw(st.booleans()):
        affinities.append(Affinity("rule", names[:2], draw(st.booleans()), draw(st.sampled_from(
            ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]))))
    if draw(st.integers(0, 3)) == 0:
        spreads.append(Spread("spread", names[-1:], max_skew=1))
    order = Policy().objectives
    if share:
        order = draw(st.sampled_from([["gpu_share", *order], ["placed", "gpu_share", *order[1:]]]))
    policy = Policy(failover=[Failover(1)] if draw(st.booleans()) else [], objectives=order, allow_mode_changes=draw(st.booleans()), iterations=300)
    return Capacity(nodes, running), Demand(workloads, affinities, spreads, [License("license", "db", 1)], policy)


def verify(capacity, demand):
    plan = solve(capacity, demand)
    assert check(capacity, demand, plan) == []
    # Fail-over of licensed and spread workloads has finer rules than the exhaustive search knows.
    compare = demand.policy.objectives if not (demand.policy.failover and (demand.spreads or any(one.products for one in demand.workloads))) else ["placed"]
    best = exhaustive.best(capacity, demand)
    for level, true in zip(plan.levels, best, strict=True):
        if level.name not in compare:
            break
        optimum = -true if level.sense == "max" else true
        assert level.bound >= optimum if level.sense == "max" else level.bound <= optimum, (level, optimum)
        if level.ended_by == "proof":
            assert level.value == optimum, (level, optimum)
        if level.value != optimum:
            break
    return plan


@MANY
@given(problems())
def test_optimal_where_claimed_and_bounds_hold(problem):
    verify(*problem)


@MANY
@given(problems(gpus=True))
def test_optimal_where_claimed_with_gpus(problem):
    verify(*problem)


@MANY
@given(problems(gpus=True))
def test_the_core_alone_gives_valid_plans_and_bounds(problem):
    capacity, demand = problem
    plan = solve(capacity, demand, "core")
    assert check(capacity, demand, plan) == []
    exact = solve(capacity, demand)
    assert plan.levels[0].value <= exact.levels[0].value <= plan.levels[0].bound


@MANY
@given(problems(gpus=True, share=True))
def test_optimal_where_claimed_with_gpu_share_as_a_level(problem):
    verify(*problem)


@MANY
@given(problems(gpus=True, share=True))
def test_the_core_alone_bounds_gpu_share(problem):
    capacity, demand = problem
    plan = solve(capacity, demand, "core")
    assert check(capacity, demand, plan) == []
    exact = solve(capacity, demand)
    assert plan.levels[0].value <= exact.levels[0].value <= plan.levels[0].bound


@MANY
@given(problems(gpus=True))
def test_the_checker_rejects_every_mutated_plan(problem):
    capacity, demand = problem
    plan = solve(capacity, demand, "core")
    for what, broken in exhaustive.mutations(plan):
        assert check(capacity, demand, broken), what


@MANY
@given(problems(gpus=True))
def test_the_checker_rejects_a_change_of_any_field(problem):
    """Every number, word, flag and list entry of a plan, changed, left out or doubled; prose and digests excepted."""
    capacity, demand = problem
    plan = solve(capacity, demand, "core")
    for path, broken in leaves.changed(plan):
        if path not in leaves.ANOTHER_PLAN:
            assert check(capacity, demand, broken), path


@MANY
@given(problems(gpus=True))
def test_conflicts_are_minimal(problem):
    capacity, demand = problem
    plan = solve(capacity, demand)
    state_of = normalise(capacity, demand)
    for one in plan.unplaced:
        assert one.conflict and one.sentence and one.relaxation
    kinds = {(item.workload, item.replica): item.type for item in state_of.items}
    from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import State
    empty = State(state_of)
    for workload in demand.workloads:
        analysis = conflicts.Analysis(empty, kinds[workload.name, 0], workload)
        conflict = analysis.conflict()
        if conflict:
            assert analysis.infeasible(frozenset(conflict))
            assert not any(analysis.infeasible(frozenset(conflict) - {name}) for name in conflict)
            assert all(state_of.types[kinds[workload.name, 0]].eligible == () or empty.fit(kinds[workload.name, 0], node) is None
                       for node in range(len(state_of.nodes)) if node in state_of.types[kinds[workload.name, 0]].eligible)


@MANY
@given(problems())
def test_the_order_of_the_documents_does_not_matter_to_the_bytes(problem):
    capacity, demand = problem
    first = solve(capacity, demand)
    again = solve(replace(capacity), replace(demand))
    assert first == again


@MANY
@given(problems())
def test_conflicts_of_the_demand_are_the_smallest_and_relaxations_the_cheapest(problem):
    """Every set of named constraints tried by exhaustive search over the relaxed documents."""
    capacity, demand = problem
    plan = solve(capacity, demand)
    placed = Counter(one.workload for one in plan.assignments)
    for one in {one.workload: one for one in plan.unplaced}.values():
        subject = next(workload for workload in demand.workloads if workload.name == one.workload)
        count = subject.replicas if subject.gang else placed[subject.name] + 1
        question = relax.Question(capacity, demand, replace(subject, replicas=count), {name: n for name, n in placed.items() if name != subject.name})
        every = relax.names(question)
        if len(every) > 9:
            continue
        feasible = {kept: _everything_fits(*relax.without(question, frozenset(every) - kept)) for kept in map(frozenset, _subsets(every))}
        conflict, given_up = demand_conflicts.smallest(demand_conflicts.Oracle(question, demand_conflicts.places, [10_000]), conflicts.cost)
        if not conflict:
            assert feasible[frozenset(every)] or not feasible[frozenset()]
            continue
        assert not feasible[frozenset(conflict)] and all(feasible[frozenset(conflict) - {name}] for name in conflict)
        assert len(conflict) == min(len(kept) for kept, fits in feasible.items() if not fits)
        assert feasible[frozenset(every) - given_up]
        assert sum(map(conflicts.cost, given_up)) == min(sum(map(conflicts.cost, frozenset(every) - kept)) for kept, fits in feasible.items() if fits)


def _everything_fits(capacity, demand):
    best = exhaustive.best(capacity, demand)
    return best is not None and -best[0] == sum((1 + workload.priority) * workload.replicas for workload in demand.workloads)


def _subsets(names):
    return itertools.chain.from_iterable(itertools.combinations(names, size) for size in range(len(names) + 1))
