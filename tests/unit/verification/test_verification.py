# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, files
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, DeviceUse, Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.verification import Check, Verification
from ansible_collections.tandem.hybrid.plugins.module_utils.verification import jobs, live_migration, notes, residence
from ansible_collections.tandem.hybrid.plugins.module_utils.verification.jobs import Script, VerificationError

SCRIPT = Script("completion", "models", "python:3", "print()", ["a"], timeout_seconds=20)


class Cluster:
    """An API server of a few objects; the pod of a Job runs for `running` looks, or until its deadline, and ends with `message`."""

    def __init__(self, message="", objects=(), running=0):
        self.running = running
        self.message, self.objects, self.created, self.deleted, self.moves = message, list(objects), [], [], []

    def create(self, obj):
        self.created.append(obj)
        if obj["kind"] == "VirtualMachineInstanceMigration":
            self.moves.append(obj)
            self.objects[0]["status"]["nodeName"] = "n2" if self.objects[0]["status"]["nodeName"] == "n1" else "n1"
        return {**obj, "metadata": {**obj["metadata"], "uid": "u1"}}

    def delete(self, api_version, kind, name, namespace=None):
        self.deleted.append(kind)
        return True

    def patch(self, api_version, kind, name, namespace, body):
        assert (kind, name, body) == ("Pod", "check-1", {"spec": {"activeDeadlineSeconds": 1}})
        self.running = 0

    def get(self, api_version, kind, name, namespace=None):
        if kind == "VirtualMachineInstanceMigration":
            return {"status": {"phase": "Succeeded"}}
        return next((one for one in self.objects if one["kind"] == kind and one["metadata"]["name"] == name), None)

    def list(self, api_version, kind, namespace=None, label_selector=None):
        if kind == "Pod" and label_selector and label_selector.startswith(f"{jobs.RUN}="):
            self.running -= 1
            if self.running >= 0:
                return [{"metadata": {"name": "check-1"}, "status": {"containerStatuses": [{"state": {"running": {}}}]}}]
            return [{"status": {"containerStatuses": [{"state": {"terminated": {"exitCode": 0, "message": self.message}}}]}}]
        if kind == "Job":
            assert label_selector.startswith(f"{jobs.CHECK}=")
            wanted = label_selector.partition("=")[2]
            return [one for one in self.objects if one["kind"] == kind and one["metadata"]["labels"][jobs.CHECK] == wanted]
        return [one for one in self.objects if one["kind"] == kind]


def instance(name="orders", node="n1", **spec):
    return {"kind": "VirtualMachineInstance", "metadata": {"name": name, "uid": "u2"}, "spec": {"domain": {"devices": spec}},
            "status": {"phase": "Running", "nodeName": node, "conditions": [{"type": "LiveMigratable", "status": "True"}]}}


def pod(name, node, resource):
    return {"kind": "Pod", "metadata": {"labels": {"tandem.hybrid/model": name}}, "status": {"phase": "Running"},
            "spec": {"nodeName": node, "containers": [{"resources": {"limits": {resource: "1"}}}]}}


def test_a_script_leaves_its_result_and_nothing_else():
    cluster = Cluster('{"ok": true, "sentence": "fine"}')
    assert jobs.run(cluster, SCRIPT) == {"ok": True, "sentence": "fine"}
    job, config = cluster.created
    assert config["metadata"]["ownerReferences"][0]["uid"] == "u1" and config["data"] == {"check.py": "print()"}
    assert job["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"] == config["metadata"]["name"]
    assert cluster.deleted == ["Job"]


def test_what_a_killed_run_of_the_same_check_has_left_is_ended_first():
    same = replace(SCRIPT, arguments=["b"], timeout_seconds=5)
    cluster = Cluster('{"ok": true}', [jobs.job(one, "left") for one in (same, replace(SCRIPT, subject="crm"), replace(SCRIPT, name="assistant"))])
    jobs.run(cluster, SCRIPT)
    assert cluster.deleted == ["Job", "Job"], "expected one leftover and the run's own"


@pytest.mark.parametrize("message", ["", "Traceback", "[1]"])
def test_a_script_without_a_result_is_an_error_and_is_removed(message):
    cluster = Cluster(message)
    with pytest.raises(VerificationError, match="left no result"):
        jobs.run(cluster, SCRIPT)
    assert cluster.deleted == ["Job"]


def test_a_pod_that_never_starts_is_explained():
    cluster, ticks = Cluster(), iter(range(100))
    cluster.list = lambda *_a, **_k: []
    running = jobs.Running(cluster, SCRIPT, lambda: next(ticks), lambda _seconds: None)
    running.end()
    with pytest.raises(VerificationError, match="no result after 20 s: its pod is not there"):
        running.result()


def test_a_vm_moves_there_and_back_under_load():
    cluster = Cluster('{"ok": true, "sentence": "0 of 9 acknowledged rows lost"}', [instance()], running=10)
    result = live_migration.move_under_load(cluster, SCRIPT, "orders", 2, 60)
    assert result["ok"] and result["nodes"] == ["n1", "n2", "n1"] and len(result["hop_seconds"]) == 2
    assert result["sentence"].startswith("n1 to n2 to n1 in 0 and 0 s; 0 of 9")
    assert cluster.running < 0, "the client was not told to end"


def test_a_vm_that_a_killed_check_left_elsewhere_comes_home():
    cluster = Cluster('{"ok": true, "sentence": "0 lost"}', [instance(node="n2")], running=10)
    assert live_migration.move_under_load(cluster, SCRIPT, "orders", 2, 60, home="n1")["nodes"] == ["n2", "n1", "n2", "n1"]


