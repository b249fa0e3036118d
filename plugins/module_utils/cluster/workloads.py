# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When workloads, nodes, virtual machines and volumes are ready. Pure; a rule returns the reasons why not."""

from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.quantity import quantity
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.status import (
    Expected,
    Failed,
    because,
    condition,
    conditions,
    phase,
    status_of,
)


def deployment(obj: dict, expected: Expected) -> list[str]:
    progressing = condition(obj, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return [f"its rollout is stuck{because(progressing)}"]
    return _replicas(obj, (obj.get("spec") or {}).get("replicas", 1), "availableReplicas")


def stateful_set(obj: dict, expected: Expected) -> list[str]:
    status = status_of(obj)
    reasons = _replicas(obj, (obj.get("spec") or {}).get("replicas", 1), "readyReplicas")
    if not reasons and status.get("currentRevision") != status.get("updateRevision"):
        reasons.append("runs two revisions")
    return reasons


def _replicas(obj: dict, wanted: int, available: str) -> list[str]:
    status = status_of(obj)
    if status.get("observedGeneration") is None:
        return ["its controller has not seen it yet"]
    updated, up, total = (status.get(name) or 0 for name in ("updatedReplicas", available, "replicas"))
    if updated < wanted:
        return [f"{updated} of {wanted} replicas are of the new revision"]
    if total > updated:
        return [f"{total - updated} replicas of the old revision remain"]
    return [] if up >= wanted else [f"{up} of {wanted} replicas are available"]


def daemon_set(obj: dict, expected: Expected) -> list[str]:
    status = status_of(obj)
    if status.get("observedGeneration") is None:
        return ["its controller has not seen it yet"]
    wanted = status.get("desiredNumberScheduled") or 0
    if not wanted:
        return ["no node matches it, so it runs nowhere"]
    updated, up = status.get("updatedNumberScheduled") or 0, status.get("numberAvailable") or 0
    if updated < wanted:
        return [f"{updated} of {wanted} pods are of the new revision"]
    return [] if up >= wanted else [f"{up} of {wanted} pods are available"]


def job(obj: dict, expected: Expected) -> list[str]:
    failed = condition(obj, "Failed")
    if failed.get("status") == "True":
        raise Failed(f"failed{because(failed)}")
    return conditions(obj, {"Complete": "True"})


def pod(obj: dict, expected: Expected) -> list[str]:
    if status_of(obj).get("phase") == "Succeeded":
        return []
    if status_of(obj).get("phase") == "Failed":
        raise Failed(f"failed{because(status_of(obj))}")
    return conditions(obj, {"Ready": "True"})


def node(obj: dict, expected: Expected) -> list[str]:
    reasons = conditions(obj, {"Ready": "True"})
    allocatable = status_of(obj).get("allocatable") or {}
    for name, amount in expected.resources.items():
        offered = allocatable.get(name, "0")
        if quantity(offered) < quantity(amount):
            reasons.append(f"offers {offered} of {name}, not {amount}")
    return reasons


def virtual_machine(obj: dict, expected: Expected) -> list[str]:
    # Its observedGeneration is that of the last start: a change that waits for a restart keeps it behind.
    reasons = phase(obj, ("Running",))
    if not reasons and not status_of(obj).get("ready"):
        reasons = conditions(obj, {"Ready": "True"}) or ["is not ready"]
    failure = condition(obj, "Failure")
    return reasons + ([f"failed{because(failure)}"] if failure.get("status") == "True" else [])


def virtual_machine_instance(obj: dict, expected: Expected) -> list[str]:
    reasons = phase(obj, ("Running",), failed=("Failed", "Succeeded"))
    return reasons + (conditions(obj, {"Ready": "True"}) if not reasons else _synchronized(obj))


def _synchronized(obj: dict) -> list[str]:
    found = condition(obj, "Synchronized")
    return [f"not synchronized{because(found)}"] if found.get("status") == "False" else []


def data_volume(obj: dict, expected: Expected) -> list[str]:
    reasons = phase(obj, ("Succeeded",), failed=("Failed",))
    progress = status_of(obj).get("progress")
    running = condition(obj, "Running")
    if reasons and progress and progress != "N/A":
        reasons[0] += f", at {progress}"
    if reasons and running.get("message"):
        reasons.append(running["message"])
    return reasons
