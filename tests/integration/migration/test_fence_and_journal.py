# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases, journal and admission policy against a real API server."""
from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import Refused
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import DocumentError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, Estate, LegacyVm
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import fence
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import Held, MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.journal_store import JournalStore
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import Settings, tasks

pytestmark = pytest.mark.control_plane


@pytest.fixture
def task(namespace):
    vm = LegacyVm(name="orders", id="libvirt:orders", source="qemu:///system", target_name="orders", memory_bytes=1 << 28,
                  disks=[Disk(id="vda", size_bytes=1 << 20)])
    return tasks(Plan("", "", [Assignment("orders", "vm", 0, "lab-1", "")]), Estate([vm]), Settings(namespace=namespace, storage_map=[{"source": "*", "storage_class": "local"}]))[0]


def machine(task, **spec):
    return {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
            "metadata": {"name": task.name, "namespace": task.settings.namespace, "labels": {fence.FENCED: "true"}},
            "spec": {"runStrategy": "Halted", "template": {"spec": {"domain": {"devices": {}}}}, **spec}}


@pytest.fixture
def fenced(kubevirt_kinds, task):
    mine = [obj for obj in fence.policy() if kubevirt_kinds.get(obj["apiVersion"], obj["kind"], fence.POLICY) is None]
    for obj in fence.policy():
        kubevirt_kinds.apply(obj)
    end = time.monotonic() + 20
    while True:
        try:
            kubevirt_kinds.apply(machine(task))
            break
        except Refused:
            assert time.monotonic() < end
            time.sleep(0.2)
    fence.prove_target_fence(kubevirt_kinds, task)
    yield task
    for obj in mine:
        kubevirt_kinds.delete(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])


def test_a_second_run_is_refused_and_told_who_holds_the_lease(cluster, namespace):
    with fence.RunLock(cluster, namespace, 30, holder="host-a/1/2/3"), pytest.raises(Held, match=r"host-a/1/2/3 since 20.*renewed \d+ s ago"):
        fence.RunLock(cluster, namespace, 30, holder="host-b/1/2/3").__enter__()
    with fence.RunLock(cluster, namespace, 30, holder="host-b/1/2/3") as lock:
        lock.check()


def test_the_lease_of_a_run_that_stopped_renewing_is_taken_over(cluster, namespace):
    past = fence.RunLock(cluster, namespace, 30, holder="gone/1/2/3", now=lambda: datetime.now(UTC) - timedelta(seconds=31))
    past._acquire()
    with fence.RunLock(cluster, namespace, 30, holder="next/1/2/3") as lock:
        lock.check()
    with pytest.raises(Refused):
        past._write()


def test_a_killed_holder_on_this_host_is_known_as_dead_at_once(cluster, namespace):
    code = "import time; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code])
    host, pid_namespace, *_ = fence.identity().split("/")
    holder = f"{host}/{pid_namespace}/{process.pid}/{fence._start_ticks(process.pid)}"
    fence.RunLock(cluster, namespace, 30, holder=holder)._acquire()
    with pytest.raises(Held):
        fence.RunLock(cluster, namespace, 30)._acquire()
    process.kill()
    process.wait()
    fence.RunLock(cluster, namespace, 30)._acquire()


def test_a_run_whose_lease_was_taken_stops(cluster, namespace):
    with fence.RunLock(cluster, namespace, 1, holder="first/1/2/3") as lock:
        lease = cluster.get(fence.API, "Lease", fence.RUN_LEASE, namespace)
        lease["spec"]["holderIdentity"] = "thief"
        cluster.replace(lease)
        time.sleep(1.2)
        with pytest.raises(Held, match="this run stops"):
            lock.check()
    assert cluster.get(fence.API, "Lease", fence.RUN_LEASE, namespace)["spec"]["holderIdentity"] == "thief"


def test_a_vms_lease_goes_from_source_to_target_once(cluster, task):
    source, target = fence.source_identity(task), fence.target_identity(task)
    fence.hand_over(cluster, task, "", source)
    fence.hand_over(cluster, task, source, target)
    fence.hand_over(cluster, task, source, target)
    assert fence.owner(cluster, task) == target
    with pytest.raises(MigrationError, match=f"held by {target}, expected someone/else"):
        fence.hand_over(cluster, task, "someone/else", source)


