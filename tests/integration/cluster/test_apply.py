# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying and removing against a real API server."""
from __future__ import annotations

import uuid

import pytest
import yaml
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.apply import Options, apply
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import connect
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError, Conflict, NotReady, Refused, Unreachable, UnknownKind
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.objects import OWNER_LABEL, Reference
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.readiness import verdict
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.remove import owned_objects, remove
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.status import Expected
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.wait import Target, wait

pytestmark = pytest.mark.control_plane


@pytest.fixture(scope="module")
def cluster(control_plane):
    return connect(str(control_plane))


@pytest.fixture
def name():
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture
def namespace(cluster, name):
    apply(cluster, [namespace_object(name)], Options("test"))
    yield name
    cluster.delete("v1", "Namespace", name)


def namespace_object(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def config_map(name, namespace=None, **data):
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def definition(name):
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"things.{name}.example.com"},
            "spec": {"group": f"{name}.example.com", "scope": "Namespaced",
                     "names": {"kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList"},
                     "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                         "type": "object", "properties": {"spec": {"type": "object", "properties": {
                             "size": {"type": "integer"}}}}}}}]}}


def thing(name, size=1, **meta):
    return {"apiVersion": f"{name}.example.com/v1", "kind": "Thing", "metadata": {"name": "thing", **meta},
            "spec": {"size": size}}


def actions(steps):
    return {f"{step.reference.kind}/{step.reference.name}": step.action for step in steps}


def test_created_unchanged_changed(cluster, namespace):
    options = Options("test", namespace)
    assert actions(apply(cluster, [config_map("a", one="1")], options)) == {"ConfigMap/a": "created"}
    before = cluster.get("v1", "ConfigMap", "a", namespace)["metadata"]["resourceVersion"]
    assert actions(apply(cluster, [config_map("a", one="1")], options)) == {"ConfigMap/a": "unchanged"}
    assert cluster.get("v1", "ConfigMap", "a", namespace)["metadata"]["resourceVersion"] == before
    (change,) = apply(cluster, [config_map("a", two="2")], options)
    assert change.action == "changed"
    assert (change.diff["before"]["data"], change.diff["after"]["data"]) == ({"one": "1"}, {"two": "2"})
    assert "managedFields" not in change.diff["after"]["metadata"]


def test_check_changes_nothing_and_tells_the_same(cluster, namespace):
    options = Options("test", namespace)
    checked = apply(cluster, [config_map("a", one="1")], options, check=True)
    assert actions(checked) == {"ConfigMap/a": "created"}
    assert cluster.get("v1", "ConfigMap", "a", namespace) is None


def test_check_on_an_empty_cluster(cluster, name):
    objects = [thing(name, namespace=name), definition(name), namespace_object(name), config_map("a", name)]
    assert set(actions(apply(cluster, objects, Options("test"), check=True)).values()) == {"created"}
    lonely = apply(cluster, [thing(name), config_map("a", name)], Options("test"), check=True)
    assert set(actions(lonely).values()) == {"created"}
    assert cluster.get("v1", "Namespace", name) is None


def test_definition_and_resource_in_one_list_and_both_removed(cluster, name):
    objects = [thing(name, namespace=name), definition(name), namespace_object(name)]
    assert set(actions(apply(cluster, objects, Options("test"))).values()) == {"created"}
    assert set(actions(apply(cluster, objects, Options("test"))).values()) == {"unchanged"}
    assert cluster.get(f"{name}.example.com/v1", "Thing", "thing", name)["spec"] == {"size": 1}
    assert set(actions(remove(cluster, objects, check=True)).values()) == {"deleted"}
    steps = remove(cluster, objects)
    assert [step.reference.kind for step in steps] == ["Thing", "CustomResourceDefinition", "Namespace"]
    assert set(actions(remove(cluster, objects)).values()) == {"absent"}
    assert cluster.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"things.{name}.example.com") is None


def test_absent_of_a_kind_that_does_not_exist(cluster, name):
    assert actions(remove(cluster, [thing(name)])) == {"Thing/thing": "absent"}


def test_a_conflict_names_its_owner_and_nothing_is_written(cluster, namespace):
    apply(cluster, [config_map("b", key="ours")], Options("test", namespace))
    cluster.request("PATCH", f"/api/v1/namespaces/{namespace}/configmaps/b", content_type="application/apply-patch+yaml",
                    query=[("fieldManager", "helm"), ("force", "true")], body=config_map("b", key="theirs"))
    objects = [config_map("a", key="new"), config_map("b", key="ours")]
    with pytest.raises(Conflict, match=r"configmaps .*/b: .*\.data\.key \(set by helm\)"):
        apply(cluster, objects, Options("test", namespace))
    assert cluster.get("v1", "ConfigMap", "a", namespace) is None
    forced = apply(cluster, objects, Options("test", namespace, force_conflicts=True))
    assert actions(forced) == {"ConfigMap/a": "created", "ConfigMap/b": "changed"}


