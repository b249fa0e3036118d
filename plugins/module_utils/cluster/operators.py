# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When operators and what they run are ready. Pure; a rule returns the reasons why not."""

from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.status import (
    OPERATOR_CONDITIONS,
    Expected,
    Failed,
    because,
    condition,
    conditions,
    phase,
    same_version,
    status_of,
)


def kubevirt(obj: dict, expected: Expected) -> list[str]:
    # Available is True in the middle of an upgrade as well, so the versions decide.
    status = status_of(obj)
    return (phase(obj, ("Deployed",)) + conditions(obj, OPERATOR_CONDITIONS)
            + same_version(status.get("observedKubeVirtVersion"), status.get("targetKubeVirtVersion"), expected.version))


def cdi(obj: dict, expected: Expected) -> list[str]:
    status = status_of(obj)
    return (phase(obj, ("Deployed",)) + conditions(obj, OPERATOR_CONDITIONS)
            + same_version(status.get("observedVersion"), status.get("targetVersion"), expected.version))


def hyperconverged(obj: dict, expected: Expected) -> list[str]:
    reasons = conditions(obj, {"ReconcileComplete": "True", **OPERATOR_CONDITIONS})
    versions = {entry.get("name"): entry.get("version") for entry in status_of(obj).get("versions") or []}
    if expected.version and versions.get("operator") != expected.version:
        reasons.append(f"its operator is of version {versions.get('operator') or 'none'}, not {expected.version}")
    return reasons


def cluster_policy(obj: dict, expected: Expected) -> list[str]:
    # `state: ready` is also written when no node has a GPU or none is labelled: the reason tells.
    state, ready, error = status_of(obj).get("state"), condition(obj, "Ready"), condition(obj, "Error")
    if state == "ignored":
        raise Failed("is ignored: another ClusterPolicy exists, and the operator follows the oldest")
    reason = ready.get("reason")
    if reason == "NoGPUNodes":
        return ["no node has an NVIDIA GPU (NoGPUNodes)"]
    if reason == "NFDLabelsMissing":
        return ["no node has the labels of Node Feature Discovery (NFDLabelsMissing)"]
    if state == "ready" and ready.get("status") == "True" and reason == "Reconciled":
        return []
    trouble = error if error.get("status") == "True" else ready
    return [f"is {state or 'not reported'}{because(trouble)}"]


def state_ready(obj: dict, expected: Expected) -> list[str]:
    state = status_of(obj).get("state")
    return [] if state == "ready" else [f"is {state or 'not reported'}{because(condition(obj, 'Error'))}"]


def subscription(obj: dict, expected: Expected) -> list[str]:
    status = status_of(obj)
    if not status.get("installedCSV"):
        trouble = next((entry for entry in status.get("conditions") or []
                        if entry.get("status") == "True" and entry.get("message")), {})
        return [f"has installed nothing yet, state {status.get('state') or 'not reported'}{because(trouble)}"]
    if status["installedCSV"] != status.get("currentCSV"):
        return [f"{status['installedCSV']} is installed, {status.get('currentCSV')} is next ({status.get('state')})"]
    return []


def cluster_service_version(obj: dict, expected: Expected) -> list[str]:
    status = status_of(obj)
    detail = because(status) if status.get("phase") != "Succeeded" else ""
    return [reason + detail for reason in phase(obj, ("Succeeded",))]
