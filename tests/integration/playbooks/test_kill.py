# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of ansible-playbook in any task, then again: it finishes, and nothing is there twice."""
from __future__ import annotations

import json
import pathlib

from killing import kill_in_task

ROOT = pathlib.Path(__file__).resolve().parents[3]
DOCUMENTS = ("estate", "sizing", "models", "demand", "plan", "report")


def test_assess_plan_and_report(playbooks, example_documents):
    for task, alone, seconds in (("Read the legacy VMs", False, 0.6), ("Size the models", True, 0.6), ("Plan", False, 0.6),
                                 ("Make the report", True, 0.2)):  # the last: within 0.6 s a fast machine has ended
        kill_in_task(playbooks.start("example"), f" : {task}", alone, seconds)
        for name in DOCUMENTS:
            path = playbooks.directory / f"{name}.json"
            assert not path.exists() or json.loads(path.read_text())["kind"]
    playbooks.changed("example")
    written = {path.name: path.read_bytes() for path in playbooks.directory.iterdir() if not path.name.startswith(".")}
    assert written == {path.name: path.read_bytes() for path in example_documents.iterdir()}


def test_serve(planned, control_plane):
    """The model server is a pod of a node that kwok plays: it becomes ready, but doesn't answer."""
    control_plane.fake_node("worker-4", cpu="32", memory="128Gi")
    try:
        model = {"name": "triage", "image": "ghcr.io/ggml-org/llama.cpp:server", "path": "/models/smollm2-135m-f16.gguf", "context": 2048,
                 "parallel": 2, "cpu_milli": 2000, "accelerator": "none", "files": [ROOT / "inventories/example/models/smollm2-135m.json"]}
        variables = {"tandem_kubeconfig": control_plane, "inference_namespace": "tandem-kill", "inference_smoke_test": False, "inference_models": [model]}
        for task in ("Make the namespace", "Deploy the models"):
            kill_in_task(planned.start("serve", **variables), task)
        planned.changed("serve", **variables)
        assert planned.changed("serve", **variables) == 0
        listed = control_plane.get("deployments,services,pods,replicasets", "-n", "tandem-kill")["items"]
        assert sorted(one["kind"] for one in listed) == ["Deployment", "Pod", "ReplicaSet", "Service"]
    finally:
        control_plane.kubectl("delete", "namespace", "tandem-kill", "--ignore-not-found", "--wait=false")
        control_plane.kubectl("delete", "node", "worker-4")
