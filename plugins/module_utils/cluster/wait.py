# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until objects are ready, or gone; who gives up says which object, which pod and why.

It asks once a second or so: one GET costs the server less than a millisecond, and unlike a watch it needs no
care about broken connections, expired versions or an object that is created anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster import pods
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import NotReady
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.objects import Reference
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.readiness import Verdict, verdict
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.status import Expected

_INTERVALS_SECONDS = (0.2, 0.5, 1.0, 1.0, 2.0)
_POD_OWNERS = {("apps", "Deployment"), ("apps", "DaemonSet"), ("apps", "StatefulSet"), ("batch", "Job")}
_OPERANDS = {("kubevirt.io", "KubeVirt"), ("cdi.kubevirt.io", "CDI"), ("nvidia.com", "ClusterPolicy"),
             ("hco.kubevirt.io", "HyperConverged")}


@dataclass(frozen=True)
class Target:
    """What to wait for."""

    reference: Reference
    expected: Expected = field(default_factory=Expected)


def look(cluster: Cluster, targets: Sequence[Target]) -> list[Verdict]:
    """The verdict on each target now."""
    return [verdict(cluster.get(*target.reference.key), target.expected) for target in targets]


def wait(cluster: Cluster, targets: Sequence[Target], timeout_seconds: float, *,
         say: Callable[[str], None] = lambda _line: None) -> list[Verdict]:
    """Wait until every target is ready; NotReady says of each other one why, as soon as waiting is pointless.

    `say` gets a line whenever the reason of a target changes.
    """
    deadline = time.monotonic() + timeout_seconds
    reasons: dict[Reference, str] = {}
    for interval_seconds in _intervals():
        verdicts = look(cluster, targets)
        for target, found in zip(targets, verdicts, strict=True):
            if reasons.get(target.reference) != found.reason:
                reasons[target.reference] = found.reason
                say(f"{target.reference.text}: {found.reason}")
        if all(found.ready for found in verdicts):
            return verdicts
        if any(found.failed for found in verdicts) or time.monotonic() + interval_seconds > deadline:
            late = [(target, found) for target, found in zip(targets, verdicts, strict=True) if not found.ready]
            ended = "failed" if any(found.failed for _target, found in late) else f"not ready after {timeout_seconds:g} s"
            raise NotReady(f"{ended}: " + "; ".join(_explain(cluster, target, found) for target, found in late))
        time.sleep(interval_seconds)
    raise AssertionError("the intervals never end")


def wait_gone(cluster: Cluster, references: Sequence[Reference], timeout_seconds: float) -> None:
    """Wait until the objects do not exist; NotReady names the finalizers and namespace contents that hold them."""
    deadline = time.monotonic() + timeout_seconds
    left = list(references)
    for interval_seconds in _intervals():
        found = [(reference, obj) for reference in left if (obj := cluster.get(*reference.key)) is not None]
        left = [reference for reference, _obj in found]
        if not left:
            return
        if time.monotonic() + interval_seconds > deadline:
            raise NotReady(f"not gone after {timeout_seconds:g} s: "
                           + "; ".join(f"{reference.text}{_held(obj)}" for reference, obj in found))
        time.sleep(interval_seconds)


def _intervals():
    yield from _INTERVALS_SECONDS
    while True:
        yield _INTERVALS_SECONDS[-1]


def _held(obj: dict) -> str:
    finalizers = obj["metadata"].get("finalizers") or (obj.get("spec") or {}).get("finalizers") or []
    parts = [f"held by finalizer {', '.join(finalizers)}"] if finalizers else []
    parts += [entry["message"] for entry in (obj.get("status") or {}).get("conditions") or []
              if obj["kind"] == "Namespace" and entry.get("status") == "True" and entry.get("message")]
    return f" ({'; '.join(parts)})" if parts else ""


def _explain(cluster: Cluster, target: Target, found: Verdict) -> str:
    reference = target.reference
    troubles = pods.problems(_pods_of(cluster, reference)) + _last_warning(cluster, reference)
    return f"{reference.text} {found.reason}" + (f" [{'; '.join(troubles)}]" if troubles else "")


def _last_warning(cluster: Cluster, reference: Reference) -> list[str]:
    """The newest warning about the object, or one of its name such as a VM's instance."""
    events = cluster.list("v1", "Event", reference.namespace or "default",
                          field_selector=f"involvedObject.name={reference.name},type=Warning")
    newest = max(events, key=lambda event: event.get("lastTimestamp") or event["metadata"]["creationTimestamp"], default=None)
    return [f"last warning: {newest.get('reason')}: {newest.get('message')}"] if newest else []


def _pods_of(cluster: Cluster, reference: Reference) -> list[dict]:
    """The pods whose trouble explains the object's."""
    key = (reference.group, reference.kind)
    obj = cluster.get(*reference.key) or {}
    if key in _OPERANDS:
        # An operator's operands are in its namespace, whatever they are called in this version.
        namespace = reference.namespace or (obj.get("status") or {}).get("namespace")
        names = [namespace] if namespace else ["cdi"] if reference.kind == "CDI" else []
        return [pod for name in names for pod in cluster.list("v1", "Pod", name)]
    labels = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels")
    if key in _POD_OWNERS and labels:
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        return cluster.list("v1", "Pod", reference.namespace, label_selector=selector)
    if key == ("kubevirt.io", "VirtualMachine") or key == ("kubevirt.io", "VirtualMachineInstance"):
        return cluster.list("v1", "Pod", reference.namespace, label_selector=f"vm.kubevirt.io/name={reference.name}")
    return cluster.list("v1", "Pod", reference.namespace, field_selector=f"metadata.name={reference.name}") \
        if key == ("", "Pod") else []
