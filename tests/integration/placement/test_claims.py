# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPUs that a DRA driver publishes: read from ResourceSlices, planned, and asked for by claims that the real apiserver admits and the real
scheduler allocates. The slices are a stand-in for a driver's."""
from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.control_plane
DRIVER, PRODUCT = "gpu.nvidia.com", "NVIDIA H100 80GB HBM3"
GIB = 1 << 30
NODES = {"dra-1": 1, "dra-2": 2}


@pytest.fixture(scope="module")
def cluster(control_plane):
    """Two nodes whose GPUs, one and two, are published by a driver only."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import connect
    connected = connect(str(control_plane), None)
    if not connected.serves("resource.k8s.io/v1", "ResourceSlice"):
        pytest.fail("the control plane does not serve resource.k8s.io/v1")
    classes = [{"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": name},
                "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{DRIVER}" && device.attributes["{DRIVER}"].type == "{kind}"'}}]}}
               for name, kind in ((DRIVER, "gpu"), ("mig.nvidia.com", "mig"))]
    slices = [{"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": f"{node}-gpus"}, "spec": {
        "driver": DRIVER, "nodeName": node, "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
        "devices": [{"name": f"gpu-{number}", "attributes": {"type": {"string": "gpu"}, "productName": {"string": PRODUCT}},
                     "capacity": {"memory": {"value": "81559Mi"}}} for number in range(count)]}} for node, count in NODES.items()]
    for name in NODES:
        control_plane.fake_node(name, labels={"pool": "dra"})
    for one in [*classes, *slices]:
        connected.create(one)
    yield connected
    for one in [*slices, *classes]:
        connected.delete(one["apiVersion"], one["kind"], one["metadata"]["name"])
    for name in NODES:
        control_plane.kubectl("delete", "node", name)


def planned(cluster, *counts):
    """Capacity, demand and plan for models that want so many GPUs each."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.cluster import capacity_reader
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand, GpuRequest, Shape, Workload
    from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker import check
    from ansible_collections.tandem.hybrid.plugins.module_utils.placement.solve import solve
    capacity = capacity_reader.read(cluster)
    demand = Demand([Workload(f"m-{number}", "model", [Shape("gpu", {"cpu_milli": 500}, GpuRequest("full", count, memory_bytes=40 * GIB))],
                              node_selector={"pool": "dra"}) for number, count in enumerate(counts)])
    plan = solve(capacity, demand)
    assert check(capacity, demand, plan) == []
    return capacity, demand, plan


def test_published_gpus_are_read(cluster):
    capacity, _demand, _plan = planned(cluster, 1)
    found = {node.name: [(gpu.product, gpu.memory_bytes, gpu.device_class) for gpu in node.gpus] for node in capacity.nodes if node.name in NODES}
    assert found == {name: [(PRODUCT, 81559 << 20, DRIVER)] * count for name, count in NODES.items()}


def test_the_manifests_of_models_claim_what_is_allocated_and_bound_as_planned(cluster):
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Shape
    from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.manifests import manifests
    from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.service import Need
    from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.sizing import ServedModel, Sized, Sizing
    _capacity, demand, plan = planned(cluster, 2, 1)
    assert {one.workload: one.node for one in plan.assignments} == {"m-0": "dra-2", "m-1": "dra-1"}
    need = Need(1, 0, 0, 0, 0, 0, GIB, 2 * GIB, 0, 500, 60)
    entries = [ServedModel(name=workload.name, image="none.invalid/llama", path="/models/m.gguf") for workload in demand.workloads]
    sized = [Sized(workload.name, None, 0, [Shape("gpu", {}, workload.shapes[0].gpu)], {"gpu": need}) for workload in demand.workloads]
    for manifest in manifests(entries, Sizing(sized), plan, "default"):
        cluster.create(manifest)
    end = time.monotonic() + 60
    bound = {}
    while len(bound) < 2 and time.monotonic() < end:
        time.sleep(0.5)
        bound = {pod["metadata"]["labels"]["tandem.hybrid/model"]: pod["spec"]["nodeName"] for pod in cluster.list("v1", "Pod", "default")
                 if "tandem.hybrid/model" in pod["metadata"].get("labels", {}) and pod["spec"].get("nodeName")}
    assert bound == {"m-0": "dra-2", "m-1": "dra-1"}
    results = [result for claim in cluster.list("resource.k8s.io/v1", "ResourceClaim", "default")
               for result in claim["status"]["allocation"]["devices"]["results"]]
    assert sorted((result["pool"], result["device"]) for result in results) == [("dra-1", "gpu-0"), ("dra-2", "gpu-0"), ("dra-2", "gpu-1")]
    # What is allocated is taken: whoever comes next finds nothing.
    assert "GPU" in planned(cluster, 2, 1, 1)[2].unplaced[0].conflict


@pytest.mark.parametrize("kind", ["full", "mig"])
def test_claims_of_either_kind_are_admitted(cluster, kind):
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.enforcement import device_claim
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, DeviceUse
    one = Assignment("m", "model", 0, "a", "gpu", [DeviceUse("g", "1g.10gb" if kind == "mig" else "")], device_class=DRIVER, product=PRODUCT)
    made = cluster.create({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate", "metadata": {"name": f"of-{kind}", "namespace": "default"},
                           "spec": device_claim(one)}, dry_run=True)
    exactly = made["spec"]["spec"]["devices"]["requests"][0]["exactly"]
    assert exactly["deviceClassName"] == ("mig.nvidia.com" if kind == "mig" else DRIVER) and exactly["count"] == 1
