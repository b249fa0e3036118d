# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes objects to a Capacity document."""
from __future__ import annotations

import pytest

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster import capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.capacity_gpus import devices, from_slices, hold, mode

H100 = "NVIDIA-H100-80GB-HBM3"
GIB = 1 << 30


def node(name, allocatable=None, labels=None, **spec):
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec,
            "status": {"allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110", **(allocatable or {})},
                       "conditions": [{"type": "Ready", "status": "True"}]}}


def pod(name, where, requests, owner=None, labels=None, **spec):
    meta = {"name": name, "namespace": "prod", "labels": labels or {}}
    if owner:
        meta["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    return {"metadata": meta, "spec": {"nodeName": where, "containers": [{"resources": {"requests": requests}}], **spec},
            "status": {"phase": "Running"}}


def test_quantities_become_integers_in_named_units():
    found = capacity.build({"Node": [node("a", {"cpu": "3920m", "hugepages-2Mi": "1Gi", "example.com/fpga": "2"})], "Pod": []})
    assert found.nodes[0].allocatable == {"cpu_milli": 3920, "memory_bytes": 16 * GIB, "pods": 110, "hugepages-2Mi": GIB, "example.com/fpga": 2}
    assert found.nodes[0].ready


def test_requests_are_what_the_scheduler_counts():
    init = [{"resources": {"requests": {"cpu": "2"}}}, {"restartPolicy": "Always", "resources": {"requests": {"memory": "1Gi"}}}]
    one = pod("p", "a", {"cpu": "500m", "memory": "1Gi"}, initContainers=init, overhead={"memory": "1Mi"})
    assert capacity.requests(one) == {"cpu_milli": 2000, "memory_bytes": 2 * GIB + (1 << 20)}


@pytest.mark.parametrize(("labels", "counts", "expected"), [
    ({}, {}, ""),
    ({"nvidia.com/gpu.product": H100}, {"nvidia.com/gpu": 8}, "container"),
    ({"nvidia.com/gpu.product": H100}, {"nvidia.com/gpu": 1, "nvidia.com/mig-1g.10gb": 7}, "mig-mixed"),
    ({"nvidia.com/gpu.product": H100 + "-MIG-1g.10gb"}, {"nvidia.com/gpu": 7}, "mig-single"),
    ({"nvidia.com/gpu.product": "Tesla-T4-SHARED"}, {"nvidia.com/gpu": 4}, "time-sliced"),
    ({}, {"nvidia.com/GH100_H100_PCIE": 2}, "vm-passthrough"),
    ({}, {"nvidia.com/NVIDIA_A10-12Q": 4}, "vm-vgpu"),
])
def test_mode_of_a_node(labels, counts, expected):
    assert mode(labels, counts) == expected


def test_mixed_mig_is_unpacked_onto_devices():
    gpus = devices({"nvidia.com/gpu.product": H100, "nvidia.com/gpu.count": "2", "nvidia.com/gpu.memory": "81559"},
                   {"nvidia.com/gpu": 1, "nvidia.com/mig-1g.10gb": 7}, "mig-mixed")
    assert [(gpu.id, sorted(gpu.mig.get("1g.10gb", []))) for gpu in gpus] == [("gpu-0", []), ("gpu-1", list(range(7)))]
    assert gpus[0].product == H100 and gpus[0].memory_bytes > 70 * GIB


def test_passthrough_devices_have_the_name_and_memory_of_their_resource():
    gpus = devices({}, {"nvidia.com/GH100_H100_PCIE": 2}, "vm-passthrough")
    assert [(gpu.product, gpu.resource, gpu.memory_bytes) for gpu in gpus] == [("GH100_H100_PCIE", "nvidia.com/GH100_H100_PCIE", 79 * GIB)] * 2


def test_holders_are_counted_onto_devices():
    gpus = devices({"nvidia.com/gpu.product": H100, "nvidia.com/gpu.count": "2"}, {"nvidia.com/gpu": 1, "nvidia.com/mig-1g.10gb": 7}, "mig-mixed")
    gpus = hold(gpus, "mig-mixed", "nvidia.com/mig-1g.10gb", 2, "chat")
    gpus = hold(gpus, "mig-mixed", "nvidia.com/gpu", 1, "train")
    assert gpus[0].used_by == ["train"] and gpus[1].used_by == ["chat", "chat"] and gpus[1].used_slots == [0, 1]


def test_running_pods_and_vms():
    objects = {
        "Node": [node("a", labels={"kubevirt.io/schedulable": "true"}), node("b", labels={"kubevirt.io/schedulable": "false"})],
        "Pod": [pod("web-1", "a", {"cpu": "1"}, ("ReplicaSet", "web")), pod("done", "a", {"cpu": "1"}),
                pod("virt-launcher-db-x", "a", {"memory": "1Gi"}, ("VirtualMachineInstance", "db"), {"tandem.hybrid/vm": "db"},
                    nodeSelector={"kubevirt.io/schedulable": "true"})],
        "VirtualMachineInstance": [{"metadata": {"name": "db", "namespace": "prod"}, "status": {
            "nodeName": "a", "conditions": [{"type": "LiveMigratable", "status": "True"}]}}]}
    objects["Pod"][1]["status"]["phase"] = "Succeeded"
    found = capacity.build(objects)
    assert [node.runs_vms for node in found.nodes] == [True, False]
    assert [(run.name, run.kind, run.owner, run.move, run.eligible) for run in found.running] == [
        ("db", "VM", "db", "live", ["a"]), ("web-1", "Pod", "web", "fixed", [])]


def test_volumes_say_where_they_can_be_reached():
    terms = [{"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["z1"]}]}]
    found = capacity.build({
        "PersistentVolumeClaim": [{"metadata": {"name": "data", "namespace": "prod"}, "spec": {"volumeName": "pv", "storageClassName": "fast"}}],
        "PersistentVolume": [{"metadata": {"name": "pv"}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}}]})
    assert (found.volumes[0].claim, found.volumes[0].zones, found.volumes[0].storage_class) == ("data", ["z1"], "fast")


def test_resource_slices_are_devices():
    slices = [{"spec": {"nodeName": "a", "driver": "gpu.nvidia.com", "devices": [{
        "name": "gpu-0", "attributes": {"type": {"string": "gpu"}, "productName": {"string": H100}}, "capacity": {"memory": {"value": "80Gi"}}}]}}]
    assert [(gpu.id, gpu.product, gpu.memory_bytes) for gpu in from_slices(slices, "a")] == [("gpu-0", H100, 80 * GIB)]
    assert from_slices(slices, "b") == []


def test_modes_follow_the_cluster_policy():
    policy = {"spec": {"mig": {"strategy": "mixed"}, "sandboxWorkloads": {"enabled": True}}}
    found = capacity.build({"Node": [node("a", {"nvidia.com/gpu": "2"}, {"nvidia.com/gpu.product": H100})], "ClusterPolicy": [policy]})
    assert found.nodes[0].gpu_modes_possible == ["container", "mig-mixed", "vm-passthrough"]
