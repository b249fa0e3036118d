# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators by the Operator Lifecycle Manager: subscribe, approve, wait for the CSV, read its examples."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.apply import Change, Options, apply
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError, NotReady
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.objects import Reference, owned
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.readiness import verdict
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.remove import Removal, remove

_SUBSCRIPTION = ("operators.coreos.com/v1alpha1", "Subscription")
_CSV = ("operators.coreos.com/v1alpha1", "ClusterServiceVersion")
_PLAN = ("operators.coreos.com/v1alpha1", "InstallPlan")
_GROUP = ("operators.coreos.com/v1", "OperatorGroup")


@dataclass(frozen=True)
class Operator:
    """An operator as wanted; `package` also names its Subscription."""

    package: str
    namespace: str
    component: str
    channel: str = ""
    source: str = ""
    source_namespace: str = "openshift-marketplace"
    starting_csv: str | None = None
    manual: bool = False  # new versions wait for approval; the one that is asked for is approved here


def subscribe(cluster: Cluster, operator: Operator, timeout_seconds: float, *,
              check: bool = False) -> tuple[list[Change], dict | None]:
    """Apply namespace, group and Subscription; returns the changes and the succeeded CSV (None in check mode on a
    cluster without it)."""
    changes = apply(cluster, _objects(cluster, operator), Options(operator.component), check=check)
    if not check:
        return changes, _wait(cluster, operator, timeout_seconds)
    subscription = cluster.get(*_SUBSCRIPTION, operator.package, operator.namespace)
    return changes, _installed(cluster, operator, subscription)


def unsubscribe(cluster: Cluster, operator: Operator, timeout_seconds: float, *, check: bool = False) -> list[Removal]:
    """Remove the Subscription if it is ours, and the CSV that it installed, which OLM itself leaves behind."""
    subscription = cluster.get(*_SUBSCRIPTION, operator.package, operator.namespace)
    objects = [_object(*_SUBSCRIPTION, operator.package, operator.namespace)]
    steps = remove(cluster, objects, timeout_seconds=timeout_seconds, check=check)
    if subscription and owned(subscription, operator.component):
        csv = (subscription.get("status") or {}).get("installedCSV")
        found = [_object(*_CSV, csv, operator.namespace)] if csv else []
        steps += remove(cluster, found, owned_only=False, timeout_seconds=timeout_seconds, check=check)
    return steps


def examples(csv: dict | None) -> list[dict]:
    """The custom resources that the CSV suggests (annotation alm-examples)."""
    text = ((csv or {}).get("metadata", {}).get("annotations") or {}).get("alm-examples") or "[]"
    try:
        return json.loads(text)
    except ValueError as error:
        raise ClusterError(f"the examples of {Reference.of(csv).text} are not JSON: {error}") from error


def _objects(cluster: Cluster, operator: Operator) -> list[dict]:
    spec = {"name": operator.package, "channel": operator.channel, "source": operator.source,
            "sourceNamespace": operator.source_namespace,
            "installPlanApproval": "Manual" if operator.manual else "Automatic"}
    if operator.starting_csv:
        spec["startingCSV"] = operator.starting_csv
    objects = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": operator.namespace}},
               {**_object(*_SUBSCRIPTION, operator.package, operator.namespace), "spec": spec}]
    # OLM accepts one group in a namespace and stops with two.
    groups = cluster.list(*_GROUP, operator.namespace)
    if not groups or any(owned(group, operator.component) for group in groups):
        objects.append({**_object(*_GROUP, operator.package, operator.namespace),
                        "spec": {"targetNamespaces": [operator.namespace]}})
    return objects


def _wait(cluster: Cluster, operator: Operator, timeout_seconds: float) -> dict:
    deadline = time.monotonic() + timeout_seconds
    while True:
        subscription = cluster.get(*_SUBSCRIPTION, operator.package, operator.namespace)
        found = verdict(subscription)
        csv = _installed(cluster, operator, subscription)
        if found.ready or csv:
            found = verdict(csv)
        if csv and found.ready:
            return csv
        if operator.manual and not csv:
            _approve(cluster, operator, (subscription or {}).get("status") or {})
        if time.monotonic() > deadline:
            raise NotReady(f"operator {operator.package} is not installed after {timeout_seconds:g} s: {found.reason}")
        time.sleep(2)


def _installed(cluster: Cluster, operator: Operator, subscription: dict | None) -> dict | None:
    name = ((subscription or {}).get("status") or {}).get("installedCSV")
    return cluster.get(*_CSV, name, operator.namespace) if name else None


def _approve(cluster: Cluster, operator: Operator, status: dict) -> None:
    # By the CSV's name, not by the Subscription's installPlanRef, which may point at an older plan; and only
    # in phase RequiresApproval: approving earlier makes OLM create the plan twice.
    wanted = operator.starting_csv or status.get("currentCSV")
    for plan in cluster.list(*_PLAN, operator.namespace):
        waiting = (plan.get("status") or {}).get("phase") == "RequiresApproval" and not plan["spec"].get("approved")
        if wanted and waiting and wanted in plan["spec"].get("clusterServiceVersionNames", []):
            cluster.patch(*_PLAN, plan["metadata"]["name"], operator.namespace, {"spec": {"approved": True}})


def _object(api_version: str, kind: str, name: str, namespace: str) -> dict:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}
