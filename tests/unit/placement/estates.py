# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small capacities and demands that the tests share."""
from __future__ import annotations

from dataclasses import replace

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity, Gpu, Node, Running
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand, Failover, GpuRequest, Policy, Shape, Workload

GIB = 1 << 30
H100 = "NVIDIA-H100-80GB-HBM3"


def node(name, cpu=4000, memory=16, **fields):
    return Node(name, {"cpu_milli": cpu, "memory_bytes": memory * GIB, "pods": 110}, **fields)


def vm(name, cpu=500, memory=1, gpu=None, **fields):
    return Workload(name, "vm", [Shape("vm", {"cpu_milli": cpu, "memory_bytes": memory * GIB}, gpu)], namespace="prod", **fields)


def model(name, *gpus, cpu=500, memory=1, **fields):
    shapes = [Shape(f"shape{number}", {"cpu_milli": cpu, "memory_bytes": memory * GIB}, gpu) for number, gpu in enumerate(gpus)]
    return Workload(name, "model", shapes, namespace="prod", **fields)


def h100(number, **fields):
    return Gpu(f"GPU-{number}", H100, memory_bytes=80 * GIB, **fields)


def running(name, where, cpu=500, memory=1, **fields):
    return Running(name, "prod", where, {"cpu_milli": cpu, "memory_bytes": memory * GIB}, **fields)


def demand(*workloads, policy=None, **fields):
    return Demand(list(workloads), policy=policy or Policy(iterations=300), **fields)


def demo():
    """Return the demo of the collection: one container node with a whole GPU and MIG slices, one passthrough node, three VMs, two models."""
    passed = GpuRequest("passthrough", product="GH100_H100_PCIE", resource="nvidia.com/GH100_H100_PCIE")
    capacity = Capacity([
        node("lab-1", gpu_mode="mig-mixed", gpus=[h100(0), h100(1, mig={"1g.10gb": list(range(7))})]),
        node("lab-2", gpu_mode="vm-passthrough", gpus=[
            Gpu(f"GPU-{number}", "GH100_H100_PCIE", memory_bytes=80 * GIB, resource="nvidia.com/GH100_H100_PCIE") for number in (0, 1)]),
    ], running=[running("kube-proxy-1", "lab-1", 100, 0), running("kube-proxy-2", "lab-2", 100, 0)])
    wanted = demand(
        model("assistant", GpuRequest("mig", profile="1g.10gb"), after=["orders"]), vm("crm"),
        model("embedder", GpuRequest("full", memory_bytes=40 * GIB)), vm("orders", priority=100), vm("report", gpu=passed),
        policy=replace(Policy(iterations=300), failover=[Failover(100)]))
    return capacity, wanted
