# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace of one's own on the control plane of the tests, with KubeVirt's two kinds (open schemas) for the admission policy; and, for whole
migrations, a libvirt of one's own and a stand-in node."""
from __future__ import annotations

import os
import shutil
import uuid

import pytest


def _crd(kind, plural, short):
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.kubevirt.io"},
            "spec": {"group": "kubevirt.io", "scope": "Namespaced", "names": {"kind": kind, "plural": plural, "listKind": f"{kind}List", "shortNames": [short]},
                     "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}]}}


@pytest.fixture(scope="session")
def cluster(control_plane):
    from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import connect  # after pytest-ansible has set the path

    return connect(str(control_plane))


@pytest.fixture
def namespace(cluster):
    name = f"tandem-test-{uuid.uuid4().hex[:8]}"
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    cluster.delete("v1", "Namespace", name)


@pytest.fixture(scope="session")
def kubevirt_kinds(cluster):
    """KubeVirt's VirtualMachine and VirtualMachineInstance: the installed ones, or definitions of the same names for as long as the tests run."""
    made = [crd for crd in (_crd("VirtualMachine", "virtualmachines", "vm"), _crd("VirtualMachineInstance", "virtualmachineinstances", "vmi"))
            if cluster.get(crd["apiVersion"], crd["kind"], crd["metadata"]["name"]) is None]
    for crd in made:
        cluster.create(crd)
    yield cluster
    for crd in made:
        cluster.delete(crd["apiVersion"], crd["kind"], crd["metadata"]["name"])


@pytest.fixture(scope="session")
def source(tmp_path_factory, lab_sources):
    """A libvirt of the tests' own without guests: uri, address, certificates."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout
    from ansible_collections.tandem.hybrid.plugins.module_utils.lab.source import OVA, Source

    if os.geteuid() != 0 or not shutil.which("libvirtd", path="/usr/sbin"):
        pytest.skip("a libvirt of one's own needs root and libvirtd")
    folder = tmp_path_factory.mktemp("legacy")
    (folder / OVA).touch()
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    source = Source(Layout(folder / "lab", lab_id=7 - number), lab_sources, folder)
    source.layout.directory.mkdir()
    try:
        for step in source.steps():
            if step.what.startswith("define"):
                break
            step.run()
        yield {"uri": source.uri, "address": "127.0.0.1", "certificates": str(source.certificates)}
    finally:
        for step in source.absent_steps():
            step.run()


class Lab:
    """The control plane as the cases want it: a kubeconfig, and what kubectl lists."""

    def __init__(self, control_plane):
        self.kubeconfig, self._get = control_plane.kubeconfig, control_plane.get

    def objects(self, *arguments):
        data = self._get(*arguments)
        return data.get("items", [data])


@pytest.fixture(scope="module")
def node(control_plane, kubevirt_kinds, tmp_path_factory):
    """The stand-in node lab-1, with a connection of its thread's own, gone when the next module brings pods of another kind."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import connect
    from stand_in_node import StandInNode

    with StandInNode(connect(str(control_plane)), "lab-1", tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture
def case(control_plane, node, source, tmp_path):
    from migration_case import Case

    case = Case(Lab(control_plane), source, tmp_path, directly=True)
    yield case
    case.remove()
