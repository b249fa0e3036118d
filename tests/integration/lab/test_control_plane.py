# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control_plane tier: served, scheduled and repaired as plain processes."""

from __future__ import annotations

import json
import os
import signal

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab import lifecycle, status
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.lab import Wanted
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import Processes, wait_for

pytestmark = pytest.mark.control_plane


@pytest.fixture
def wanted(lab_binaries, lab_sources):
    return Wanted(lab_binaries, lab_sources)


@pytest.fixture
def layout(tmp_path, six_ports):
    layout = Layout(tmp_path / "lab", tier="control_plane", port=six_ports)
    yield layout
    lifecycle.ensure_absent(layout)


def test_pods_are_scheduled_and_run_on_fake_nodes(control_plane):
    control_plane.fake_node("fake-gpu", labels={"pool": "lab-test"}, **{"nvidia.com/gpu": "2"})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lab-test"}, "spec": {
        "nodeSelector": {"pool": "lab-test"},
        "containers": [{"name": "c", "image": "none", "resources": {"limits": {"nvidia.com/gpu": "2"}}}]}}
    control_plane.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    control_plane.kubectl("wait", "--for=condition=Ready", "pod/lab-test", "--timeout=60s")
    assert control_plane.get("pod", "lab-test")["spec"]["nodeName"] == "fake-gpu"
    control_plane.kubectl("delete", "pod/lab-test", "node/fake-gpu")


def test_up_again_changes_nothing_and_killed_parts_come_back(layout, wanted):
    assert "start kube-apiserver" in lifecycle.ensure_present(layout, wanted, check_only=True)
    assert not layout.directory.exists(), "a check made something"
    assert "start kube-apiserver" in lifecycle.ensure_present(layout, wanted)
    assert lifecycle.ensure_present(layout, wanted) == []
    processes = Processes(layout.run, layout.logs)
    for name in ("etcd", "kube-scheduler"):
        os.kill(processes.pid(name), signal.SIGKILL)
        wait_for(lambda name=name: processes.pid(name) is None, 10, lambda: "it doesn't die")
    assert lifecycle.ensure_present(layout, wanted) == ["start etcd", "start kube-scheduler"]
    assert status.status(layout.directory)["serving"]
    pids = [processes.pid(name) for name in processes.names()]
    assert len(pids) == 4 and all(pids)
    assert lifecycle.ensure_absent(layout, check_only=True) and status.status(layout.directory)["serving"]
    assert lifecycle.ensure_absent(layout)
    assert not layout.directory.exists()
    assert lifecycle.ensure_absent(layout) == []
    assert not [pid for pid in pids if _command(pid).startswith(str(wanted.binaries["labkube"]))]


def test_a_port_in_use_is_one_sentence(layout, wanted, control_plane):
    taken = Layout(layout.directory, tier="control_plane", port=control_plane.layout.api_port)
    with pytest.raises(LabError, match=r"can't listen on 127\.0\.0\.1:\d+ .*choose another port"):
        lifecycle.ensure_present(taken, wanted)
    assert not layout.directory.exists(), "something was made before the refusal"


def test_another_shape_in_the_same_directory_is_refused(control_plane, wanted):
    other = Layout(control_plane.layout.directory, tier="control_plane", port=1024)
    with pytest.raises(LabError, match="was made with tier control_plane"):
        lifecycle.ensure_present(other, wanted)


def _command(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as stream:
            return stream.read()
    except OSError:
        return ""
