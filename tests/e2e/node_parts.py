# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What some guests need of the lab's nodes for a while: a second network (Multus) and hugepages. Both are taken back at the end."""
from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.build import Go
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Artifact, Cache, default_root
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.lifecycle import recorded
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.node import CNI_PLUGINS, Node, Programs
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import Processes

MULTUS = "gopkg.in/k8snetworkplumbingwg/multus-cni.v4@v4.2.2"
HUGEPAGES = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
BRIDGE = "trip0"
GROUP = "k8s.cni.cncf.io"
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"network-attachment-definitions.{GROUP}"},
    "spec": {"group": GROUP, "scope": "Namespaced",
             "names": {"plural": "network-attachment-definitions", "singular": "network-attachment-definition", "kind": "NetworkAttachmentDefinition"},
             "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                 "type": "object", "properties": {"spec": {"type": "object", "properties": {"config": {"type": "string"}}}}}}}]}}


def network(namespace, name):
    """Return the NetworkAttachmentDefinition of a bridge without addresses."""
    config = {"cniVersion": "0.4.0", "name": name, "type": "bridge", "bridge": BRIDGE, "ipam": {}}
    return {"apiVersion": f"{GROUP}/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"namespace": namespace, "name": name},
            "spec": {"config": json.dumps(config)}}


def nodes(directory):
    """Return the running nodes of the lab in a directory."""
    layout = recorded(directory)
    programs = Programs(layout.kubectl.resolve(), pathlib.Path(), pathlib.Path())
    processes = Processes(layout.run, layout.logs)
    found = [Node(layout, int(path.name), programs, processes) for path in sorted(layout.node_directory(1).parent.iterdir())]
    return [node for node in found if node.pid()]


def _multus():
    """Return the program, built once into the cache; raises LabError where Go or its modules are missing."""
    go = Go.find()

    def build(out, _needs):
        with tempfile.TemporaryDirectory() as copy:  # Go does not build in its module cache
            subprocess.run(["cp", "-r", "--no-preserve=mode", f"{go.module_directory(MULTUS)}/.", copy], check=True)
            go.build(pathlib.Path(copy), out / "multus", ["./cmd/multus"], environment={"GOFLAGS": "-mod=mod"})

    artifact = Artifact("multus", {"module": MULTUS, "go": go.version}, build)
    return Cache(default_root(os.environ)).get(artifact).path / "multus"


def has_dummy_links(directory):
    """Tell whether the kernel makes links of the kind `dummy`, which KubeVirt's bridge binding leaves in the pod in the place of the real one."""
    node = nodes(directory)[0]
    made = subprocess.run([*node.enter(), "ip", "link", "add", "tripdummy", "type", "dummy"], check=False, capture_output=True, text=True)
    if made.returncode == 0:
        subprocess.run([*node.enter(), "ip", "link", "delete", "tripdummy"], check=True)
    assert made.returncode == 0 or "Unknown device type" in made.stderr, made.stderr
    return made.returncode == 0


@contextlib.contextmanager
def multus(directory):
    """Put Multus before the CNI configuration of every node; raises LabError when it can't be built."""
    program = _multus()
    plugins = next(pathlib.Path(path) for path in CNI_PLUGINS if pathlib.Path(path, "bridge").exists())
    written = [plugins / "multus"]
    shutil.copy(program, written[0])
    for node in nodes(directory):
        usual = json.loads((node.directory / "cni" / "10-lab.conflist").read_text())
        config = {"cniVersion": "0.4.0", "name": "multus", "type": "multus", "binDir": str(plugins), "delegates": [usual],
                  "kubeconfig": str(node.layout.kubeconfig), "confDir": str(node.directory / "cni")}
        written.append(node.directory / "cni" / "00-multus.conf")
        written[-1].write_text(json.dumps(config))
    try:
        yield
    finally:
        for path in written:
            path.unlink(missing_ok=True)
        for node in nodes(directory):
            subprocess.run([*node.enter(), "ip", "link", "delete", BRIDGE], check=False, capture_output=True)


@contextlib.contextmanager
def hugepages(directory, pages):
    """Reserve hugepages of 2 MiB on the machine and let the kubelets count them anew; yields how many the machine gave."""
    before = HUGEPAGES.read_text()
    HUGEPAGES.write_text(str(pages))
    _restart_kubelets(directory)
    try:
        yield int(HUGEPAGES.read_text())
    finally:
        HUGEPAGES.write_text(before)
        _restart_kubelets(directory)


def _restart_kubelets(directory):
    for node in nodes(directory):
        node.processes.stop([f"kubelet-{node.number}"])
        node.start_daemon("kubelet")