@pytest.mark.parametrize("spec", [{"runStrategy": "Always"}, {"runStrategy": "Manual"}, {"runStrategy": "RerunOnFailure"}, {"runStrategy": None, "running": True}])
def test_a_fenced_vm_is_not_started_by_any_strategy(kubevirt_kinds, fenced, spec):
    with pytest.raises(Refused, match="tandem fence: the source still owns"):
        kubevirt_kinds.patch("kubevirt.io/v1", "VirtualMachine", fenced.name, fenced.settings.namespace, {"spec": spec})


def test_an_instance_with_the_fence_is_refused(kubevirt_kinds, fenced):
    with pytest.raises(Refused, match="tandem fence: the source still owns"):
        kubevirt_kinds.create({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "spec": {},
                               "metadata": {"name": "x", "namespace": fenced.settings.namespace, "labels": {fence.FENCED: "true"}}})


@pytest.mark.parametrize("body", [{"metadata": {"labels": {fence.FENCED: None}}}, {"metadata": {"labels": None}},
                                  {"metadata": {"labels": {fence.FENCED: None}}, "spec": {"runStrategy": "Always"}}])
def test_the_fence_is_not_lifted_by_removing_the_label_alone(kubevirt_kinds, fenced, body):
    with pytest.raises(Refused, match="lifted only together"):
        kubevirt_kinds.patch("kubevirt.io/v1", "VirtualMachine", fenced.name, fenced.settings.namespace, body)


def test_the_cutover_lifts_it(kubevirt_kinds, fenced):
    body = {"metadata": {"labels": {fence.FENCED: None}, "annotations": {fence.OWNER: "target"}}, "spec": {"runStrategy": "Always"}}
    found = kubevirt_kinds.patch("kubevirt.io/v1", "VirtualMachine", fenced.name, fenced.settings.namespace, body)
    assert found["spec"]["runStrategy"] == "Always"


def test_the_proof_fails_where_the_fence_is_not_in_force(kubevirt_kinds, task):
    open_machine = machine(replace(task, name="open"))
    del open_machine["metadata"]["labels"]
    kubevirt_kinds.apply(open_machine)
    with pytest.raises(MigrationError, match="would start the fenced VM"):
        fence.prove_target_fence(kubevirt_kinds, replace(task, name="open"), timeout_seconds=0)


def test_the_journal_survives_its_writer_and_spans_chunks(cluster, namespace):
    store = JournalStore(cluster, namespace, chunk_bytes=1000)
    for number in range(20):
        store.append("orders", "copy", "round", {"number": number})
    assert len(cluster.list("v1", "ConfigMap", namespace, label_selector="tandem.hybrid/journal")) > 3
    again = JournalStore(cluster, namespace, chunk_bytes=1000)
    assert again.events == store.events
    again.append("orders", "copy", "done")
    assert len(JournalStore(cluster, namespace).events) == 21


def test_two_writers_of_one_journal_the_second_stops(cluster, namespace):
    first, second = JournalStore(cluster, namespace), None
    first.append("orders", "inspect", "started")
    second = JournalStore(cluster, namespace)
    first.append("orders", "inspect", "done")
    with pytest.raises(Held, match="written by another run"):
        second.append("orders", "inspect", "done")


def test_a_changed_event_is_found(cluster, namespace):
    store = JournalStore(cluster, namespace)
    store.append("orders", "verify", "done", {"bad": 1})
    store.append("orders", "accept", "done")
    chunk = cluster.list("v1", "ConfigMap", namespace, label_selector="tandem.hybrid/journal")[0]
    chunk["data"]["events.jsonl"] = chunk["data"]["events.jsonl"].replace('"bad":1', '"bad":0')
    cluster.replace(chunk)
    with pytest.raises(DocumentError, match="the hash chain is broken here"):
        JournalStore(cluster, namespace)
