# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each feature of the model by itself; the checker agrees with every plan."""
from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import enforcement
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity, Gpu, NumaNode, Taint, Volume
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import (
    Affinity, Expression, Failover, GpuRequest, License, Policy, Preference, Shape, Spread, Toleration,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import enforce, questions
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker import check
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.solve import solve

from .estates import GIB, demand, h100, model, node, running, vm

A30 = "NVIDIA-A30"


def plan_of(capacity, wanted, engine="auto"):
    plan = solve(capacity, wanted, engine)
    assert check(capacity, wanted, plan) == []
    return plan


def where(plan):
    return {f"{one.workload}/{one.replica}": one.node for one in plan.assignments}


def policy(**fields):
    return Policy(iterations=300, **fields)


@pytest.fixture(params=["auto", "core"])
def engine(request):
    return request.param


def test_resources_of_any_name_are_counted(engine):
    fpga = replace(node("b"), allocatable={**node("b").allocatable, "example.com/fpga": 1, "hugepages-2Mi": GIB, "ephemeral_storage_bytes": GIB})
    wanted = vm("a")
    wanted = replace(wanted, shapes=[Shape("s", {"cpu_milli": 100, "example.com/fpga": 1, "hugepages-2Mi": GIB, "ephemeral_storage_bytes": GIB})])
    plan = plan_of(Capacity([node("a"), fpga]), demand(wanted, replace(wanted, name="b")), engine)
    assert where(plan) == {"a/0": "b"}
    assert plan.unplaced[0].workload == "b" and len(plan.unplaced[0].conflict) == 2 and "workload a" in plan.unplaced[0].conflict


def test_taints_and_tolerations(engine):
    capacity = Capacity([node("a", taints=[Taint("dedicated", "db")]), node("b", taints=[Taint("soft", "x", "PreferNoSchedule")])])
    plan = plan_of(capacity, demand(vm("open"), vm("db", node_selector={"kubernetes.io/hostname": "a"}, tolerations=[Toleration("dedicated", value="db")])), engine)
    assert where(plan) == {"open/0": "b", "db/0": "a"}


@pytest.mark.parametrize(("expression", "expected"), [
    (Expression("disk", "In", ["ssd"]), "a"), (Expression("disk", "NotIn", ["ssd"]), "b"), (Expression("disk", "Exists"), "a"),
    (Expression("disk", "DoesNotExist"), "b"), (Expression("cores", "Gt", ["8"]), "a"), (Expression("cores", "Lt", ["8"]), "b")])
def test_required_node_affinity(expression, expected):
    capacity = Capacity([node("a", labels={"disk": "ssd", "cores": "16"}), node("b", labels={"cores": "4"})])
    assert where(plan_of(capacity, demand(vm("one", required=[expression])))) == {"one/0": expected}


def test_preferred_node_affinity_decides_between_equals(engine):
    capacity = Capacity([node("a"), node("b", labels={"disk": "ssd"})])
    plan = plan_of(capacity, demand(vm("one", preferred=[Preference(50, [Expression("disk", "In", ["ssd"])])])), engine)
    assert where(plan) == {"one/0": "b"}


@pytest.mark.parametrize("fields", [{"ready": False}, {"unschedulable": True}, {"runs_vms": False}])
def test_nodes_that_take_no_vm(fields, engine):
    plan = plan_of(Capacity([node("a", **fields)]), demand(vm("one")), engine)
    assert len(plan.unplaced) == 1 and len(plan.unplaced[0].conflict) == 1


def test_shapes_are_alternatives_of_which_one_is_chosen(engine):
    capacity = Capacity([node("a", gpu_mode="container", gpus=[Gpu("g0", A30, memory_bytes=24 * GIB), Gpu("g1", A30, memory_bytes=24 * GIB)])])
    big, two = GpuRequest("full", memory_bytes=80 * GIB), GpuRequest("full", count=2, memory_bytes=20 * GIB)
    plan = plan_of(capacity, demand(model("llm", big, two)), engine)
    assert plan.assignments[0].shape == "shape1" and [use.gpu for use in plan.assignments[0].devices] == ["g0", "g1"]


def test_mig_slots_of_an_existing_layout(engine):
    capacity = Capacity([node("a", gpu_mode="mig-mixed", gpus=[h100(0, mig={"3g.40gb": [0, 4]}, used_slots=[0], used_by=["other"])])])
    wanted = demand(model("x", GpuRequest("mig", profile="3g.40gb")), model("y", GpuRequest("mig", profile="3g.40gb")))
    plan = plan_of(capacity, wanted, engine)
    assert [(use.profile, use.slot) for one in plan.assignments for use in one.devices] == [("3g.40gb", 4)]
    assert len(plan.unplaced) == 1


def test_layout_and_mode_are_chosen_with_the_assignment(engine):
    nodes = [node("a", gpu_mode="container", gpu_modes_possible=["container", "mig-mixed", "vm-passthrough"], gpus=[h100(0), h100(1)])]
    wanted = [model("s", GpuRequest("mig", profile="3g.40gb"), replicas=2), model("f", GpuRequest("full"))]
    kept = plan_of(Capacity(nodes), demand(*wanted, policy=policy()), engine)
    assert where(kept) == {"f/0": "a"} and not any(setting.changed for setting in kept.settings)
    plan = plan_of(Capacity(nodes), demand(*wanted, policy=policy(allow_mode_changes=True)), engine)
    assert len(plan.assignments) == 3
    setting = plan.settings[0]
    assert (setting.gpu_mode, setting.changed) == ("mig-mixed", True)
    assert sorted(setting.mig.values()) == [["3g.40gb@0", "3g.40gb@4"]]


def test_a_mode_does_not_change_under_a_user(engine):
    busy = [h100(0, used_by=["train"]), h100(1)]
    capacity = Capacity([node("a", gpu_mode="container", gpu_modes_possible=["container", "vm-passthrough"], gpus=busy)])
    plan = plan_of(capacity, demand(vm("v", gpu=GpuRequest("passthrough")), policy=policy(allow_mode_changes=True)), engine)
    assert plan.unplaced and plan.settings[0].changed is False


def test_companions_go_with_a_passed_gpu(engine):
    gpus = [Gpu("g0", "T4", companions=["g1"]), Gpu("g1", "T4", companions=["g0"])]
    plan = plan_of(Capacity([node("a", gpu_mode="vm-passthrough", gpus=gpus)]),
                   demand(vm("x", gpu=GpuRequest("passthrough")), vm("y", gpu=GpuRequest("passthrough"))), engine)
    assert len(plan.assignments) == 1


def test_time_sliced_replicas_are_not_capacity():
    capacity = Capacity([node("a", gpu_mode="time-sliced", gpus=[Gpu("g0", "T4")])])
    plan = plan_of(capacity, demand(model("m", GpuRequest("shared", milli=600), replicas=2)))
    assert len(plan.assignments) == 1 and any("not capacity" in note for note in plan.notes)


def test_vgpus_of_one_profile_share_a_device(engine):
    capacity = Capacity([node("a", gpu_mode="vm-vgpu", gpus=[Gpu("g0", "A10", vgpu={"A10-12Q": 2, "A10-24Q": 1})])])
    plan = plan_of(capacity, demand(vm("x", gpu=GpuRequest("vgpu", profile="A10-12Q"), replicas=3)), engine)
    assert len(plan.assignments) == 2


def test_single_numa_guests_fit_a_cell(engine):
    cells = [NumaNode(0, 4000, 8 * GIB), NumaNode(1, 4000, 8 * GIB)]
    wanted = vm("pinned", cpu=3000, memory=5, dedicated_cpus=3, single_numa=True, replicas=3)
    plan = plan_of(Capacity([node("a", cpu=12000, memory=32, numa=cells)]), demand(wanted), engine)
    assert sorted(one.numa for one in plan.assignments) == [0, 1] and plan.unplaced[0].conflict == ["NUMA cell", "cpu_milli", "its other replicas"]


def test_anti_affinity_keeps_apart_and_affinity_together(engine):
    capacity = Capacity([node("a"), node("b"), node("c")])
    plan = plan_of(capacity, demand(vm("x"), vm("y"), vm("p"), vm("q"), affinities=[
        Affinity("apart", ["x", "y"]), Affinity("near", ["p", "q"], apart=False)]), engine)
    at = where(plan)
    assert at["x/0"] != at["y/0"] and at["p/0"] == at["q/0"]


def test_a_wish_to_be_apart_gives_way(engine):
    plan = plan_of(Capacity([node("a")]), demand(vm("x"), vm("y"), affinities=[Affinity("wish", ["x", "y"], required=False)]), engine)
    assert len(plan.assignments) == 2 and next(level.value for level in plan.levels if level.name == "preferences") == 100


def test_topology_spread_keeps_the_skew(engine):
    capacity = Capacity([node("a", zone="z1"), node("b", zone="z1"), node("c", zone="z2", cpu=1000)])
    plan = plan_of(capacity, demand(vm("web", replicas=6), spreads=[Spread("even", ["web"])]), engine)
    zones = Counter({"a": "z1", "b": "z1", "c": "z2"}[one.node] for one in plan.assignments)
    assert zones == {"z1": 3, "z2": 2}


def test_gangs_are_whole_or_not_at_all(engine):
    plan = plan_of(Capacity([node("a", cpu=1000)]), demand(vm("gang", replicas=3, gang=True), vm("one")), engine)
    assert where(plan) == {"one/0": "a"}
    assert {one.workload for one in plan.unplaced} == {"gang"}


def test_a_license_binds_few_hosts(engine):
    capacity = Capacity([node("a", cpu=1000), node("b", cpu=1000), node("c", cpu=1000)])
    plan = plan_of(capacity, demand(vm("db", replicas=6, products=["oracle"]), licenses=[License("oracle-2", "oracle", 2, ["b", "c"])]), engine)
    assert {one.node for one in plan.assignments} == {"b", "c"} and len(plan.assignments) == 4
    assert all("oracle-2" in one.conflict for one in plan.unplaced)
    assert all(set(one.eligible) == {"b", "c"} for one in plan.assignments)


def test_volumes_bind_to_their_zone():
    capacity = Capacity([node("a", zone="z1"), node("b", zone="z2")], volumes=[Volume("data", "prod", zones=["z2"])])
    assert where(plan_of(capacity, demand(vm("db", volumes=["data"])))) == {"db/0": "b"}


def test_zones_limit_a_workload():
    assert where(plan_of(Capacity([node("a", zone="z1"), node("b", zone="z2")]), demand(vm("x", zones=["z2"])))) == {"x/0": "b"}


def test_priority_decides_who_is_placed(engine):
    plan = plan_of(Capacity([node("a", cpu=500)]), demand(vm("low"), vm("high", priority=10)), engine)
    assert where(plan) == {"high/0": "a"}


def test_groups_and_after_order_the_waves():
    capacity = Capacity([node("a", cpu=16000)])
    wanted = demand(vm("db", group="base"), vm("mq", group="base"), vm("app", after=["base"]), vm("web", after=["app"]), policy=policy(wave_moves_per_node=5))
    waves = {one.workload: one.wave for one in plan_of(capacity, wanted).assignments}
    assert waves["db"] == waves["mq"] < waves["app"] < waves["web"]


def test_waves_respect_the_caps():
    plan = plan_of(Capacity([node("a", cpu=16000), node("b", cpu=16000)]), demand(vm("x", replicas=7), policy=policy(wave_size=3, wave_moves_per_node=2)))
    for wave in plan.waves:
        nodes = Counter(next(one.node for one in plan.assignments if f"{one.workload}/{one.replica}" == name) for name in wave.starts)
        assert len(wave.starts) <= 3 and max(nodes.values()) <= 2


def test_n_plus_one_leaves_room_for_every_single_failure(engine):
    capacity = Capacity([node(name, cpu=2000) for name in "abc"])
    plan = plan_of(capacity, demand(vm("ha", replicas=4, priority=9), vm("bulk", replicas=8), policy=policy(failover=[Failover(9)])), engine)
    assert len(plan.assignments) == 12
    assert sum(len(failure.lost) for failure in plan.failures) == next(level.value for level in plan.levels if level.name == "failover")
    spare = plan_of(capacity, demand(vm("ha", replicas=4, priority=9), policy=policy(failover=[Failover(9)])), engine)
    assert not any(failure.lost for failure in spare.failures) and len(spare.failures) == 3


def test_n_plus_one_over_groups_of_nodes(engine):
    capacity = Capacity([node("a", zone="z1"), node("b", zone="z1"), node("c", zone="z2")])
    plan = plan_of(capacity, demand(vm("ha", replicas=3, priority=9), policy=policy(failover=[Failover(9, "topology.kubernetes.io/zone")])), engine)
    domains = {failure.domain: failure for failure in plan.failures}
    assert sorted(domains) == ["topology.kubernetes.io/zone=z1", "topology.kubernetes.io/zone=z2"]
    assert not any(failure.lost for failure in plan.failures)


def test_reserve_is_kept_free(engine):
    plan = plan_of(Capacity([node("a", cpu=1000)]), demand(vm("x", replicas=2), policy=policy(reserve_percent={"cpu_milli": 50})), engine)
    assert len(plan.assignments) == 1 and "reserve" in plan.unplaced[0].conflict


def test_overcommit_counts_vm_cpu_less(engine):
    plan = plan_of(Capacity([node("a", cpu=1000)]), demand(vm("x", replicas=4), model("m", None), policy=policy(vm_cpu_overcommit_percent=400)), engine)
    assert sum(one.workload == "x" for one in plan.assignments) == 4
    assert {one.requests["cpu_milli"] for one in plan.assignments if one.workload == "x"} == {125}


def test_running_workloads_hold_their_room_or_move(engine):
    capacity = Capacity([node("a", cpu=1000), node("b", cpu=1000)], running=[running("old", "a", cpu=600)])
    wanted = demand(vm("new", cpu=900, node_selector={"kubernetes.io/hostname": "a"}))
    assert plan_of(capacity, wanted, engine).unplaced
    movable = replace(capacity, running=[running("old", "a", cpu=600, move="live", kind="VM")])
    plan = plan_of(movable, wanted)
    assert where(plan) == {"new/0": "a"}
    assert [(move.workload, move.source, move.target, move.how) for wave in plan.waves for move in wave.moves] == [("prod/old", "a", "b", "live")]
    assert plan.waves[0].starts == [] and plan.waves[1].starts == ["new/0"]
    assert plan_of(movable, replace(wanted, policy=policy(max_moves=0))).unplaced


def test_a_second_plan_moves_nothing():
    capacity = Capacity([node("a"), node("b")])
    wanted = demand(vm("x", replicas=2), vm("y"))
    first = plan_of(capacity, wanted)
    ran = [running(f"{one.workload}-{one.replica}", one.node, owner=one.workload, kind="VM", move="live") for one in first.assignments]
    again = plan_of(replace(capacity, running=ran), wanted)
    assert sorted(where(again).values()) == sorted(where(first).values()) and again.waves == []


def test_cycles_of_moves_go_over_a_pivot():
    pairs = [running("p", "a", cpu=3000, move="live", kind="VM", eligible=["b", "c"]), running("q", "b", cpu=3000, move="live", kind="VM", eligible=["a", "c"])]
    capacity = Capacity([node("a"), node("b"), node("c", cpu=3500)], running=pairs)
    wanted = demand(vm("x", cpu=3400, node_selector={"kubernetes.io/hostname": "c"}), vm("pin-a", cpu=1000, node_selector={"kubernetes.io/hostname": "a"}))
    plan = plan_of(capacity, wanted)
    assert len(plan.assignments) == 2


def test_core_plans_are_valid_without_or_tools(monkeypatch):
    from ansible_collections.tandem.hybrid.plugins.module_utils.placement import exact
    monkeypatch.setattr(exact, "available", lambda: False)
    capacity = Capacity([node("a", cpu=1000, gpu_mode="container", gpus=[h100(0)])])
    plan = plan_of(capacity, demand(vm("x"), vm("y", cpu=600), vm("z")))
    assert plan.engine == "core" and any("OR-Tools" in note for note in plan.notes)


def test_stanza_requires_the_eligible_and_prefers_the_planned(engine):
    capacity = Capacity([node("a"), node("b")])
    wanted = demand(vm("x", tolerations=[Toleration("k", "Exists")]), vm("y"), affinities=[Affinity("apart", ["x", "y"])], policy=policy(failover=[Failover(0)]))
    plan = plan_of(capacity, wanted, engine)
    stanza = enforce.stanza(plan, wanted, "x")
    affinity = stanza["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]["matchExpressions"][0]
    assert terms["values"] == ["a", "b"]
    assert affinity["preferredDuringSchedulingIgnoredDuringExecution"][0]["weight"] == 100
    assert stanza["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]["labelSelector"] == {
        "matchExpressions": [{"key": "tandem.hybrid/workload", "operator": "In", "values": ["y"]}]}
    assert stanza["tolerations"] == [{"key": "k", "operator": "Exists"}]


def test_no_more_nodes_are_named_than_the_scheduler_compares():
    capacity = Capacity([node(f"n{number:03d}") for number in range(150)])
    plan = plan_of(capacity, demand(vm("x", priority=5), policy=policy(failover=[Failover(5)])), "core")
    one = plan.assignments[0]
    assert len(one.eligible) == 100 and one.node in one.eligible
    assert {target for failure in plan.failures for target in failure.restarts.values()} <= set(one.eligible)


def test_passthrough_is_pinned_unless_it_has_to_fail_over():
    gpu = GpuRequest("passthrough")
    capacity = Capacity([node(name, gpu_mode="vm-passthrough", gpus=[Gpu("g0", "T4", resource="nvidia.com/T4")]) for name in "ab"])
    assert plan_of(capacity, demand(vm("x", gpu=gpu))).assignments[0].pin
    covered = plan_of(capacity, demand(vm("x", gpu=gpu, priority=5), policy=policy(failover=[Failover(5)]))).assignments[0]
    assert not covered.pin and covered.eligible == ["a", "b"]


def test_dra_devices_become_a_claim():
    capacity = Capacity([node("a", gpu_mode="container", gpus=[h100(0, device_class="gpu.nvidia.com")])])
    wanted = demand(model("m", GpuRequest("full")))
    one = plan_of(capacity, wanted).assignments[0]
    assert one.resource == "" and "nvidia.com/gpu" not in enforce.resources(plan_of(capacity, wanted), "m")
    claim = enforcement.device_claim(one)
    exactly = claim["spec"]["devices"]["requests"][0]["exactly"]
    assert exactly["deviceClassName"] == "gpu.nvidia.com" and "NVIDIA-H100-80GB-HBM3" in exactly["selectors"][0]["cel"]["expression"]


def test_why_answers_for_workloads_and_nodes():
    capacity = Capacity([node("a"), node("b", taints=[Taint("dedicated", "db")])])
    wanted = demand(vm("x"))
    plan = plan_of(capacity, wanted)
    lines = questions.why(capacity, wanted, plan, "x")
    assert lines[0].startswith("x/0 is on a as vm, wave 1: ") and "  a: has room" in lines and "  b: taints" in lines
    assert questions.why(capacity, wanted, plan, "a")[0].startswith("x/0 as vm")


@pytest.mark.parametrize(("capacity", "wanted", "conflict", "relaxation"), [
    (Capacity([node("a", taints=[Taint("k", "v")])]), demand(vm("x")), ["taints"], "a toleration for the taints of node a"),
    (Capacity([node("a", unschedulable=True)]), demand(vm("x")), ["node schedulable"], "uncordon node a"),
    (Capacity([node("a", gpu_mode="container", gpus=[Gpu("g", A30, memory_bytes=24 * GIB)])]), demand(model("m", GpuRequest("full", memory_bytes=40 * GIB))),
     ["GPU"], "1 more full GPU of 40.00 GiB on node a"),
    (Capacity([node("a"), node("b")]), demand(vm("x", products=["o"]), licenses=[License("o-0", "o", 0)]), ["o-0"], "license o-0: 1 hosts instead of 0"),
])
def test_the_cheapest_way_out(capacity, wanted, conflict, relaxation):
    one = plan_of(capacity, wanted).unplaced[0]
    assert (one.conflict, one.relaxation) == (conflict, relaxation)


def test_the_smallest_conflict_of_the_whole_demand_is_named():
    """Six of seven fit; that db-1 and db-2 take both ssd nodes is what keeps db-3 out, not the others."""
    capacity = Capacity([node("a", cpu=4000, labels={"disk": "ssd"}), node("b", cpu=4000, labels={"disk": "ssd"}), node("c", cpu=8000)])
    databases = [vm(f"db-{number}", cpu=3000, required=[Expression("disk", "In", ["ssd"])], priority=3 - number) for number in range(3)]
    plan = plan_of(capacity, demand(*databases, *(vm(f"web-{number}", cpu=900) for number in range(4))))
    one = plan.unplaced[0]
    assert (one.workload, one.conflict) == ("db-2", ["cpu_milli", "node affinity", "workload db-0", "workload db-1"])
    assert one.sentence == "db-2/0 has no place: cpu_milli + node affinity + workload db-0 + workload db-1 can't be met together"
    assert one.relaxation == "node affinity to admit node c"


def test_rules_of_others_are_part_of_a_conflict():
    """z would fit beside x and y, were these not to be apart."""
    capacity = Capacity([node("a", cpu=2000), node("b", cpu=2000)])
    plan = plan_of(capacity, demand(vm("x", cpu=1000, priority=9), vm("y", cpu=1000, priority=8), vm("z", cpu=1500), affinities=[Affinity("far", ["x", "y"])]))
    one = plan.unplaced[0]
    assert (one.workload, one.conflict, one.relaxation) == ("z", ["cpu_milli", "far", "workload x", "workload y"], "500 more cpu_milli on any of a, b")


@pytest.mark.parametrize("kind", ["passthrough", "full"])
def test_what_holds_a_gpu_moves_by_a_restart_where_the_policy_allows_it(kind, engine):
    """The new one needs the GPU of node a, whose holder could as well be on b."""
    mode, make = ("vm-passthrough", vm) if kind == "passthrough" else ("container", lambda name, gpu, **fields: model(name, gpu, **fields))
    gpu = GpuRequest(kind)
    gpus = {name: [Gpu("g0", "T4", resource="nvidia.com/T4" if kind == "passthrough" else "", used_by=["old"] if name == "a" else [])] for name in "ab"}
    capacity = Capacity([node(name, gpu_mode=mode, gpus=gpus[name]) for name in "ab"], running=[
        running("old-1", "a", owner="old", devices=["g0"], move_cost=2)])
    old, new = make("old", gpu=gpu, live_migratable=False), make("new", gpu=gpu, live_migratable=False, node_selector={"kubernetes.io/hostname": "a"})
    assert plan_of(capacity, demand(old, new), engine).unplaced[0].workload == "new"
    wanted = demand(old, new, policy=policy(allow_restarts=True))
    plan = plan_of(capacity, wanted, engine)
    assert where(plan) == {"old/0": "b", "new/0": "a"}
    assert [(move.workload, move.target, move.how) for move in plan.waves[0].moves] == [("old/0", "b", "restart")]
    # The GPU is free only once its holder has left.
    assert plan.waves[0].starts == [] and plan.waves[1].starts == ["new/0"]
    assert next(level.value for level in plan.levels if level.name == "moves") == 6
    live = replace(plan, waves=[replace(plan.waves[0], moves=[replace(plan.waves[0].moves[0], how="live")]), plan.waves[1]])
    assert check(capacity, wanted, live) == ["wave 1: old/0 moves live, but can only restart"]
    at_once = replace(plan, waves=[replace(plan.waves[0], starts=["new/0"])], assignments=[replace(one, wave=1) for one in plan.assignments])
    assert "wave 1: new/0 takes a GPU of a before its holder has left" in check(capacity, wanted, at_once)
    stays = replace(old, restart=False)
    assert plan_of(capacity, replace(wanted, workloads=[stays, new]), engine).unplaced[0].workload == "new"
    assert check(capacity, demand(old, new), replace(plan, demand_digest="")) != []


def test_two_that_hold_gpus_change_places_by_stopping_both(engine):
    gpus = {name: [Gpu("g0", product, used_by=[holder])] for name, product, holder in (("a", "T4", "x"), ("b", "A10", "y"))}
    capacity = Capacity([node(name, gpu_mode="container", gpus=gpus[name]) for name in "ab"], running=[
        running("x-1", "a", owner="x", devices=["g0"]), running("y-1", "b", owner="y", devices=["g0"])])
    wanted = demand(*(model(name, GpuRequest("full"), live_migratable=False, node_selector={"kubernetes.io/hostname": other})
                      for name, other in (("x", "b"), ("y", "a"))), policy=policy(allow_restarts=True))
    plan = plan_of(capacity, wanted, engine)
    assert where(plan) == {"x/0": "b", "y/0": "a"}
    assert [sorted((move.workload, move.how) for move in wave.moves) for wave in plan.waves] == [[("x/0", "restart"), ("y/0", "restart")]]
