# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster import objects
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError, Conflict, Unreachable
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.manifests import read
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.nodes import left_on
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.order import for_apply, for_delete
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.quantity import quantity
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.refusals import refusal

KINDS = ["v1/Namespace", "apiextensions.k8s.io/v1/CustomResourceDefinition", "v1/ServiceAccount", "apps/v1/Deployment",
         "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration", "kubevirt.io/v1/KubeVirt"]


def obj(kind, name="x", **meta):
    api_version, _, kind = kind.rpartition("/")
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **meta}}


@given(st.permutations(KINDS))
def test_objects_come_after_what_they_need(kinds):
    found = [f"{entry['apiVersion']}/{entry['kind']}" for entry in for_apply(obj(kind) for kind in kinds)]
    assert found == KINDS
    assert [f"{entry['apiVersion']}/{entry['kind']}" for entry in for_delete(obj(kind) for kind in kinds)] == KINDS[::-1]


def test_a_custom_kind_named_like_a_built_in_one_comes_last():
    objects_ = for_apply([obj("serving.knative.dev/v1/Service"), obj("apps/v1/Deployment")])
    assert objects_[-1]["apiVersion"] == "serving.knative.dev/v1"


@pytest.mark.parametrize(("text", "value"), [("500m", Fraction(1, 2)), ("1.5Gi", 3 << 29), (2, 2), ("2e3", 2000), ("1k", 1000),
                                             ("12E", 12 * 10**18), (".5", Fraction(1, 2))])
def test_quantity(text, value):
    assert quantity(text) == value


@pytest.mark.parametrize("text", ["", "1 Gi", "GiB", "1GiB", "1x", "--1"])
def test_quantity_refuses(text):
    with pytest.raises(ClusterError, match="not a Kubernetes quantity"):
        quantity(text)


@pytest.mark.parametrize(("documents", "text"), [
    (["hello"], "document 1 of f.yaml is a str"),
    ([None, {"kind": "Pod"}], "document 2 of f.yaml has no apiVersion"),
    ([{"apiVersion": "v1", "kind": "Pod"}], "has no metadata.name"),
    ([{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1"}]}], "document 1 of document 1 of f.yaml has no kind"),
])
def test_what_is_no_object_is_named(documents, text):
    with pytest.raises(ClusterError, match=text):
        objects.checked(documents, "f.yaml")


def test_lists_are_unrolled():
    inner = obj("v1/ConfigMap")
    assert objects.checked([{"apiVersion": "v1", "kind": "ConfigMapList", "items": [inner]}], "f") == [inner]


def test_what_generators_leave_behind_is_not_applied():
    manifest = {**obj("v1/ConfigMap", creationTimestamp=None, resourceVersion="7"), "status": {}}
    assert objects.desired(manifest) == obj("v1/ConfigMap")


def test_secret_values_do_not_show_in_a_diff():
    before = {**obj("v1/Secret"), "data": {"same": "YQ==", "password": "b2xk"}}
    after = {**obj("v1/Secret"), "data": {"same": "YQ==", "password": "bmV3"}}
    shown = objects.hide_secrets(before, after)
    assert shown[0]["data"] == {"same": "(hidden)", "password": "(hidden, old)"}
    assert shown[1]["data"] == {"same": "(hidden)", "password": "(hidden, new)"}
    assert after["data"]["password"] == "bmV3"


def test_ownership_is_by_both_labels():
    mine = objects.labelled(obj("v1/ConfigMap"), objects.owner_labels("kubevirt"))
    assert objects.owned(mine) and objects.owned(mine, "kubevirt") and not objects.owned(mine, "gpu_operator")
    assert not objects.owned(obj("v1/ConfigMap"))


def answered(status, message, **details):
    return SimpleNamespace(status=status, reason="r", body=json.dumps({"message": message, "details": details}), headers={})


def test_a_conflict_names_fields_and_owners():
    causes = [{"reason": "FieldManagerConflict", "message": 'conflict with "helm" using apps/v1', "field": ".spec.replicas"},
              {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl"', "field": ".spec.paused"}]
    error = refusal(answered(409, "conflicts", causes=causes), "PATCH", "/apis/apps/v1/namespaces/shop/deployments/web", "here")
    assert isinstance(error, Conflict)
    assert "deployments.apps shop/web" in str(error)
    assert ".spec.replicas (set by helm); .spec.paused (set by kubectl)" in str(error)


@pytest.mark.parametrize(("status", "kind"), [(401, Unreachable), (0, Unreachable), (422, ClusterError), (403, ClusterError)])
def test_refusals_are_one_line(status, kind):
    error = refusal(answered(status, "pods is forbidden: user cannot list"), "GET", "/api/v1/pods", "the cluster")
    assert isinstance(error, kind) and "\n" not in str(error)


def test_a_folder_stands_for_its_manifests(tmp_path):
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n")
    (tmp_path / "b.json").write_text(json.dumps(obj("v1/ConfigMap")))
    (tmp_path / "note.txt").write_text("not YAML: [")
    assert [entry["kind"] for entry in read(str(tmp_path))] == ["Namespace", "ConfigMap"]
    assert len(read(f"file://{tmp_path}/a.yaml")) == 1


def test_unreadable_manifests_are_named(tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [")
    with pytest.raises(ClusterError, match=r"bad\.yaml is not YAML"):
        read(str(bad))
    with pytest.raises(ClusterError, match=r"cannot read the manifest .*none.yaml: No such file"):
        read(str(tmp_path / "none.yaml"))


def test_only_what_an_operator_wrote_is_taken_off_a_node():
    metadata = {"labels": {"kubevirt.io/schedulable": "true", "cpu-model.node.kubevirt.io/EPYC": "true", "cpumanager": "false",
                           "kubernetes.io/os": "linux", "notkubevirt.io/x": "", "kubevirt.io": ""},
                "annotations": {"kubevirt.io/heartbeat": "now", "example.com/kubevirt.io": ""}}
    assert left_on(metadata, ["kubevirt.io", "cpumanager"]) == {
        "labels": {"cpu-model.node.kubevirt.io/EPYC": None, "cpumanager": None, "kubevirt.io": None,
                   "kubevirt.io/schedulable": None},
        "annotations": {"kubevirt.io/heartbeat": None}}
    assert left_on({"labels": {"kubernetes.io/os": "linux"}}, ["kubevirt.io"]) == {}