def test_the_launcher_that_a_vm_has_left_is_waited_for():
    def launcher(name):
        return {"kind": "Pod", "metadata": {"name": name}, "status": {"phase": "Running"}}

    old, new = launcher("virt-launcher-orders-1"), launcher("virt-launcher-orders-2")
    cluster, waited = Cluster(objects=[instance(), old, new]), []
    live_migration.launchers_ended(cluster, "models", "orders", 60, lambda seconds: (waited.append(seconds), old["status"].update(phase="Succeeded")))
    assert len(waited) == 1
    old["status"]["phase"] = "Running"
    with pytest.raises(VerificationError, match="models/orders has moved, but still has the launchers virt-launcher-orders-1, virt-launcher-orders-2"):
        live_migration.launchers_ended(cluster, "models", "orders", -1)


def test_a_migration_under_way_is_waited_for():
    other = {"kind": "VirtualMachineInstanceMigration", "metadata": {"name": "other"}, "spec": {"vmiName": "orders"}, "status": {"phase": "Running"}}
    cluster, waited = Cluster(objects=[instance(), other]), []
    live_migration.migrate(cluster, "models", "orders", 60, sleep=lambda seconds: (waited.append(seconds), other["status"].update(phase="Succeeded")))
    assert waited and len(cluster.moves) == 1
    other["status"]["phase"] = "Running"
    with pytest.raises(VerificationError, match="models/orders is still being migrated by other"):
        live_migration.migrate(cluster, "models", "orders", -1)
    assert len(cluster.moves) == 1


def test_a_migration_that_finds_no_node_is_told_with_the_schedulers_words():
    target = {"kind": "Pod", "metadata": {"name": "virt-launcher-orders-2"}, "status": {"conditions": [
        {"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."}]}}
    cluster = Cluster(objects=[instance(), target])
    cluster.get = lambda *_a, **_k: {"status": {"phase": "Scheduling"}}
    with pytest.raises(VerificationError, match=r"still Scheduling after 0\.01 s; its target pod has no node: 0/2 nodes are available"):
        live_migration.migrate(cluster, "models", "orders", 0.01, sleep=lambda _seconds: time.sleep(0.001))
    assert cluster.deleted == ["VirtualMachineInstanceMigration"]
    target["status"]["conditions"][0]["status"] = "True"
    with pytest.raises(VerificationError, match=r"still Scheduling after 0\.01 s$"):
        live_migration.migrate(cluster, "models", "orders", 0.01, sleep=lambda _seconds: time.sleep(0.001))


def test_a_client_that_ended_before_the_moves_proves_nothing():
    cluster = Cluster('{"ok": true, "sentence": "0 lost"}', [instance()], running=1)
    result = live_migration.move_under_load(cluster, SCRIPT, "orders", 1, 60)
    assert not result["ok"] and "the client ended before the moves did" in result["sentence"]


def test_a_vm_that_cannot_move_is_refused_with_the_reason():
    fixed = instance()
    fixed["status"]["conditions"] = [{"type": "LiveMigratable", "status": "False", "message": "VMI uses a PCI host device"}]
    with pytest.raises(VerificationError, match="models/orders can't be migrated live: VMI uses a PCI host device"):
        live_migration.instance(Cluster(objects=[fixed]), "models", "orders")
    with pytest.raises(VerificationError, match="models/crm is not there"):
        live_migration.instance(Cluster(), "models", "crm")


def test_residence_compares_nodes_and_devices():
    gpu, mig = "nvidia.com/GH100_H100_PCIE", "nvidia.com/mig-1g.10gb"
    plan = Plan("c", "d", [
        Assignment("orders", "vm", 0, "n1", "vm"), Assignment("report", "vm", 0, "n2", "vm", [DeviceUse("g")], resource=gpu),
        Assignment("assistant", "model", 0, "n1", "s", [DeviceUse("g", "1g.10gb", 0)], resource=mig)])
    cluster = Cluster(objects=[instance(), instance("report", "n2", gpus=[{"name": "gpu0", "deviceName": gpu}]), pod("assistant", "n2", mig)])
    found = {(check.name, check.subject): check for check in residence.look(cluster, plan, None)}
    assert found["placement", "orders"].ok and found["placement", "report"].ok and found["device", "report"].ok
    assert found["device", "assistant"].ok and not found["placement", "assistant"].ok
    assert found["placement", "assistant"].sentence == "runs on n2; the plan says n1"
    away = residence.look(Cluster(), plan, None)
    assert [check.ok for check in away] == [False] * 5 and away[0].sentence == "runs on nowhere; the plan says n1"


def test_notes_replace_the_outcome_of_the_same_check(tmp_path):
    path = str(tmp_path / "verification.json")
    notes.note(path, [Check("b", "x", False, "bad"), Check("a", "y", True, "good")])
    result = notes.note(path, [notes.from_result("b", "x", {"ok": True, "sentence": "fine", "rows": 3})])
    assert result["ok"] and not result["changed"] and result["sentence"] == "x: fine"
    document = files.read(Verification, path)
    assert [(check.name, check.ok) for check in document.checks] == [("a", True), ("b", True)]
    assert document.checks[1].data == {"rows": 3} and document.checks[1].at
    assert json.loads(codec.pretty(document))["kind"] == "Verification"


def test_checks_of_workloads_that_left_the_plan_are_dropped(tmp_path):
    path, plan = str(tmp_path / "verification.json"), Plan("c", "d", [Assignment("orders", "vm", 0, "n1", "vm")])
    notes.note(path, [Check("completion", "gone", False, "bad")])
    notes.note(path, [Check("placement", "orders", True, "good")], plan)
    document = files.read(Verification, path)
    assert [check.subject for check in document.checks] == ["orders"] and document.plan_digest == codec.digest(plan)
