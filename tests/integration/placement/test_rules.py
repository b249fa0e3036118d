# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demand's rules about other pods on the real scheduler, before and after a node is lost.

The pods of VMs are made from the rendered VirtualMachine as virt-controller makes a launcher pod: labels, affinity, tolerations and
topology spread of the template. Models are the rendered Deployments, whose pods the real controller creates.
"""
from __future__ import annotations

import time
from collections import Counter

import pytest

pytestmark = pytest.mark.control_plane
# Two zones of two nodes.
NODES = {"rules-1": "east", "rules-2": "east", "rules-3": "west", "rules-4": "west"}
GIB = 1 << 30


@pytest.fixture(scope="module")
def cluster(control_plane):
    from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import connect
    for name, zone in NODES.items():
        control_plane.fake_node(name, labels={"pool": "rules", "topology.kubernetes.io/zone": zone})
    yield connect(str(control_plane), None)
    for name in NODES:
        control_plane.kubectl("delete", "node", name)


@pytest.fixture
def closed(cluster):
    """Cordon nodes; they are open again after the test."""
    taken = []

    def close(*names):
        for name in names:
            cluster.patch("v1", "Node", name, None, {"spec": {"unschedulable": True}})
            taken.append(name)
    yield close
    for name in taken:
        cluster.patch("v1", "Node", name, None, {"spec": {"unschedulable": None}})


@pytest.fixture
def namespace(cluster, request):
    name = request.node.name.replace("_", "-")[:40].strip("-")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    cluster.request("DELETE", f"/apis/apps/v1/namespaces/{name}/deployments")
    cluster.request("DELETE", f"/api/v1/namespaces/{name}/pods", query=[("gracePeriodSeconds", 0)])
    until(lambda: not cluster.list("v1", "Pod", name))


def vm(name, **fields):
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Shape, Workload
    return Workload(name, "vm", [Shape("vm", {"cpu_milli": 100, "memory_bytes": GIB})], node_selector={"pool": "rules"}, **fields)


def model(name, **fields):
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Shape, Workload
    return Workload(name, "model", [Shape("1xcpu", {"cpu_milli": 250, "memory_bytes": GIB})], node_selector={"pool": "rules"}, **fields)


def plan_of(cluster, *workloads, **rules):
    """The plan for the four nodes, with N+1 for everything, checked."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.cluster import capacity_reader
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand, Failover, Policy
    from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker import check
    from ansible_collections.tandem.hybrid.plugins.module_utils.placement.solve import solve
    demand = Demand(list(workloads), policy=Policy(failover=[Failover(0)], iterations=300), **rules)
    capacity = capacity_reader.read(cluster)
    plan = solve(capacity, demand)
    assert check(capacity, demand, plan) == [] and not plan.unplaced
    return plan


def launchers(plan, namespace):
    """One pod per VM, in the order of the waves, as virt-controller makes it of the rendered template."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import LegacyVm
    from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt import render
    from tests.bench import planned_pods
    pods = []
    for one in planned_pods.starting(plan):
        if one.kind != "vm":
            continue
        vm = LegacyVm(name=one.workload, id=one.workload, source="test", target_name=one.workload, memory_bytes=GIB)
        template = render.render(vm, render.Settings(namespace), one, plan.rules).virtual_machine["spec"]["template"]
        carried = {key: template["spec"][key] for key in ("affinity", "tolerations", "topologySpreadConstraints") if key in template["spec"]}
        pods.append({"apiVersion": "v1", "kind": "Pod",
                     "metadata": {"name": f"{one.workload}.0", "namespace": namespace, "labels": template["metadata"]["labels"]},
                     "spec": {**carried, "terminationGracePeriodSeconds": 0, "containers": [{
                         "name": "compute", "image": "none.invalid/none", "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}}]}})
    return pods


def deployments(plan, namespace, *names):
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Shape
    from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.manifests import manifests
    from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.service import Need
    from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.sizing import ServedModel, Sized, Sizing
    need = Need(0, 0, 0, 0, 0, 0, GIB, 2 * GIB, 0, 250, 60)
    entries = [ServedModel(name=name, image="none.invalid/llama", path="/models/m.gguf") for name in names]
    sized = [Sized(name, None, 0, [Shape("1xcpu", {})], {"1xcpu": need}) for name in names]
    return manifests(entries, Sizing(sized), plan, namespace)


def until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "timed out"
        time.sleep(0.3)
    return found


def bound(cluster, namespace, count):
    """VM (or pod of a model) to node once as many pods are bound."""
    def where():
        found = {pod["metadata"]["name"].partition(".")[0]: pod["spec"]["nodeName"] for pod in cluster.list("v1", "Pod", namespace)
                 if pod["spec"].get("nodeName") and not pod["metadata"].get("deletionTimestamp")}
        return found if len(found) == count else None
    return until(where)


def refused(cluster, namespace, name):
    """What kube-scheduler says of a restarted pod that it can't bind."""
    def message():
        pod = cluster.get("v1", "Pod", f"{name}.1", namespace)
        return next((item.get("message", "") for item in pod.get("status", {}).get("conditions") or []
                     if item["type"] == "PodScheduled" and item["status"] == "False"), "")
    return until(message)


def restart(cluster, namespace, pods, *names):
    """Delete the pods of VMs and create them anew, under another name as their controller does."""
    for name in names:
        cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}.0", query=[("gracePeriodSeconds", 0)])
    until(lambda: not {pod["metadata"]["name"] for pod in cluster.list("v1", "Pod", namespace)} & {f"{name}.0" for name in names})
    for pod in pods:
        name, _dot, number = pod["metadata"]["name"].partition(".")
        if name in names:
            cluster.create({**pod, "metadata": {**pod["metadata"], "name": f"{name}.{int(number) + 1}"}})


