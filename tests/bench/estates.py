# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated clusters and demands for the real scheduler: nodes with whole GPUs, MIG slices and passthrough GPUs; VMs and models on them."""
from __future__ import annotations

import random

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand, GpuRequest, Policy, Shape, Workload

GIB = 1 << 30
SEED = 20261124
H100 = "NVIDIA-H100-80GB-HBM3"
PASSED = "nvidia.com/GH100_H100_PCIE"
# vCPUs, GiB of memory, share in thousandths: the usual sizes of small to large VMs.
SIZES = ((1, 2, 250), (2, 4, 300), (2, 8, 150), (4, 16, 180), (8, 32, 90), (16, 64, 30))


def nodes(count: int) -> list[dict]:
    """Return Kubernetes nodes: of ten, six without GPUs, two with 3 whole GPUs and one in MIG slices, two with 4 GPUs for VMs."""
    found = []
    for number in range(count):
        name = f"node-{number:04d}"
        resources = {"cpu": "32", "memory": "128Gi", "pods": "110"}
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "topology.kubernetes.io/zone": f"zone-{number % 3}"}
        if number % 5 == 1:
            resources |= {"nvidia.com/gpu": "3", "nvidia.com/mig-1g.10gb": "3", "nvidia.com/mig-2g.20gb": "2"}
            labels |= {"nvidia.com/gpu.product": H100, "nvidia.com/gpu.count": "4", "nvidia.com/gpu.memory": "81559"}
        if number % 5 == 3:
            resources |= {PASSED: "4"}
            labels |= {"nvidia.com/gpu.workload.config": "vm-passthrough"}
        found.append({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
                      "status": {"capacity": resources, "allocatable": resources, "conditions": [{
                          "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastHeartbeatTime": "2026-01-01T00:00:00Z",
                          "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
    return found


def demand(node_count: int, pod_count: int, seed: int = SEED) -> Demand:
    """Return VMs and models for that many nodes: as many GPUs are asked for as there are."""
    dice = random.Random(seed)
    gpu_nodes = node_count // 5
    wanted = [("model", GpuRequest("full", memory_bytes=40 * GIB), 8, 30)] * (gpu_nodes * 3)
    wanted += [("model", GpuRequest("mig", profile="2g.20gb"), 2, 8)] * (gpu_nodes * 2)
    wanted += [("model", GpuRequest("mig", profile="1g.10gb"), 1, 4)] * (gpu_nodes * 3)
    wanted += [("vm", GpuRequest("passthrough", resource=PASSED), 4, 24)] * (gpu_nodes * 4)
    while len(wanted) < pod_count:
        cpus, memory, _ = dice.choices(SIZES, [share for _, _, share in SIZES])[0]
        wanted.append(("vm", None, cpus, memory))
    wanted = wanted[:pod_count]
    dice.shuffle(wanted)
    workloads = []
    for number, (kind, gpu, cpus, memory) in enumerate(wanted):
        # A launcher pod asks for a tenth of its vCPUs, a server for all of them.
        cpu = cpus * 100 if kind == "vm" else cpus * 1000
        workloads.append(Workload(f"w-{number:05d}", kind, [Shape("only", {"cpu_milli": cpu, "memory_bytes": memory * GIB + (280 << 20)}, gpu)],
                                  namespace="bench", live_migratable=gpu is None))
    return Demand(workloads, policy=Policy(wave_size=pod_count, wave_moves_per_node=pod_count, iterations=500))
