# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conversions by virt-v2v: their Jobs, and what follows from how far the journal says that one is."""
from __future__ import annotations

import subprocess
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import Refused
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import conversion
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.conversion import Conversion, kvm, last_words, remove_overlays, waits_for
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.conversion_jobs import KVM, commit_job, convert_job, guest_xml, overlay_claim, try_job
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import Settings
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.plan_steps import describe, progress
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.recheck import why_not
from migration_factory import legacy, vm_task, vm_tasks
from test_plan_steps import BEGIN, INSPECT, ROUND, journal

CONVERT = {"unfit_guest": "convert", "conversion_image": "v2v:1"}
WORDS = """virt-v2v-in-place 2.2.0
[  31.0] Inspecting the source
virt-v2v-in-place: error: inspection could not detect the source guest (or
physical machine).

If reporting bugs, run virt-v2v with debugging enabled and include the
complete output:
"""


def on_ide(**settings):
    vm = replace(legacy(), disks=[Disk(id="hda", order=0, bus="ide", size_bytes=3 << 30, source="/a"),
                                  Disk(id="sda", order=1, bus="virtio-scsi", size_bytes=1 << 30, source="/b")])
    return vm_tasks(vm, settings=Settings(**CONVERT, **settings))[0]


def containers(job):
    spec = job["spec"]["template"]["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


# ---- the objects

def test_virt_v2v_gets_overlays_in_the_order_of_the_disks_on_the_buses_of_the_source():
    disks = ElementTree.fromstring(guest_xml(on_ide())).findall("devices/disk")
    assert [(disk.find("source").get("file"), disk.find("driver").get("type"), disk.find("target").get("bus")) for disk in disks] == [
        ("/overlays/0.qcow2", "qcow2", "ide"), ("/overlays/1.qcow2", "qcow2", "scsi")]


def test_a_conversion_makes_its_overlays_anew_and_can_only_read_the_copies():
    job = convert_job(on_ide(conversion_timeout_seconds=77), 0, kvm=False)
    *create, convert = containers(job)
    assert [one["command"][-4:] for one in create] == [["/disks/0/disk.img", "-F", "raw", "/overlays/0.qcow2"],
                                                       ["/disks/1/disk.img", "-F", "raw", "/overlays/1.qcow2"]]
    mounts = {mount["mountPath"]: mount for mount in convert["volumeMounts"]}
    assert mounts["/disks/0"]["readOnly"]
    assert mounts["/disks/1"]["readOnly"]
    assert convert["args"] == ["--root", "first", "-i", "libvirtxml", "/guest/guest.xml"]
    assert (job["spec"]["activeDeadlineSeconds"], job["spec"]["backoffLimit"]) == (77, 0)
    assert job["spec"]["template"]["metadata"]["annotations"]["tandem.hybrid/guest"] == guest_xml(on_ide())
    assert all(one["securityContext"]["capabilities"] == {"drop": ["ALL"]} and one["image"] == "v2v:1" for one in containers(job))


def test_a_block_claim_is_a_device_also_for_its_overlay():
    task = on_ide(storage_map=[{"source": "*", "storage_class": "local", "volume_mode": "Block"}])
    for job in (convert_job(task, 0, kvm=False), commit_job(task, 0)):
        assert all(not mount["mountPath"].startswith("/disks") for one in containers(job) for mount in one["volumeMounts"])
        assert {"name": "disk-1", "devicePath": "/dev/disk-1"} in containers(job)[-1]["volumeDevices"]
    assert "/dev/disk-0" in containers(convert_job(task, 0, kvm=False))[0]["command"]


def test_the_overlays_are_kept_by_their_commit_so_that_it_may_be_done_again():
    found = containers(commit_job(on_ide(), 0))
    assert [one["command"] for one in found] == [["qemu-img", "commit", "-q", "-d", f"/overlays/{number}.qcow2"] for number in (0, 1)]
    assert not any(mount.get("readOnly") for one in found for mount in one["volumeMounts"])


def test_each_attempt_has_jobs_of_its_own():
    task = on_ide()
    names = {job["metadata"]["name"] for attempt in (0, 1) for job in (try_job(task, attempt, True), convert_job(task, attempt, True), commit_job(task, attempt))}
    assert names == {f"{step}-{attempt}-orders" for step in ("try", "convert", "commit") for attempt in (0, 1)}


@pytest.mark.parametrize("offered", [True, False])
def test_kvm_is_asked_for_only_where_it_may_be_had(offered):
    for job in (try_job(on_ide(), 0, offered), convert_job(on_ide(), 0, offered)):
        found = containers(job)[-1]
        assert (KVM in found["resources"]["limits"]) is offered
        assert ({"name": "LIBGUESTFS_BACKEND_SETTINGS", "value": "force_tcg"} in found["env"]) is not offered


def test_the_overlays_lie_in_the_class_of_the_disks():
    claim = overlay_claim(on_ide(storage_map=[{"source": "*", "storage_class": "fast", "access_modes": ["ReadWriteMany"]}]), 0)
    assert (claim["spec"]["storageClassName"], claim["spec"]["accessModes"]) == ("fast", ["ReadWriteMany"])
    assert claim["metadata"]["name"] == "orders-tandem-overlay-0"


def test_the_script_is_one_that_a_shell_reads():
    assert subprocess.run(["sh", "-n", "-c", containers(convert_job(on_ide(), 0, False))[-1]["command"][2]], check=False).returncode == 0


# ---- what pods and nodes say

def test_the_error_of_virt_v2v_is_told_without_its_advice():
    pods = [{"status": {"containerStatuses": [{"state": {"terminated": {"exitCode": 1, "message": WORDS}}}]}}]
    assert last_words(pods) == "virt-v2v-in-place: error: inspection could not detect the source guest (or / physical machine)."
    pods = [{"status": {"initContainerStatuses": [{"state": {"terminated": {"exitCode": 1, "message": "a\nb\nc\nd\n"}}}]}}]
    assert last_words(pods) == "b / c / d"
    assert last_words([]) == last_words([{"status": {}}]) == ""


def test_what_a_pod_waits_for_is_told():
    assert waits_for({"status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/2 nodes"}]}}) == "0/2 nodes"
    waiting = {"initContainerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}}]}
    assert waits_for({"status": waiting}) == "Back-off"
    assert waits_for({"status": {"containerStatuses": [{"state": {"running": {}}}]}}) == ""


@pytest.mark.parametrize(("offered", "emulates", "expected"), [("1k", False, True), ("1k", True, False), ("0", False, False), (None, False, False)])
def test_a_conversion_runs_on_kvm_where_vms_do(offered, emulates, expected):
    node = {"status": {"allocatable": {KVM: offered} if offered else {}}}
    kubevirt = {"spec": {"configuration": {"developerConfiguration": {"useEmulation": True}} if emulates else {}}}
    assert kvm(SimpleNamespace(get=lambda *_unused: node, list=lambda *_unused: [kubevirt]), "lab-1") is expected


def test_who_may_not_look_at_nodes_converts_without_kvm():
    def refuse(*_unused):
        raise Refused("nodes is forbidden", status=403)

    assert not kvm(SimpleNamespace(get=refuse), "lab-1")


# ---- how far it is

class Pods:
    """A cluster whose Jobs end at once, as `ends` says by step: the exit code (None: they wait) and the last words."""

    def __init__(self, **ends):
        self.ends = {"try": (0, "2.2.0"), "convert": (0, "virt-v2v-in-place 2.2.0\nThis guest has virtio drivers installed.\n"), "commit": (0, "")} | ends
        self.jobs, self.claims, self.made = {}, [], []

    def get(self, _version, kind, name, _namespace=None):
        if kind == "Node":
            return {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        return self.jobs.get(name)

    def create(self, job):
        name = job["metadata"]["name"]
        self.made.append(name)
        failed = self.ends[name.split("-")[0]][0]
        conditions = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}] if failed else []
        self.jobs[name] = job | {"status": {"conditions": conditions}}

    def apply(self, claim):
        self.claims.append(claim["metadata"]["name"])

    def delete(self, _version, kind, name, _namespace, **_options):
        if kind == "Job":
            self.jobs.pop(name, None)
        else:
            self.claims = [claim for claim in self.claims if claim != name]

    def list(self, _version, kind, _namespace, label_selector):
        jobs = [job for name, job in self.jobs.items() if label_selector.endswith(f"={name.removesuffix('-orders')}")]
        if kind == "Job":
            return jobs
        code, message = self.ends[jobs[0]["metadata"]["name"].split("-")[0]] if jobs else (0, "")
        state = {"waiting": {"message": message}} if code is None else {"terminated": {"exitCode": code, "message": message}}
        return [{"status": {"containerStatuses": [{"state": state}]}} for _job in jobs]


