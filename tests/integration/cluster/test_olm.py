# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subscribing against a real API server, with a stand-in for the Operator Lifecycle Manager."""
from __future__ import annotations

import json
import pathlib
import threading
import uuid

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.apply import Options, apply
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import connect
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import NotReady, Refused
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.manifests import read
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.olm import (
    Operator,
    examples,
    subscribe,
    unsubscribe,
)

pytestmark = pytest.mark.control_plane
CRDS = pathlib.Path(__file__).resolve().parents[3].parent / "shared" / "contracts" / "crds" / "olm"
V1ALPHA1 = "operators.coreos.com/v1alpha1"
EXAMPLE = {"apiVersion": "example.com/v1", "kind": "Policy", "metadata": {"name": "policy"}, "spec": {"on": True}}


@pytest.fixture(scope="module")
def cluster(control_plane):
    if not CRDS.exists():
        pytest.skip("the definitions of OLM are not here")
    cluster = connect(str(control_plane))
    apply(cluster, read(str(CRDS)), Options("test"))
    return cluster


@pytest.fixture
def operator(cluster):
    name = f"olm-{uuid.uuid4().hex[:8]}"
    yield Operator("thing", name, "test", "stable", "catalog")
    cluster.delete("v1", "Namespace", name)


def stand_in(kubeconfig, namespace, stop):
    """Does with Subscriptions and InstallPlans in one namespace what OLM does."""
    cluster = connect(str(kubeconfig))
    while not stop.wait(0.1):
        for subscription in cluster.list(V1ALPHA1, "Subscription", namespace):
            try:
                install(cluster, subscription, namespace)
            except Refused as error:
                if error.status != 404:  # the subscription may be deleted meanwhile
                    raise


def install(cluster, subscription, namespace):
    status = {"subresource": "status"}
    name, csv = subscription["metadata"]["name"], subscription["spec"].get("startingCSV", "thing.v2")
    plans = {plan["metadata"]["name"]: plan for plan in cluster.list(V1ALPHA1, "InstallPlan", namespace)}
    for plan_csv in ("thing.v1-old", csv):
        if plan_csv not in plans:
            approved = subscription["spec"]["installPlanApproval"] == "Automatic"
            cluster.create({"apiVersion": V1ALPHA1, "kind": "InstallPlan",
                            "metadata": {"name": plan_csv, "namespace": namespace},
                            "spec": {"approval": subscription["spec"]["installPlanApproval"], "approved": approved,
                                     "clusterServiceVersionNames": [plan_csv]}})
            cluster.patch(V1ALPHA1, "InstallPlan", plan_csv, namespace, {"status": {
                "phase": "RequiresApproval", "catalogSources": []}}, **status)
    cluster.patch(V1ALPHA1, "Subscription", name, namespace, {"status": {
        "currentCSV": csv, "state": "UpgradePending", "lastUpdated": "2026-01-01T00:00:00Z"}}, **status)
    if plans.get(csv, {}).get("spec", {}).get("approved") and not cluster.get(
            V1ALPHA1, "ClusterServiceVersion", csv, namespace):
        cluster.create({"apiVersion": V1ALPHA1, "kind": "ClusterServiceVersion",
                        "metadata": {"name": csv, "namespace": namespace,
                                     "annotations": {"alm-examples": json.dumps([EXAMPLE])}},
                        "spec": {"displayName": "Thing", "install": {"strategy": "deployment"}}})
        cluster.patch(V1ALPHA1, "ClusterServiceVersion", csv, namespace, {"status": {"phase": "Succeeded"}}, **status)
        cluster.patch(V1ALPHA1, "Subscription", name, namespace, {"status": {
            "installedCSV": csv, "state": "AtLatestKnown"}}, **status)


@pytest.fixture
def olm(control_plane, operator):
    stop = threading.Event()
    thread = threading.Thread(target=stand_in, args=(control_plane, operator.namespace, stop))
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.parametrize("manual", [False, True])
def test_the_wanted_version_is_installed_and_its_examples_read(cluster, operator, olm, manual):
    operator = Operator(**{**vars(operator), "manual": manual, "starting_csv": "thing.v1"})
    changes, csv = subscribe(cluster, operator, 20)
    assert {change.action for change in changes} == {"created"} and csv["metadata"]["name"] == "thing.v1"
    assert examples(csv) == [EXAMPLE]
    again, _csv = subscribe(cluster, operator, 20)
    assert {change.action for change in again} == {"unchanged"}
    if manual:
        old = cluster.get(V1ALPHA1, "InstallPlan", "thing.v1-old", operator.namespace)
        assert not old["spec"]["approved"], "a plan of another version was approved"
    removed = unsubscribe(cluster, operator, 20)
    assert [(step.reference.kind, step.action) for step in removed] == [
        ("Subscription", "deleted"), ("ClusterServiceVersion", "deleted")]


def test_check_mode_subscribes_to_nothing(cluster, operator):
    changes, csv = subscribe(cluster, operator, 1, check=True)
    assert {change.action for change in changes} == {"created"} and csv is None
    assert cluster.get("v1", "Namespace", operator.namespace) is None


def test_an_operator_that_does_not_come_is_named(cluster, operator):
    with pytest.raises(NotReady, match="operator thing is not installed after 1 s: has installed nothing yet"):
        subscribe(cluster, operator, 1)
