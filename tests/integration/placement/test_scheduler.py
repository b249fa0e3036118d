# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan against the real scheduler: read the cluster, plan, create the pods, and each is bound where the plan says."""
from __future__ import annotations

import time

import pytest

from tests.bench import estates, planned_pods

pytestmark = pytest.mark.control_plane


@pytest.fixture(scope="module")
def cluster(control_plane):
    """Ten nodes: of five, one has whole GPUs and MIG slices and one has GPUs for VMs."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import connect
    connected = connect(str(control_plane), None)
    for node in estates.nodes(10):
        connected.create(node)
    yield connected
    for node in estates.nodes(10):
        connected.delete("v1", "Node", node["metadata"]["name"])


def test_every_pod_is_bound_to_its_planned_node(cluster):
    from ansible_collections.tandem.hybrid.plugins.module_utils.cluster import capacity_reader
    from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker import check
    from ansible_collections.tandem.hybrid.plugins.module_utils.placement.solve import solve
    capacity = capacity_reader.read(cluster)
    mine = {node["metadata"]["name"] for node in estates.nodes(10)}
    assert mine <= {node.name for node in capacity.nodes}
    assert {node.gpu_mode for node in capacity.nodes if node.name in mine} == {"", "mig-mixed", "vm-passthrough"}
    demand = estates.demand(10, 60)
    plan = solve(capacity, demand)
    assert check(capacity, demand, plan) == []
    assert len(plan.assignments) >= 56
    pods = planned_pods.planned(plan, demand, "planned")
    planned_pods.create(cluster, "planned", pods)
    bound = planned_pods.bindings(cluster, "planned", len(pods), 60)
    assert bound == {f"{one.workload}-{one.replica}": one.node for one in plan.assignments}


def test_a_lost_node_leaves_the_pod_another_eligible_one(cluster):
    """Required to the eligible nodes and only preferred to the planned one: with the planned node closed it still finds a place."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.cluster import capacity_reader
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand, Failover, Policy, Shape, Workload
    from ansible_collections.tandem.hybrid.plugins.module_utils.placement.solve import solve
    demand = Demand([Workload("orders", "vm", [Shape("vm", {"cpu_milli": 100, "memory_bytes": 1 << 28})], priority=100)],
                    policy=Policy(failover=[Failover(100)]))
    plan = solve(capacity_reader.read(cluster), demand)
    home = plan.assignments[0].node
    cluster.patch("v1", "Node", home, None, {"spec": {"unschedulable": True}})
    planned_pods.create(cluster, "failover", planned_pods.planned(plan, demand, "failover"))
    bound = planned_pods.bindings(cluster, "failover", 1, 60)
    cluster.patch("v1", "Node", home, None, {"spec": {"unschedulable": None}})
    assert bound["orders-0"] in set(plan.assignments[0].eligible) - {home}
    assert len(plan.failures) >= 10 and all(not failure.lost for failure in plan.failures)


def test_the_reader_needs_no_more_than_its_cluster_role(cluster, control_plane, tmp_path):
    """With the shipped ClusterRole alone the cluster can be read; without it, one sentence says what is missing."""
    import json
    import pathlib

    import yaml
    from ansible_collections.tandem.hybrid.plugins.module_utils.cluster import capacity_reader
    from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import connect
    from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError
    rules = pathlib.Path(__file__).resolve().parents[3] / "roles" / "plan" / "files" / "rbac.yml"
    control_plane.kubectl("create", "serviceaccount", "planner", "-n", "default")
    token = control_plane.kubectl("create", "token", "planner", "-n", "default").strip()
    config = json.loads(control_plane.kubectl("config", "view", "--raw", "-o", "json"))
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = tmp_path / "planner.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(ClusterError):
        capacity_reader.read(connect(str(path), None))
    control_plane.kubectl("apply", "-f", str(rules))
    control_plane.kubectl("create", "clusterrolebinding", "planner", "--clusterrole=tandem-planner", "--serviceaccount=default:planner")
    time.sleep(1)
    assert len(capacity_reader.read(connect(str(path), None)).nodes) >= 10
