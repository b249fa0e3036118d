# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does every workload run where the plan said, on the device that the plan gave it?"""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.verification import Check

MODEL_LABEL = "tandem.hybrid/model"


def look(cluster: Cluster, plan: Plan, namespace: str) -> list[Check]:
    """Return one check `placement` a workload and one check `device` for each that has devices; two list calls."""
    instances = {one["metadata"]["name"]: one for one in cluster.list("kubevirt.io/v1", "VirtualMachineInstance", namespace)}
    models: dict[str, list[dict]] = {}
    for pod in cluster.list("v1", "Pod", namespace, label_selector=MODEL_LABEL):
        if pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]:
            models.setdefault(pod["metadata"]["labels"][MODEL_LABEL], []).append(pod)
    workloads: dict[str, list[Assignment]] = {}
    for one in plan.assignments:
        workloads.setdefault(one.workload, []).append(one)
    checks = []
    for name, assigned in sorted(workloads.items()):
        checks += _model(name, assigned, models.get(name, [])) if assigned[0].kind == "model" else _vm(name, assigned[0], instances.get(name))
    return checks


def _vm(name, assignment, instance):
    status = (instance or {}).get("status") or {}
    node = status.get("nodeName", "") if status.get("phase") == "Running" else ""
    checks = [_placement(name, [assignment.node], [node] if node else [])]
    if assignment.resource:
        devices = (instance or {}).get("spec", {}).get("domain", {}).get("devices", {})
        held = [one["deviceName"] for kind in ("gpus", "hostDevices") for one in devices.get(kind) or []]
        checks.append(_device(name, assignment.resource, held.count(assignment.resource) if node else 0, max(1, len(assignment.devices))))
    return checks


def _model(name, assigned, pods):
    checks = [_placement(name, sorted(one.node for one in assigned), sorted(pod["spec"].get("nodeName", "") for pod in pods))]
    resource = assigned[0].resource
    if resource:
        held = sum(int(container.get("resources", {}).get("limits", {}).get(resource, 0)) for pod in pods for container in pod["spec"]["containers"])
        checks.append(_device(name, resource, held, sum(max(1, len(one.devices)) for one in assigned)))
    return checks


def _placement(name, planned, actual):
    good = planned == actual
    where = ", ".join(actual) or "nowhere"
    sentence = f"runs on {where}, as planned" if good else f"runs on {where}; the plan says {', '.join(planned)}"
    return Check("placement", name, good, sentence, data={"planned": planned, "actual": actual})


def _device(name, resource, held, wanted):
    return Check("device", name, held == wanted, f"holds {held} of {wanted} {resource}", data={"resource": resource, "held": held, "planned": wanted})