def planned(plan):
    return {one.workload: one.node for one in plan.assignments}


def test_vms_that_are_to_be_apart_stay_apart(cluster, namespace, closed):
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Affinity
    plan = plan_of(cluster, vm("db-1"), vm("db-2"), affinities=[Affinity("databases", ["db-1", "db-2"])])
    pods = launchers(plan, namespace)
    for pod in pods:
        cluster.create(pod)
    where = bound(cluster, namespace, 2)
    assert where == planned(plan)
    # Only the node of the other one is left: it must wait rather than join it there.
    closed(*(name for name in NODES if name != where["db-1"]))
    restart(cluster, namespace, pods, "db-2")
    assert "anti-affinity" in refused(cluster, namespace, "db-2")
    cluster.patch("v1", "Node", next(name for name in NODES if name not in where.values()), None, {"spec": {"unschedulable": None}})
    again = bound(cluster, namespace, 2)
    assert again["db-1"] == where["db-1"] and again["db-2"] not in where.values()


def test_a_vm_and_a_model_that_are_to_be_together_move_together(cluster, namespace, closed):
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Affinity
    plan = plan_of(cluster, vm("orders"), model("assistant"), affinities=[Affinity("near", ["assistant", "orders"], apart=False)])
    pods = launchers(plan, namespace)
    for manifest in [*pods, *deployments(plan, namespace, "assistant")]:
        cluster.create(manifest)
    home = planned(plan)["orders"]
    assert set(bound(cluster, namespace, 2).values()) == {home} == set(planned(plan).values())
    closed(home)
    restart(cluster, namespace, pods, "orders")
    assert "affinity" in refused(cluster, namespace, "orders")
    cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/pods", query=[("gracePeriodSeconds", 0)])
    until(lambda: len(cluster.list("v1", "Pod", namespace)) == 1)
    cluster.create({**pods[0], "metadata": {**pods[0]["metadata"], "name": "orders.2"}})
    assert len(set(bound(cluster, namespace, 2).values()) - {home}) == 1


def test_spread_vms_are_bound_as_planned_and_keep_the_skew(cluster, namespace, closed):
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Expression, Preference, Spread
    names = [f"web-{number}" for number in range(6)]
    # By name the first three are for one zone: if they came in that order, the second would be bound elsewhere.
    wishes = [[Preference(50, [Expression("topology.kubernetes.io/zone", "In", [zone])])] for zone in ["east"] * 3 + ["west"] * 3]
    plan = plan_of(cluster, *(vm(name, preferred=wish) for name, wish in zip(names, wishes, strict=True)), spreads=[Spread("web", names)])
    assert [NODES[planned(plan)[name]] for name in names] == ["east"] * 3 + ["west"] * 3
    pods = launchers(plan, namespace)
    for pod in pods:
        cluster.create(pod)
    where = bound(cluster, namespace, 6)
    assert where == planned(plan)
    closed(where["web-0"])
    lost = [name for name, node in where.items() if node == where["web-0"]]
    restart(cluster, namespace, pods, *lost)
    again = bound(cluster, namespace, 6)
    assert where["web-0"] not in again.values()
    assert Counter(NODES[node] for node in again.values()) == {"east": 3, "west": 3}


def test_a_spread_without_its_other_zone_does_not_hold_a_restart_up(cluster, namespace, closed):
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Spread
    plan = plan_of(cluster, vm("a"), vm("b"), spreads=[Spread("both", ["a", "b"])])
    pods = launchers(plan, namespace)
    for pod in pods:
        cluster.create(pod)
    where = bound(cluster, namespace, 2)
    assert where == planned(plan) and len({NODES[node] for node in where.values()}) == 2
    closed(*(name for name, zone in NODES.items() if zone == NODES[where["a"]]))
    restart(cluster, namespace, pods, "a")
    assert NODES[bound(cluster, namespace, 2)["a"]] == NODES[where["b"]]


def test_replicas_of_a_model_stay_apart(cluster, namespace, closed):
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Affinity
    plan = plan_of(cluster, model("chat", replicas=2), affinities=[Affinity("replicas", ["chat"])])
    for manifest in deployments(plan, namespace, "chat"):
        cluster.create(manifest)
    where = bound(cluster, namespace, 2)
    assert sorted(where.values()) == sorted(one.node for one in plan.assignments) and len(set(where.values())) == 2
    name, home = sorted(where.items())[0]
    closed(home)
    cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", query=[("gracePeriodSeconds", 0)])
    again = until(lambda: bound(cluster, namespace, 2) if name not in found_names(cluster, namespace) else None)
    assert len(set(again.values())) == 2 and home not in again.values()


def test_replicas_on_one_node_are_not_spread_by_default(cluster, namespace):
    """The scheduler's own default constraints for a Deployment's pods would outvote the preference."""
    plan = plan_of(cluster, model("many", replicas=12))
    assert len({one.node for one in plan.assignments}) == 1
    for manifest in deployments(plan, namespace, "many"):
        cluster.create(manifest)
    assert set(bound(cluster, namespace, 12).values()) == {plan.assignments[0].node}


def found_names(cluster, namespace):
    return {pod["metadata"]["name"] for pod in cluster.list("v1", "Pod", namespace)}
