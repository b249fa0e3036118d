# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans handed to Forklift: its own CRDs on a real API server, strictly validated; its controller is a stand-in that plays statuses."""
from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import Refused
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.wait import Target, wait
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.objects import Reference
from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, Estate, LegacyVm, Nic
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import calls, delegated
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import Settings, tasks
from forklift_stand_in import API, COPIED, COPYING, FAILED, SUCCEEDED, StandIn, condition, definitions

pytestmark = pytest.mark.control_plane
ROOT = pathlib.Path(__file__).resolve().parents[3]
SOURCES = {"vsphere": "vsphere://vc.example.com", "ovirt": "ovirt://engine.example.com", "ova": "/exports/crm.ova"}
URLS = {"vsphere": "https://vc.example.com/sdk", "ovirt": "https://engine.example.com/ovirt-engine/api", "ova": "nfs.example.com:/exports"}
REPORTED_WITHIN_SECONDS = 10


def legacy(kind, **more):
    disks = [Disk(id=f"disk{2000 + i}", order=i, size_bytes=2**30, source=f"[{store}] erp/erp_{i}.vmdk") for i, store in enumerate(("fast", "slow"))]
    fields = {"name": "ERP 1", "id": f"{kind}/erp", "source": SOURCES[kind], "target_name": "erp", "memory_bytes": 2**30, "power_state": "running",
              "moid": "vm-42" if kind == "vsphere" else "", "uuid": "0b0e7c1e-1111-4111-8111-000000000042", "datastores": ["fast", "slow"], "disks": disks,
              "nics": [Nic(id="n0", network="VM Network", order=0), Nic(id="n1", network="Backup", order=1)]}
    return LegacyVm(**(fields | more))


def settings(namespace, **more):
    providers = [{"source": SOURCES[kind] + "*", "name": f"tandem-{kind}", "type": kind, "url": URLS[kind], "secret": f"{kind}-credentials",
                  **({"settings": {"sdkEndpoint": "vcenter"}} if kind == "vsphere" else {})} for kind in SOURCES]
    return {"namespace": namespace, "engine": "forklift", "start_timeout_seconds": 20, "lease_seconds": 5,
            "forklift": {"namespace": namespace, "destination": "host", "providers": providers},
            "network_map": [{"source": "Backup", "network": "net/backup"}, {"source": "*", "network": "pod"}],
            "storage_map": [{"source": "fast", "storage_class": "ssd", "access_modes": ["ReadWriteMany"], "volume_mode": "Block"},
                            {"source": "*", "storage_class": "hdd"}], **more}


def one_task(namespace, kind, **more):
    plan = Plan("", "", [Assignment("erp", "vm", 0, "node-a", "", eligible=["node-a", "node-b"])])
    own = settings(namespace)
    if kind == "ova":
        own["storage_map"] = [{"source": "*", "storage_class": "hdd"}]
    return tasks(plan, Estate([legacy(kind, **more)]), codec.load(Settings, own))[0]


@pytest.fixture(scope="module")
def forklift(cluster, kubevirt_kinds):
    made = definitions()
    for crd in made:
        cluster.create(crd)
    wait(cluster, [Target(Reference.of(crd)) for crd in made], 30)
    yield cluster
    for crd in made:
        cluster.delete(crd["apiVersion"], crd["kind"], crd["metadata"]["name"])


@pytest.fixture
def home(forklift, namespace):
    """A namespace with Forklift's Provider of this cluster."""
    forklift.create({"apiVersion": API, "kind": "Provider", "metadata": {"name": "host", "namespace": namespace},
                     "spec": {"type": "openshift", "url": "", "secret": {}}})
    return namespace


@pytest.fixture
def options(home, control_plane, tmp_path):
    plan = Plan("", "", [Assignment("erp", "vm", 0, "node-a", "", eligible=["node-a", "node-b"])])
    (tmp_path / "plan.json").write_text(codec.pretty(plan))
    (tmp_path / "estate.json").write_text(codec.pretty(Estate([legacy("vsphere")])))
    return {"kubeconfig": str(control_plane), "context": None, "plan_src": str(tmp_path / "plan.json"), "estate_src": str(tmp_path / "estate.json"),
            "wave": None, "vms": [], "accept_loss": [], "settings": settings(home), "progress_dest": str(tmp_path / "progress.jsonl"), "journal_dest": ""}


