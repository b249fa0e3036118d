# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from copy import deepcopy

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import fence, recheck, target
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.hypervisor import Host
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.plan_steps import Progress
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.progress import sentence
from migration_factory import vm_task


def instance(task):
    spec = deepcopy(task.rendered.virtual_machine["spec"]["template"]["spec"])
    macs = [{"mac": item["macAddress"]} for item in spec["domain"]["devices"]["interfaces"]]
    return {"spec": spec, "status": {"phase": "Running", "nodeName": task.node, "interfaces": macs}}


def test_the_machine_is_halted_and_fenced_with_what_it_would_start():
    vm = target.machine(vm_task())
    assert vm["spec"]["runStrategy"] == "Halted"
    assert vm["metadata"]["labels"][fence.FENCED] == vm["spec"]["template"]["metadata"]["labels"][fence.FENCED] == "true"


def test_a_faithful_instance_has_no_differences():
    task = vm_task()
    assert target.differences(task, instance(task)) == []


@pytest.mark.parametrize(("change", "word"), [
    (lambda vmi: vmi["status"].update(nodeName="lab-2"), "node is lab-2, expected lab-1"),
    (lambda vmi: vmi["spec"]["domain"]["firmware"].update(uuid="other"), "UUID is other"),
    (lambda vmi: vmi["spec"]["domain"]["devices"]["disks"].pop(), "serials of the disks"),
    (lambda vmi: vmi["status"]["interfaces"][0].update(mac="52:54:00:00:00:00"), "MAC addresses"),
])
def test_each_difference_is_named(change, word):
    task = vm_task()
    vmi = instance(task)
    change(vmi)
    assert [word in line for line in target.differences(task, vmi)] == [True]


def test_why_an_instance_does_not_run():
    assert target.why_not_running(None) == "KubeVirt has not created its instance yet"
    waiting = {"status": {"phase": "Scheduling", "conditions": [{"status": "False", "message": "0/2 nodes are available"}]}}
    assert target.why_not_running(waiting) == "Scheduling: 0/2 nodes are available"


@pytest.mark.parametrize(("uri", "libvirt"), [("qemu:///system", True), ("qemu+ssh://root@hv/system", True), ("/srv/crm.ova", False),
                                              ("https://host/x.ova", False)])
def test_what_is_a_libvirt_uri(uri, libvirt):
    assert Host.is_libvirt(uri) is libvirt


def test_commands_go_by_ssh_with_every_word_quoted():
    host = Host("qemu+ssh://admin@hv:2222/system")
    assert host._command(["test", "-r", "/a b"]) == ["ssh", "-o", "BatchMode=yes", "-p", "2222", "admin@hv", "--", "test -r '/a b'"]
    assert Host("qemu+unix:///system?socket=/x")._command(["true"]) == ["true"]


def test_a_transport_without_a_shell_is_refused():
    with pytest.raises(MigrationError, match="expected qemu"):
        Host("qemu+tls://hv/system")


def test_only_disks_that_did_not_run_are_compared():
    assert "its own now" in recheck.why_not(Progress(base="g", target_started_at="2026-01-01T00:00:00Z"))
    assert "nothing of it was copied" in recheck.why_not(Progress())
    assert recheck.why_not(Progress(base="g")) == ""


@pytest.mark.parametrize(("line", "text"), [
    ({"vm": "a", "phase": "copy", "event": "progress", "done_bytes": 1e9, "total_bytes": 4e9, "rate_bytes_per_second": 5e7, "eta_seconds": 60},
     "a: copy 1.00 of 4.00 GB, 50 MB/s, 60 s left"),
    ({"vm": "a", "phase": "copy", "event": "started"}, "a: copy started"),
    ({"vm": "a", "phase": "copy", "event": "done", "seconds": 2}, "a: copy done (seconds 2)"),
    ({"vm": "", "event": "failed", "message": "no"}, "migration: no"),
])
def test_progress_reads_as_a_sentence(line, text):
    assert sentence(line) == text
