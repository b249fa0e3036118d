# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong input: one clear sentence, an exit status that isn't zero, nothing half-done."""
from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import venv

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{name: away, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: me, user: {token: t}}]
contexts: [{name: away, context: {cluster: away, user: me}}]
current-context: away
"""
ON_THE_CLUSTER = ("install", "plan", "migrate", "serve", "verify", "rollback", "uninstall")
ESTATE = {"api_version": "tandem.hybrid/v1", "kind": "Estate"}
AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", "+dac_read_search",
             "--ambient-caps", "+dac_read_search")  # nobody, who can read this checkout wherever it lies
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to become nobody, or to mount a file system")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def away(tmp_path):
    """A kubeconfig of a cluster that does not answer."""
    path = tmp_path / "away.kubeconfig"
    path.write_text(KUBECONFIG)
    return path


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A Python interpreter with no library installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    return folder / "bin" / "python"


@pytest.mark.parametrize(("variables", "sentence"), [
    ({"estate_sources": ["/nowhere/orders.xml"]}, r"/nowhere/orders\.xml: "),
    ({"estate_names": ["ledger"]}, r"no VM named ledger; there are .*orders"),
    ({"estate_sources": ["vsphere://127.0.0.1:1"], "estate_vsphere_username": "me", "estate_vsphere_password": "a-secret"}, r"127\.0\.0\.1"),
    ({"estate_sources": ["ftp://example.com/vm"]}, r"ftp://example\.com/vm: expected a file, a folder, a libvirt address"),
], ids=["no-file", "vm-name", "vcenter-away", "address"])
def test_assess(planned, variables, sentence):
    before = contents(planned.directory)
    assert re.search(sentence, planned.refusal("assess", **variables))
    assert contents(planned.directory) == before


@pytest.mark.parametrize(("name", "text"), [("a.xml", "<domain"), ("a.ovf", "<Envelope/>"), ("a.ova", "no archive")])
def test_a_malformed_source(playbooks, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert str(tmp_path / name) in playbooks.refusal("assess", estate_sources=[tmp_path / name])
    assert contents(playbooks.directory) == {}


@pytest.mark.parametrize(("name", "text"), [
    ("estate", '{"kind": "Esta'), ("estate", json.dumps({**ESTATE, "vms": [{"name": 3}]})), ("capacity", "\xff"),
], ids=["estate-cut", "estate-type", "capacity-bytes"])
def test_a_malformed_document_stops_the_plan(planned, name, text):
    path = planned.directory / f"{name}.json"
    path.write_text(text, encoding="latin-1")
    before = contents(planned.directory)
    assert planned.refusal("plan", plan_capacity=planned.directory / "capacity.json" if name == "capacity" else ROOT / "inventories/example/capacity.json"
                           ).startswith(str(path))
    assert contents(planned.directory) == before


@pytest.mark.parametrize("name", ["report", "serve", "verify", "migrate", "rollback"])
def test_a_malformed_plan_stops_what_follows_it(planned, away, name):
    path = planned.directory / "plan.json"
    path.write_text(path.read_text()[:-100])
    before = contents(planned.directory)
    assert planned.refusal(name, tandem_kubeconfig=away, migration_rollback_vms=["orders"]).startswith(f"{path}: not JSON")
    assert contents(planned.directory) == before


@pytest.mark.parametrize(("variables", "sentence"), [
    ({"plan_policy": {"workloads": {"ledger": {"priority": 1}}}}, r"workloads\.ledger is no workload .* orders"),
    ({"plan_policy": {"workload": {}}}, r"policy\.workload: unknown field"),
    ({"workload": "ledger"}, r"^'ledger' is neither a workload of the demand \(.*orders.*\) nor a node of the capacity \(gpu-1, "),
    ({"inference_models": [{"name": "a", "image": "a", "path": "/a", "files": ["/nowhere/a.gguf"]}]}, r"/nowhere/a\.gguf"),
], ids=["policy-name", "policy-field", "why", "model-file"])
def test_plan(planned, variables, sentence):
    before = (planned.directory / "plan.json").read_bytes()
    assert re.search(sentence, planned.refusal("plan", **variables))
    assert (planned.directory / "plan.json").read_bytes() == before


def test_no_gpu_where_one_is_asked_for(planned):
    capacity = json.loads((ROOT / "inventories/example/capacity.json").read_text())
    for node in capacity["nodes"]:
        node.pop("gpus", None)
    (planned.directory / "capacity.json").write_text(json.dumps(capacity))
    before = (planned.directory / "plan.json").read_bytes()
    sentence = planned.refusal("plan", plan_capacity=planned.directory / "capacity.json")
    assert sentence.startswith("model 'analyst': the cluster offers containers no full GPU, and the model needs one with ")
    assert (planned.directory / "plan.json").read_bytes() == before


def test_no_kubeconfig(planned):
    sentence = planned.refusal("plan", plan_read_cluster=True)
    assert ".kube/config" in sentence and "tandem_kubeconfig" in sentence
    assert "/nowhere" in planned.refusal("install", tandem_kubeconfig="/nowhere")


def test_a_malformed_kubeconfig(planned, away):
    away.write_text("clusters: 3")
    assert str(away) in planned.refusal("plan", plan_read_cluster=True, tandem_kubeconfig=away)
    away.write_text(KUBECONFIG)
    assert "elsewhere" in planned.refusal("plan", plan_read_cluster=True, tandem_kubeconfig=away, tandem_context="elsewhere")


@pytest.mark.parametrize("name", ON_THE_CLUSTER)
def test_a_cluster_that_does_not_answer(planned, away, name):
    before = contents(planned.directory)
    sentence = planned.refusal(name, tandem_kubeconfig=away, plan_read_cluster=True, plan_capacity=planned.directory / "capacity.json",
                               migration_rollback_vms=["orders"])
    assert "no answer from the cluster at https://127.0.0.1:1: " in sentence and "refused" in sentence
    assert contents(planned.directory) == before


def test_migrate_a_vm_that_is_in_no_plan(planned, control_plane):
    cluster = {"tandem_kubeconfig": control_plane, "migration_namespace": "tandem-none",
               "migration_storage_map": [{"source": "*", "storage_class": "standard"}],
               "migration_network_map": [{"source": "br-backup", "network": "default/backup"}, {"source": "*", "network": "pod"}]}
    sentence = planned.refusal("migrate", migration_vms=["ledger"], **cluster)
    assert re.match(r"ledger: no VM of this name in plan and estate; there are .*orders", sentence)
    sentence = planned.refusal("rollback", migration_rollback_vms=["orders"], **cluster)
    assert sentence == "namespace tandem-none does not exist; nothing was migrated there"
    assert "no rule of the storage map fits" in planned.refusal("migrate", **{**cluster, "migration_storage_map": []})
    assert control_plane.kubectl("get", "namespaces", "tandem-none", "--ignore-not-found") == ""


def test_serve_a_model_that_was_not_planned(planned, control_plane):
    model = {"name": "poet", "image": "a", "path": "/a", "files": []}
    sentence = planned.refusal("serve", tandem_kubeconfig=control_plane, inference_models=[model], inference_namespace="tandem-none")
    assert "poet" in sentence
    assert control_plane.kubectl("get", "namespaces", "tandem-none", "--ignore-not-found") == ""


def test_install_from_a_manifest_that_is_not_there(planned, control_plane):
    sentence = planned.refusal("install", tandem_kubeconfig=control_plane, kubevirt_manifests=["/nowhere/kubevirt.yaml"])
    assert "/nowhere/kubevirt.yaml" in sentence
    assert control_plane.kubectl("get", "namespaces", "kubevirt", "--ignore-not-found") == ""


@pytest.mark.parametrize(("name", "variables", "library"), [
    ("plan", {"plan_read_cluster": True}, "kubernetes"),
    ("plan", {"plan_engine": "exact"}, "OR-Tools|ortools"),
    ("assess", {"estate_sources": ["qemu:///system"]}, "libvirt"),
    ("assess", {"estate_sources": ["vsphere://127.0.0.1"], "estate_vsphere_username": "me", "estate_vsphere_password": "a-secret"}, "pyVmomi|pyvmomi"),
], ids=["kubernetes", "ortools", "libvirt", "pyvmomi"])
def test_a_missing_library_is_named_with_its_interpreter(planned, bare_python, name, variables, library):
    before = contents(planned.directory)
    sentence = planned.refusal(name, ansible_python_interpreter=bare_python, **variables)
    assert re.search(library, sentence) and str(bare_python.parent) in sentence
    assert contents(planned.directory) == before


@needs_root
@pytest.mark.parametrize(("name", "document"), [("assess", "estate.json"), ("plan", "sizing.json"), ("report", "report.json")])
def test_a_full_disk(planned, tmp_path, name, document):
    """The folder of documents is a file system of 64 KiB in a mount namespace of its own, full to the last byte but for a stale document."""
    full, listing = tmp_path / "full", tmp_path / "listing"
    full.mkdir()
    script = f"""mount -t tmpfs -o size=64k tandem {full} && echo old > {full}/{document} && head -c 1M /dev/zero > {full}/filler 2>{listing}
        "$@"; status=$?; (cd {full} && ls -A && cat {document}) > {listing}; exit $status"""
    planned_in = {key: planned.directory / f"{key}.json" for key in ("plan", "estate", "sizing")}
    sentence = planned.refusal(name, ("unshare", "--mount", "sh", "-c", script, "sh"), tandem_directory=full,
                               **{f"report_{key}": path for key, path in planned_in.items()})
    assert sentence == f"{full}/{document}: No space left on device"
    assert listing.read_text().split() == [*sorted([document, "filler"]), "old"]


@needs_root
def test_the_full_lab_without_root(playbooks, tmp_path):
    for path in (tmp_path, *tmp_path.iterdir()):
        shutil.chown(path, 65534, 65534)
    sentence = playbooks.refusal("lab", AS_NOBODY, lab_directory=tmp_path / "lab", lab_tier="full")
    assert "needs Linux and root" in sentence and "control_plane needs no root" in sentence
    assert not (tmp_path / "lab").exists()


@needs_root
@pytest.mark.parametrize("target", ["demo", "lab", "lab-down", "test"])
def test_make_asks_for_root_before_it_does_anything(tmp_path, target):
    done = subprocess.run([*AS_NOBODY, "make", "-s", target, f"VENV={tmp_path}/none"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout.startswith("make: the full lab makes network namespaces and containers: run this target as root")
    assert not (tmp_path / "none").exists()