def test_fields_are_left_to_a_manager_that_may_have_them(cluster, namespace):
    options = Options("test", namespace, yield_to=("operator",))
    apply(cluster, [config_map("a", key="ours", other="1")], options)
    cluster.request("PATCH", f"/api/v1/namespaces/{namespace}/configmaps/a", content_type="application/apply-patch+yaml",
                    query=[("fieldManager", "operator"), ("force", "true")], body=config_map("a", key="theirs"))
    assert actions(apply(cluster, [config_map("a", key="ours", other="1")], options)) == {"ConfigMap/a": "unchanged"}
    assert actions(apply(cluster, [config_map("a", key="ours", other="2")], options)) == {"ConfigMap/a": "changed"}
    assert cluster.get("v1", "ConfigMap", "a", namespace)["data"] == {"key": "theirs", "other": "2"}


def test_an_unknown_field_is_refused_and_nothing_is_written(cluster, namespace):
    wrong = {**config_map("b"), "colour": "red"}
    with pytest.raises(Refused, match=r"configmaps .*/b: .*\.colour: field not declared"):
        apply(cluster, [config_map("a"), wrong], Options("test", namespace))
    assert cluster.get("v1", "ConfigMap", "a", namespace) is None


def test_an_unknown_field_of_a_custom_resource_is_refused(cluster, namespace, name):
    apply(cluster, [definition(name)], Options("test"))
    wrong = {**thing(name, namespace=namespace), "spec": {"size": 1, "colour": "red"}}
    with pytest.raises(Refused, match=r"\.spec\.colour: field not declared"):
        apply(cluster, [wrong], Options("test"))
    remove(cluster, [definition(name)])


def test_an_unknown_kind_and_namespace_are_refused_before_anything_is_written(cluster, namespace, name):
    with pytest.raises(UnknownKind, match="does not serve kind Thing"):
        apply(cluster, [config_map("a", namespace), thing("nobody")], Options("test"))
    with pytest.raises(ClusterError, match="namespace nowhere does not exist"):
        apply(cluster, [config_map("a", namespace), config_map("b", "nowhere")], Options("test"))
    assert cluster.get("v1", "ConfigMap", "a", namespace) is None


def test_what_was_there_before_is_changed_but_not_claimed(cluster, namespace):
    cluster.create(config_map("old", namespace, key="1"))
    (change,) = apply(cluster, [config_map("old", namespace, more="2")], Options("test"))
    assert change.action == "changed"
    found = cluster.get("v1", "ConfigMap", "old", namespace)
    assert found["data"] == {"key": "1", "more": "2"} and OWNER_LABEL not in (found["metadata"].get("labels") or {})
    assert actions(remove(cluster, [config_map("old", namespace)])) == {"ConfigMap/old": "kept"}


def test_everything_of_a_component_is_found_by_its_labels(cluster, namespace):
    component = f"c-{namespace}"
    apply(cluster, [config_map("a", namespace)], Options(component))
    apply(cluster, [config_map("b", namespace)], Options("test"))
    assert [Reference.of(obj).name for obj in owned_objects(cluster, component)] == ["a"]


def test_a_finalizer_that_holds_an_object_is_named(cluster, namespace):
    cluster.create({**config_map("held", namespace), "metadata": {
        "name": "held", "namespace": namespace, "finalizers": ["example.com/held"], "labels": {OWNER_LABEL: "tandem"}}})
    with pytest.raises(NotReady, match=r"ConfigMap .*/held \(held by finalizer example.com/held\)"):
        remove(cluster, [config_map("held", namespace)], timeout_seconds=1)
    cluster.patch("v1", "ConfigMap", "held", namespace, {"metadata": {"finalizers": None}})


def test_lists_come_page_by_page(cluster, namespace, monkeypatch):
    monkeypatch.setattr("ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client.PAGE_SIZE", 3)
    apply(cluster, [config_map(f"m{number}", namespace) for number in range(8)], Options("test"))
    found = cluster.list("v1", "ConfigMap", namespace, label_selector=f"{OWNER_LABEL}=tandem")
    assert len(found) == 8 and found[0]["kind"] == "ConfigMap"
    assert cluster.list("nobody.example.com/v1", "Thing") == []


def test_waiting_says_why_it_gave_up(cluster, namespace):
    target = Target(Reference("v1", "ConfigMap", "late", namespace))
    with pytest.raises(NotReady, match=r"not ready after 1 s: ConfigMap .*/late does not exist"):
        wait(cluster, [target], 1)
    cluster.create({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": namespace}, "type": "Warning",
                    "reason": "Lost", "message": "nobody made it", "involvedObject": {"kind": "ConfigMap", "name": "late",
                                                                                      "namespace": namespace}})
    with pytest.raises(NotReady, match=r"does not exist \[last warning: Lost: nobody made it\]"):
        wait(cluster, [target], 0)
    apply(cluster, [config_map("late", namespace)], Options("test"))
    said = []
    assert wait(cluster, [target], 1, say=said.append)[0].ready and said[0].endswith("ready")


def test_the_status_of_a_real_definition_is_read(cluster, name):
    apply(cluster, [definition(name)], Options("test"))
    found = cluster.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"things.{name}.example.com")
    assert verdict(found).ready
    assert not verdict(found, Expected(conditions={"Terminating": "True"})).ready
    remove(cluster, [definition(name)])


def test_a_server_that_is_not_there_is_one_sentence(control_plane, tmp_path):
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    elsewhere = tmp_path / "config"
    elsewhere.write_text(yaml.safe_dump(config))
    with pytest.raises(Unreachable, match=r"no answer from the cluster at https://127.0.0.1:1: .*refused") as caught:
        connect(str(elsewhere))
    assert "\n" not in str(caught.value)
