# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases by the real Helm against a real API server, with a small chart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster import helm as helm_room
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import connect
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.helm import (
    Helm,
    Release,
    apply_release,
    newest,
    remove_release,
)

pytestmark = pytest.mark.control_plane
CONFIG_MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}, namespace: {{ .Release.Namespace }}}
data: {colour: {{ .Values.colour }}}
{{- if .Values.stuck }}
---
apiVersion: v1
kind: Pod
metadata: {name: never, namespace: {{ .Release.Namespace }}}
spec: {containers: [{name: never, image: never}], nodeSelector: {never: "true"}}
{{- end }}
"""
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.helm.example.com}
spec:
  group: helm.example.com
  scope: Cluster
  names: {kind: Thing, plural: things, singular: thing, listKind: ThingList}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
"""


@pytest.fixture(scope="module")
def cluster(control_plane):
    return connect(str(control_plane))


@pytest.fixture(scope="module")
def binary(lab_sources):
    from ansible_collections.tandem.hybrid.plugins.module_utils.lab.build import Go
    from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Cache, default_root
    from ansible_collections.tandem.hybrid.plugins.module_utils.lab.catalogue import catalogue, chosen

    (artifact,) = [one for one in chosen(catalogue(lab_sources, Go.find()), ["helm"]) if one.name == "helm"]
    return str(Cache(default_root(os.environ)).get(artifact).path / "helm")


@pytest.fixture
def helm(binary, control_plane):
    return Helm(binary, str(control_plane), None)


@pytest.fixture
def release(cluster, tmp_path):
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "crds").mkdir()
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: chart\nversion: 1.0.0\n")
    (chart / "values.yaml").write_text("colour: red\nstuck: false\n")
    (chart / "templates" / "all.yaml").write_text(CONFIG_MAP)
    (chart / "crds" / "thing.yaml").write_text(DEFINITION)
    name = f"helm-{uuid.uuid4().hex[:8]}"
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield Release("web", name, "test", str(chart))
    cluster.delete("v1", "Namespace", name)


def with_values(release, **values):
    return Release(release.name, release.namespace, release.component, release.chart, values=values)


def test_created_unchanged_changed_removed(cluster, helm, release):
    assert apply_release(cluster, helm, release, check=True).action == "created"
    assert newest(cluster, release) is None, "check mode installed it"
    assert apply_release(cluster, helm, release).action == "created"
    assert apply_release(cluster, helm, release).action == "unchanged"
    assert newest(cluster, release).number == 1, "an unchanged release got a new revision"
    blue = with_values(release, colour="blue")
    (diff,) = apply_release(cluster, helm, blue, check=True).diffs
    assert (diff["before"]["data"], diff["after"]["data"]) == ({"colour": "red"}, {"colour": "blue"})
    assert apply_release(cluster, helm, blue).action == "changed"
    assert cluster.get("v1", "ConfigMap", "web", release.namespace)["data"] == {"colour": "blue"}
    assert apply_release(cluster, helm, release).action == "changed", "values that were given before are forgotten"
    assert remove_release(cluster, helm, release, 60, check=True).action == "deleted"
    assert remove_release(cluster, helm, release, 60).action == "deleted"
    assert remove_release(cluster, helm, release, 60).action == "absent"
    assert cluster.get("v1", "ConfigMap", "web", release.namespace) is None


def test_a_changed_template_of_the_same_version_is_seen(cluster, helm, release):
    apply_release(cluster, helm, release)
    template = os.path.join(release.chart, "templates", "all.yaml")
    with open(template, "a", encoding="utf-8") as stream:
        stream.write("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: more, namespace: {{ .Release.Namespace }}}\n")
    assert apply_release(cluster, helm, release).action == "changed"


def test_the_definitions_are_the_caller_s(cluster, helm, release):
    assert [obj["metadata"]["name"] for obj in helm.crds(release)] == ["things.helm.example.com"]
    apply_release(cluster, helm, release)
    assert not cluster.serves("helm.example.com/v1", "Thing")


def test_a_release_that_somebody_else_installed_is_kept(cluster, helm, release, binary, control_plane):
    subprocess.run([binary, "install", release.name, release.chart, "--namespace", release.namespace, "--skip-crds",
                    "--kubeconfig", str(control_plane)], check=True, capture_output=True)
    assert remove_release(cluster, helm, release, 60).action == "kept"
    assert cluster.get("v1", "ConfigMap", "web", release.namespace)


@pytest.mark.parametrize("upgrade", [False, True])
def test_a_killed_helm_is_recovered_from(cluster, helm, release, binary, control_plane, monkeypatch, upgrade):
    monkeypatch.setattr(helm_room, "_INTERRUPTED_SECONDS", 0)
    if upgrade:
        apply_release(cluster, helm, release)
    process = subprocess.Popen([binary, "upgrade", "--install", release.name, release.chart, "--namespace", release.namespace,
                                "--skip-crds", "--set", "stuck=true", "--wait", "--kubeconfig", str(control_plane),
                                "--labels", "tandem.hybrid/component=test"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not ((found := newest(cluster, release)) and found.status.startswith("pending")):
        assert time.monotonic() < deadline, f"helm is not in the middle of it but {found}"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    blue = with_values(release, colour="blue")
    assert apply_release(cluster, helm, blue).action in ("created", "changed")
    assert newest(cluster, release).status == "deployed"
    assert cluster.get("v1", "ConfigMap", "web", release.namespace)["data"] == {"colour": "blue"}
    assert apply_release(cluster, helm, blue).action == "unchanged"


def test_values_do_not_show_on_a_command_line(binary, control_plane, release):
    commands = []

    def run(command, **options):
        commands.append(command)
        return subprocess.run(command, **options)

    Helm(binary, str(control_plane), None, run=run).rendered(with_values(release, colour="hunter2"), upgrade=False)
    assert "hunter2" not in json.dumps(commands)


def test_mistakes_are_one_sentence(helm, release, control_plane):
    with pytest.raises(ClusterError, match="there is no program /nowhere/helm: install Helm"):
        Helm("/nowhere/helm", str(control_plane), None)
    with pytest.raises(ClusterError, match="there is no chart at /nowhere; give a folder"):
        helm.rendered(Release("web", "default", "test", "/nowhere"), upgrade=False)
    with pytest.raises(ClusterError, match="helm template failed: ") as caught:
        helm.rendered(with_values(release, colour={"nested": ["{"]}), upgrade=False)
    assert "\n" not in str(caught.value)