def context(cluster, *events, task=None):
    entries = [INSPECT, *events]

    def note(phase, event, **data):
        entries.append((phase, event, data))

    return SimpleNamespace(cluster=cluster, task=task or on_ide(), state=lambda: progress(journal(*entries), "orders"), note=note,
                           check=lambda: None, say=lambda **_data: None, entries=entries)


def stages(found):
    return [data["stage"] for _phase, event, data in found.entries if event == "conversion"]


def test_a_conversion_is_journaled_before_and_after_its_commit():
    cluster = Pods()
    found = context(cluster)
    Conversion(found).run()
    assert cluster.made == ["convert-0-orders", "commit-0-orders"]
    assert stages(found) == ["begun", "committing", "committed"]
    assert found.state().conversion["version"] == "virt-v2v-in-place 2.2.0"
    assert found.state().conversion["seconds"] >= 0
    assert cluster.claims == ["orders-tandem-overlay-0"]
    remove_overlays(found)
    assert cluster.claims == []


@pytest.mark.parametrize(("stage", "made"), [("begun", ["convert-0-orders", "commit-0-orders"]), ("committing", ["commit-0-orders"]), ("committed", [])])
def test_a_killed_run_is_continued_where_the_journal_says(stage, made):
    cluster = Pods()
    found = context(cluster, ("cutover", "conversion", {"stage": stage, "seconds": 1.0}))
    Conversion(found).run()
    assert cluster.made == made
    assert found.state().conversion["stage"] == "committed"


