# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan's workloads as pods for the real scheduler, and where it bound them."""
from __future__ import annotations

import time

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand, Workload
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.enforcement import labels
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu import mig
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import enforce

QUANTITIES = {"cpu_milli": "cpu", "memory_bytes": "memory"}


def planned(plan: Plan, demand: Demand, namespace: str) -> list[dict]:
    """Return one pod per assignment, in the order of the waves, with the affinity and requests that the plan gives."""
    return [_pod(f"{one.workload}-{one.replica}", namespace, enforce.resources(plan, one.workload),
                 enforce.stanza(plan, demand, one.workload, one.replica), labels(one.workload))
            for one in starting(plan)]


def starting(plan: Plan) -> list[Assignment]:
    """Return the assignments in the order in which the plan starts them; what runs already comes first."""
    order = {name: (wave.number, place) for wave in plan.waves for place, name in enumerate(wave.starts)}
    return sorted(plan.assignments, key=lambda one: (*order.get(f"{one.workload}/{one.replica}", (0, 0)), one.workload, one.replica))


def bare(demand: Demand, namespace: str, scheduler: str = "default-scheduler") -> list[dict]:
    """Return the same workloads as a user would write them without a plan: requests, and nothing about nodes."""
    return [_pod(f"{workload.name}-{replica}", namespace, _requests(workload), {"schedulerName": scheduler})
            for workload in demand.workloads for replica in range(workload.replicas)]


def create(cluster: Cluster, namespace: str, pods: list[dict]) -> None:
    """Create a namespace and pods one after the other, so that the scheduler sees them in this order."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    for pod in pods:
        cluster.create(pod)


def bindings(cluster: Cluster, namespace: str, expected: int, timeout_seconds: float) -> dict[str, str]:
    """Return pod to node once as many are bound, or once nothing has been bound for a while, or at the time-out."""
    end = time.monotonic() + timeout_seconds
    found: dict[str, str] = {}
    quiet = 0
    while time.monotonic() < end and len(found) < expected and quiet < 8:
        time.sleep(1)
        now = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in cluster.list("v1", "Pod", namespace)
               if pod["spec"].get("nodeName")}
        quiet = quiet + 1 if len(now) == len(found) else 0
        found = now
    return found


def gpu_thousandths(demand: Demand, placed: set[str]) -> int:
    """Return the GPU share of the placed pods: a whole GPU counts 1000, a MIG slice by its memory slices of eight."""
    total = 0
    for workload in demand.workloads:
        request = workload.shapes[0].gpu
        if request is None:
            continue
        share = 1000
        if request.kind == "mig":
            share = mig.GEOMETRIES["H100-80GB"].profiles[request.profile].memory_slices * 125
        total += share * request.count * sum(f"{workload.name}-{replica}" in placed for replica in range(workload.replicas))
    return total


def _requests(workload: Workload) -> dict[str, str]:
    shape = workload.shapes[0]
    found = {QUANTITIES[name]: f"{value}m" if name == "cpu_milli" else str(value) for name, value in shape.requests.items()}
    if shape.gpu is not None:
        names = {"full": "nvidia.com/gpu", "mig": mig.resource_name(shape.gpu.profile), "passthrough": shape.gpu.resource}
        found[names[shape.gpu.kind]] = str(shape.gpu.count)
    return found


def _pod(name, namespace, requests, spec, own_labels=None):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": own_labels or {}},
            "spec": {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0, **spec, "containers": [
                {"name": "main", "image": "none.invalid/none", "resources": {"requests": requests, "limits": {
                    key: value for key, value in requests.items() if "/" in key}}}]}}
