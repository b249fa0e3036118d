# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uninstalling leaves the cluster as it was before installing, and refuses while somebody needs what would go."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.apply import Options, apply
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import connect
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.remove import remove
from killing import kill_in_task

pytestmark = [pytest.mark.root, pytest.mark.lab]
ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(sys.executable).parent
# What comes and goes by itself.
PASSING = {"Event", "Lease", "ComponentStatus", "PodMetrics", "NodeMetrics"}
VM = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "small", "namespace": "uninstall-test"},
      "spec": {"runStrategy": "Halted", "template": {"spec": {"domain": {"devices": {}, "memory": {"guest": "64Mi"}}}}}}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "uninstall-test"}}


def objects(cluster):
    """Every object by name with its finalizers, and what is written on the nodes."""
    found = set()
    for api_version, kind, verbs in cluster.resources():
        if "list" in verbs and kind not in PASSING:
            for obj in cluster.list(api_version, kind):
                meta = obj["metadata"]
                found.add((api_version, kind, meta.get("namespace"), meta["name"], *meta.get("finalizers", [])))
    for node in cluster.list("v1", "Node"):
        for part in ("labels", "annotations"):
            found |= {("node", node["metadata"]["name"], part, key) for key in node["metadata"].get(part) or {}}
    return found


def start(name, lab, **variables):
    command = [BIN / "ansible-playbook", "-i", ROOT / "inventories" / "lab", ROOT / "playbooks" / f"{name}.yml",
               "-e", json.dumps({"lab_directory": str(lab), **variables})]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            stdin=subprocess.DEVNULL)


def playbook(name, lab, **variables):
    process = start(name, lab, **variables)
    output, _none = process.communicate(timeout=1800)
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def hardware(cluster):
    """Variables that let the stand-in play its GPUs on the nodes of this lab."""
    chart = ROOT / "roles" / "lab" / "files" / "charts" / "gpu-operator" / "values.yaml"
    played = yaml.safe_load(chart.read_text())["standIn"]["nodes"]
    names = sorted(node["metadata"]["name"] for node in cluster.list("v1", "Node"))
    nodes = {**dict.fromkeys(played), **dict(zip(names, played.values(), strict=True))}
    offers = ({"nvidia.com/gpu": 1, "nvidia.com/mig-1g.10gb": 7}, {"nvidia.com/GH100_H100_PCIE": 2})
    return {"gpu_operator_values": {"standIn": {"nodes": nodes}},
            "gpu_operator_nodes": [{"name": name, "resources": offer} for name, offer in zip(names, offers, strict=True)]}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A lab of two nodes beside any other, with the images of KubeVirt, CDI and the stand-in for GPUs."""
    if os.geteuid() != 0:
        pytest.skip("the full lab needs root")
    directory = pathlib.Path("/var/lib/tandem") / f"uninstall-{os.getpid()}"
    own = {"lab_id": 8, "lab_source": False, "lab_images": ["pause-image", "platform-images", "gpu-stand-in-image"]}
    try:
        up = playbook("lab", directory, **own)
        assert up.returncode == 0, up.stdout[-5000:]
        yield directory
    finally:
        down = playbook("lab", directory, **own, lab_state="absent")
    assert down.returncode == 0, down.stdout[-5000:]


def test_install_and_uninstall_leave_the_cluster_as_it_was(lab):
    cluster = connect(str(lab / "pki" / "admin.kubeconfig"))
    settings = hardware(cluster)
    before = objects(cluster)
    for task, seconds in {"Install the operators": 4, "Wait until KubeVirt and CDI run": 8, "Install the chart": 1}.items():
        kill_in_task(start("install", lab, **settings), task, delay_seconds=seconds)
    installed = playbook("install", lab, **settings)
    assert installed.returncode == 0, installed.stdout[-5000:]
    assert objects(cluster) - before, "nothing was installed"
    again = playbook("install", lab, **settings)
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout[-5000:]

    apply(cluster, [NAMESPACE, VM], Options("uninstall-test"))
    refused = playbook("uninstall", lab, **settings)
    assert refused.returncode != 0 and "VirtualMachine.kubevirt.io uninstall-test/small" in refused.stdout
    assert cluster.get("kubevirt.io/v1", "KubeVirt", "kubevirt", "kubevirt"), "it refused, but removed"

    for task in ("Let the operators remove", "Remove the operators, their definitions"):
        kill_in_task(start("uninstall", lab, **settings, uninstall_confirmed=["uninstall-test/small"]), task, delay_seconds=3)
    removed = playbook("uninstall", lab, **settings, uninstall_confirmed=["uninstall-test/small"])
    assert removed.returncode == 0, removed.stdout[-5000:]
    remove(cluster, [NAMESPACE])
    after = objects(connect(str(lab / "pki" / "admin.kubeconfig")))
    assert sorted(after - before) == [] and sorted(before - after) == []
    nothing = playbook("uninstall", lab, **settings)
    assert nothing.returncode == 0 and "changed=0" in nothing.stdout, nothing.stdout[-5000:]