def test_a_failed_conversion_commits_nothing_and_is_done_anew_when_asked_again():
    cluster = Pods(convert=(1, WORDS))
    found = context(cluster)
    for _try in range(2):
        with pytest.raises(MigrationError, match="orders: converting failed: virt-v2v-in-place: error: inspection could not detect"):
            Conversion(found).run()
    assert cluster.made == ["convert-0-orders"] * 2
    assert not found.state().converted


def test_a_guest_that_got_no_virtio_drivers_is_not_committed():
    found = context(Pods(convert=(0, "virt-v2v-in-place 2.2.0\nThis guest does not have virtio drivers installed.\n")))
    with pytest.raises(MigrationError, match=r"no virtio drivers for this guest .*virtio-win"):
        Conversion(found).run()
    assert stages(found) == ["begun"]


def test_an_image_that_can_not_be_had_is_noticed_before_the_source_stops(monkeypatch):
    cluster = Pods()
    Conversion(context(cluster)).rehearse()
    assert (cluster.made, cluster.jobs) == (["try-0-orders"], {})
    monkeypatch.setattr(conversion, "TRY_SECONDS", 0)
    cluster = Pods(**{"try": (None, "Back-off pulling image")})
    with pytest.raises(MigrationError, match="orders: looking for virt-v2v did not end within 0 s: Back-off pulling image"):
        Conversion(context(cluster)).rehearse()
    assert cluster.jobs == {}


def test_before_a_new_attempt_the_commit_of_the_one_before_is_ended():
    cluster = Pods()
    cluster.create(commit_job(on_ide(), 0))
    Conversion(context(cluster)).end_earlier()
    assert cluster.jobs
    Conversion(context(cluster, ("rollback", "rolled-back", {}))).end_earlier()
    assert cluster.jobs == {}


def test_a_rollback_or_a_new_copy_forgets_the_conversion():
    done = ("cutover", "conversion", {"stage": "committed", "seconds": 9})
    assert progress(journal(INSPECT, done), "orders").converted
    for event in (("rollback", "rolled-back", {}), ("final", "reread", {"reason": "r"})):
        assert progress(journal(INSPECT, done, event), "orders").conversion == {}


@pytest.mark.parametrize(("stage", "expected"), [("begun", ""), ("committing", "virt-v2v has converted it"), ("committed", "virt-v2v has converted it")])
def test_a_converted_disk_is_not_compared_with_the_manifest_of_its_copy(stage, expected):
    assert why_not(progress(journal(INSPECT, BEGIN, ROUND, ("cutover", "conversion", {"stage": stage})), "orders")).startswith(expected)


def test_check_mode_tells_of_a_conversion():
    def cutover(*events, task):
        return next(line for line in describe(task, progress(journal(INSPECT, *events), "orders")) if line.startswith("cutover"))

    assert cutover(task=on_ide()).startswith("cutover: convert the guest with virt-v2v if it lacks a driver, give the lease")
    assert cutover(("final", "fitness", {"verdict": "rebuild"}), task=on_ide()).startswith("cutover: convert the guest with virt-v2v, give the lease")
    for found in (cutover(("final", "fitness", {"verdict": "ready"}), task=on_ide()), cutover(task=vm_task(**CONVERT))):
        assert found.startswith("cutover: give the lease")
