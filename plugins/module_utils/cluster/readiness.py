# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When an object is ready: rules that read generations, versions and reasons, not only a status word. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster import operators, workloads
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.status import (
    Expected,
    Failed,
    condition,
    conditions,
    generation,
    phase,
)

Rule = Callable[[dict, Expected], list[str]]


@dataclass(frozen=True)
class Verdict:
    """Ready or not and why; `failed` means that waiting will not help."""

    ready: bool
    reason: str
    failed: bool = False


def verdict(obj: dict | None, expected: Expected | None = None) -> Verdict:
    """Whether the object is ready, and if not, why."""
    expected = expected or Expected()
    if obj is None:
        return Verdict(False, "does not exist")
    if obj["metadata"].get("deletionTimestamp"):
        return Verdict(False, "is being deleted")
    group = obj["apiVersion"].rpartition("/")[0]
    rule = RULES.get((group, obj["kind"]), _generic)
    try:
        reasons = [] if rule is workloads.virtual_machine else generation(obj)
        if expected.conditions:
            reasons += conditions(obj, expected.conditions)
        elif expected.phases:
            reasons += phase(obj, expected.phases)
        else:
            reasons += rule(obj, expected)
    except Failed as error:
        return Verdict(False, str(error), failed=True)
    return Verdict(not reasons, "; ".join(reasons) or "ready")


def _phased(*wanted: str) -> Rule:
    return lambda obj, expected: phase(obj, wanted)


def _conditioned(**wanted: str) -> Rule:
    return lambda obj, expected: conditions(obj, wanted)


def _generic(obj: dict, expected: Expected) -> list[str]:
    # A kind without a rule: its Ready or Available condition where it has one, otherwise that it exists.
    for kind in ("Ready", "Available"):
        if condition(obj, kind):
            return conditions(obj, {kind: "True"})
    return []


RULES: dict[tuple[str, str], Rule] = {
    ("kubevirt.io", "KubeVirt"): operators.kubevirt,
    ("kubevirt.io", "VirtualMachine"): workloads.virtual_machine,
    ("kubevirt.io", "VirtualMachineInstance"): workloads.virtual_machine_instance,
    ("cdi.kubevirt.io", "CDI"): operators.cdi,
    ("cdi.kubevirt.io", "DataVolume"): workloads.data_volume,
    ("hco.kubevirt.io", "HyperConverged"): operators.hyperconverged,
    ("nvidia.com", "ClusterPolicy"): operators.cluster_policy,
    ("nvidia.com", "GPUCluster"): operators.state_ready,
    ("nvidia.com", "NVIDIADriver"): operators.state_ready,
    ("operators.coreos.com", "Subscription"): operators.subscription,
    ("operators.coreos.com", "ClusterServiceVersion"): operators.cluster_service_version,
    ("operators.coreos.com", "InstallPlan"): _phased("Complete"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _conditioned(NamesAccepted="True", Established="True"),
    ("apiregistration.k8s.io", "APIService"): _conditioned(Available="True"),
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("batch", "Job"): workloads.job,
    ("", "Pod"): workloads.pod,
    ("", "Node"): workloads.node,
    ("", "Namespace"): _phased("Active"),
    ("", "PersistentVolumeClaim"): _phased("Bound"),
}
