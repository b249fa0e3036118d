# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job, end to end: what `make demo` leaves, that it can be run again, and that it looks before it leaps."""
from __future__ import annotations

import json
import time
import xml.etree.ElementTree as ElementTree

import pytest
from killing import kill_in_task

pytestmark = [pytest.mark.root, pytest.mark.lab]
NAMESPACE = "tandem-demo"
VERBS = ["lab", "install", "assess", "plan", "migrate", "serve", "verify", "report"]


@pytest.fixture(scope="module")
def plan(demo):
    return demo.document("plan.json")


def test_everything_is_placed_and_proven(plan):
    assert sorted(item["workload"] for item in plan["assignments"]) == ["assistant", "crm", "embedder", "orders", "report"]
    assert plan.get("unplaced", []) == []
    assert [level["name"] for level in plan["levels"] if level["gap"] != 0] == []
    devices = {item["workload"]: item.get("devices", []) for item in plan["assignments"]}
    assert devices["assistant"][0]["profile"] == "1g.10gb"
    assert len(devices["embedder"]) == 1 and not devices["embedder"][0].get("profile")
    assert len(devices["report"]) == 1


def test_n_plus_1_restarts_the_order_service_on_the_other_node(plan):
    node = next(item["node"] for item in plan["assignments"] if item["workload"] == "orders")
    failure = next(failure for failure in plan["failures"] if failure["nodes"] == [node])
    assert failure.get("lost", []) == []
    assert failure["restarts"]["orders/0"] != node


def test_models_and_vms_with_devices_run_where_the_plan_said(demo, plan):
    """The order VM may be elsewhere by now: verify moved it live and back."""
    planned = {item["workload"]: item["node"] for item in plan["assignments"]}
    vmis = {vmi["metadata"]["name"]: vmi["status"] for vmi in demo.objects("virtualmachineinstances.kubevirt.io", "-n", NAMESPACE)}
    assert sorted(vmis) == ["crm", "orders", "report"]
    assert {status["phase"] for status in vmis.values()} == {"Running"}
    assert vmis["report"]["nodeName"] == planned["report"]
    for model in ("assistant", "embedder"):
        (pod,) = demo.objects("pods", "-n", NAMESPACE, "-l", f"app.kubernetes.io/name={model}")
        assert pod["spec"]["nodeName"] == planned[model]
        assert all(status["ready"] for status in pod["status"]["containerStatuses"])


def test_every_verification_passed(demo):
    checks = demo.document("verification.json")["checks"]
    assert [check for check in checks if not check["ok"]] == []
    assert {check["name"] for check in checks} >= {"completion", "assistant", "live-migration", "placement", "device"}


def test_no_acknowledged_write_was_lost_in_the_live_migration(demo):
    (check,) = [item for item in demo.document("verification.json")["checks"] if item["name"] == "live-migration"]
    assert check["data"]["acknowledged"] > 0
    assert check["data"]["lost"] == 0


def test_the_report_is_one_page_json_and_junit(demo):
    page = (demo.directory / "report.html").read_text()
    assert "<script src" not in page and "<link" not in page
    for name in ("orders", "crm", "report", "assistant", "embedder", "lab-1", "lab-2"):
        assert name in page
    assert json.loads((demo.directory / "report.json").read_text())
    suite = ElementTree.parse(demo.directory / "report.xml").getroot()
    assert int(suite.get("failures", "0")) == 0 and int(suite.get("tests", "0")) > 0


def test_the_vmware_guest_was_found_to_have_its_new_driver_and_the_report_says_so(demo):
    (crm,) = [row for row in json.loads((demo.directory / "report.json").read_text())["migrations"] if row["vm"] == "crm"]
    assert crm["fitness"].startswith("guest ready for scsi: Linux has virtio_pci, virtio_scsi, sd_mod")
    assert "guest ready for scsi" in (demo.directory / "report.html").read_text()


@pytest.fixture(scope="module")
def settled(demo):
    """The demo planned again: what it brought runs now, so the capacity, and with it the plan, the journal's plan and the report are new."""
    for verb in ("plan", "migrate", "report"):
        run = demo.playbook(verb)
        assert run.returncode == 0, run.output[-4000:]
    return demo


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("serve", "verify")])
def test_a_second_run_changes_nothing(settled, verb):
    run = settled.playbook(verb)
    assert run.returncode == 0, run.output[-4000:]
    assert run.changed == 0, run.changed_tasks


@pytest.mark.parametrize(("verb", "moments"), [
    ("serve", {"Deploy the models": 1, "Ask each model": 2}),
    ("verify", {"Ask each model": 4, "Move a virtual machine live": 8}),
])
def test_a_run_that_is_killed_is_finished_by_the_next_which_changes_nothing(settled, verb, moments):
    for task, seconds in moments.items():
        kill_in_task(settled.start(verb), task, delay_seconds=seconds)
    run = settled.playbook(verb)
    assert run.returncode == 0, run.output[-4000:]
    assert run.changed == 0, run.changed_tasks
    once, end = ["assistant", "crm", "embedder", "orders", "report"], time.monotonic() + 120
    while running(settled) != once and time.monotonic() < end:  # the launcher that a VM has left and a client that was told to end take a moment
        time.sleep(1)
    assert running(settled) == once


def running(lab):
    """Names of the VMs, models and, if any, checks whose pods hold resources."""
    pods = [pod for pod in lab.objects("pods", "-n", NAMESPACE) if pod["status"]["phase"] not in ("Succeeded", "Failed")]
    labels = [{"name": pod["metadata"]["name"], **pod["metadata"]["labels"]} for pod in pods]
    return sorted(one.get("vm.kubevirt.io/name") or one.get("app.kubernetes.io/name") or one["name"] for one in labels)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "verify"])
def test_looking_first_changes_nothing_on_a_full_cluster(settled, verb):
    run = settled.playbook(verb, "--check", "--diff")
    assert run.returncode == 0, run.output[-4000:]
    assert run.changed == 0, run.changed_tasks