def runs(cluster, namespace, node="node-a"):
    """What Forklift leaves behind at its end: a VirtualMachine that runs."""
    def after(plan):
        meta = {"name": plan["spec"]["vms"][0]["targetName"], "namespace": namespace, "labels": plan["spec"]["targetLabels"]}
        template = {"metadata": {"labels": {}}, "spec": {"domain": {"devices": {}}}}
        # The instance comes first: the stand-in node of other tests makes one for a VM that lacks it.
        for kind, spec, status in (("VirtualMachineInstance", template["spec"], {"phase": "Running", "nodeName": node}),
                                   ("VirtualMachine", {"runStrategy": "Always", "template": template}, {})):
            cluster.create({"apiVersion": "kubevirt.io/v1", "kind": kind, "metadata": meta, "spec": spec, "status": status})
    return after


@pytest.mark.parametrize("kind", ["vsphere", "ovirt", "ova"])
def test_every_object_passes_forklifts_own_schema(home, forklift, kind):
    task = one_task(home, kind)
    for obj in delegated.objects(task):
        stored = forklift.apply(obj)
        assert obj["spec"].items() <= stored["spec"].items(), "nothing was pruned"
    plan, network_map, storage_map = delegated.rendered(task).plan, delegated.rendered(task).network_map, delegated.rendered(task).storage_map
    assert forklift.create(delegated.render.migration(plan, 1))["spec"]["plan"]["name"] == plan["metadata"]["name"]
    assert plan["spec"]["type"] == ("cold" if kind == "ova" else "warm")
    assert plan["spec"]["vms"][0].get("id") == {"vsphere": "vm-42", "ovirt": "0b0e7c1e-1111-4111-8111-000000000042", "ova": None}[kind]
    required = plan["spec"]["targetAffinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert required[0]["matchExpressions"][0]["values"] == ["node-a", "node-b"]
    assert [item["destination"]["type"] for item in network_map["spec"]["map"]] == ["multus", "pod"]
    assert [item["source"] for item in storage_map["spec"]["map"]] == ([{"id": "default"}] if kind == "ova" else [{"name": "fast"}, {"name": "slow"}])
    assert "password" not in json.dumps(delegated.objects(task)).lower() and delegated.rendered(task).provider["spec"]["secret"]["name"] == f"{kind}-credentials"


def test_the_server_is_strict(home, forklift):
    plan = delegated.rendered(one_task(home, "vsphere")).plan
    plan["spec"]["targetNode"] = "node-a"
    with pytest.raises(Refused, match="targetNode: field not declared in schema"):
        forklift.apply(plan)


def playbook(options, *arguments):
    names = {"namespace": "migration_namespace", "engine": "migration_engine", "forklift": "migration_forklift", "network_map": "migration_network_map",
             "storage_map": "migration_storage_map", "start_timeout_seconds": "migration_start_timeout_seconds", "lease_seconds": "migration_lease_seconds"}
    variables = {names[key]: value for key, value in options["settings"].items()}
    variables |= {"tandem_kubeconfig": options["kubeconfig"], "tandem_directory": str(pathlib.Path(options["plan_src"]).parent), "migration_engine": "auto"}
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true"}
    return subprocess.run([pathlib.Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "playbooks/migrate.yml", "-e", json.dumps(variables), *arguments],
                          cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_the_playbook_follows_a_warm_migration_to_its_end(options, home, forklift):
    checked = playbook(options, "--check", "--diff")
    assert checked.returncode == 0 and f"Plan.forklift.konveyor.io {home}/{home}-erp" in checked.stdout, checked.stdout + checked.stderr
    assert not forklift.list(API, "Plan", home)
    with StandIn(forklift, home, [COPYING, COPIED, SUCCEEDED], after=runs(forklift, home)):
        first = playbook(options)
        second = playbook(options)
    assert first.returncode == 0 and "changed=1" in first.stdout and "0.54 of 1.07 GB" in first.stdout and "cutover ordered" in first.stdout, first.stdout + first.stderr
    assert second.returncode == 0 and "changed=0" in second.stdout, second.stdout
    (migration,) = forklift.list(API, "Migration", home)
    assert migration["spec"]["cutover"]


def test_a_failure_is_reported_in_time_and_the_next_run_tries_again(options, home, forklift):
    with StandIn(forklift, home, [COPYING, FAILED]) as stand_in:
        failed = playbook(options)
        seconds = time.monotonic() - stand_in.ended_at
    assert failed.returncode != 0 and "Migration" in failed.stdout and "DiskTransfer: VDDK: the snapshot of vm-42 has gone" in failed.stdout, failed.stdout
    assert stand_in.ended_at and seconds < REPORTED_WITHIN_SECONDS
    print(f"reported after {seconds:.1f} s")
    with StandIn(forklift, home, [COPYING, COPIED, SUCCEEDED], after=runs(forklift, home)):
        assert calls.migrate(options, False)["vms"]["erp"]["state"] == "accepted"
    assert sorted(item["metadata"]["name"] for item in forklift.list(API, "Migration", home)) == [f"{home}-erp-1", f"{home}-erp-2"]


def test_a_plan_that_forklift_refuses_names_its_reason(options, home, forklift):
    blocked = [condition("VMNotFound", "Critical", "VM not found.", items=["id:vm-42"])]
    with StandIn(forklift, home, [], blocked=blocked), pytest.raises(MigrationError, match=r"refuses Plan .*VMNotFound: VM not found. \(id:vm-42\)"):
        calls.migrate(options, False)
    assert not forklift.list(API, "Migration", home)


def test_success_without_a_vm_is_a_failure(options, home, forklift):
    with StandIn(forklift, home, [COPIED, SUCCEEDED]), pytest.raises(MigrationError, match="says that it succeeded, but there is no VirtualMachine"):
        calls.migrate(options, False)


def test_a_vm_on_a_node_that_the_plan_does_not_allow_is_a_failure(options, home, forklift):
    with StandIn(forklift, home, [SUCCEEDED], after=runs(forklift, home, "node-z")), pytest.raises(MigrationError, match="runs on node-z, the plan allows node-a, node-b"):
        calls.migrate(options, False)


def test_a_copied_vm_waits_for_its_window_and_a_rollback_cancels_it(options, home, forklift):
    now = datetime.now(UTC)
    options["settings"]["windows"] = [{"start": f"{now + timedelta(hours=2):%H:%M}", "until": f"{now + timedelta(hours=3):%H:%M}"}]
    with StandIn(forklift, home, [COPYING, COPIED, SUCCEEDED]):
        assert calls.migrate(options, False)["vms"]["erp"]["state"] == "waiting"
        assert calls.roll_back({**options}, False)["vms"]["erp"]["state"] == "rolled back"
    (migration,) = forklift.list(API, "Migration", home)
    assert migration["spec"]["cancel"] == [{"id": "vm-42"}] and "cutover" not in migration["spec"]


def test_a_moved_vm_has_no_way_back_and_says_so(options, home, forklift):
    with StandIn(forklift, home, [COPIED, SUCCEEDED], after=runs(forklift, home)):
        calls.migrate(options, False)
    with pytest.raises(MigrationError, match=r"Forklift has moved it; to go back, stop .*/erp and start ERP 1 at vsphere://vc.example.com"):
        calls.roll_back(options, False)


def test_a_provider_that_is_not_there_is_named(options, home):
    del options["settings"]["forklift"]["providers"][0]["url"]
    with pytest.raises(MigrationError, match=f"no Provider {home}/tandem-vsphere"):
        calls.migrate(options, False)


@pytest.mark.parametrize("check", [True, False])
def test_without_forklift_one_sentence_and_nothing_done(cluster, namespace, control_plane, options, check, monkeypatch):
    monkeypatch.setattr(delegated.render, "API", "forklift.konveyor.io/v1")  # a version that this API server does not serve
    with pytest.raises(MigrationError, match="erp: to be moved by Forklift, but the cluster does not serve Provider"):
        calls.migrate(options, check)
    assert not cluster.list("v1", "ConfigMap", options["settings"]["namespace"], label_selector="tandem.hybrid/journal")
