# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM of vCenter (vcsim, a stand-in) that is off, moved by the playbook through all phases, killed amid the transfer, and put back."""
from __future__ import annotations

import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import vsphere_case
from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Estate
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import calls
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError

pytestmark = pytest.mark.control_plane
ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture
def vcenter():
    with vsphere_case.running() as source:
        yield source


class Playbook:
    """migrate and rollback for one VM, with documents of their own."""

    def __init__(self, vcenter, control_plane, namespace, folder):
        self.folder, self.vm = folder, vsphere_case.assessed(vcenter)
        (folder / "estate.json").write_text(codec.pretty(Estate([replace(self.vm, target_name="erp")])))
        (folder / "plan.json").write_text(codec.pretty(Plan("", "", [Assignment("erp", "vm", 0, "lab-1", "")])))
        (folder / "vars.json").write_text(json.dumps({
            "tandem_directory": str(folder), "tandem_kubeconfig": str(control_plane), "migration_namespace": namespace,
            "migration_storage_map": [{"source": "*", "storage_class": "shared", "access_modes": ["ReadWriteMany"]}],
            "migration_exporter_address": "127.0.0.1", "migration_exporter_certificates": str(folder / "pki"), "migration_lease_seconds": 5,
            "migration_exporter_port": random.Random(namespace).randrange(1200, 3000) * 16, "migration_vsphere": vsphere_case.access(vcenter, folder)}))

    def options(self, **more):
        """The same for a call in this process; the settings that come on top."""
        variables = json.loads((self.folder / "vars.json").read_text())
        settings = {name.removeprefix("migration_"): value for name, value in variables.items() if name.startswith("migration_")}
        return {"kubeconfig": variables["tandem_kubeconfig"], "context": None, "plan_src": str(self.folder / "plan.json"),
                "estate_src": str(self.folder / "estate.json"), "wave": None, "vms": [], "accept_loss": ["erp"], "progress_dest": "", "journal_dest": "",
                "settings": {**settings, **more}}

    def start(self, name, *more):
        command = [pathlib.Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", f"playbooks/{name}.yml", "-e", f"@{self.folder / 'vars.json'}", *more]
        return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true"},
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, name, *more):
        process = self.start(name, *more)
        out, _none = process.communicate(timeout=300)
        assert process.returncode == 0 and "secret" not in out, out
        return out

    def killed_amid(self, phase):
        """Kill -9 the module as soon as the phase has begun."""
        process, progress, pid = self.start("migrate"), self.folder / "migration-progress.jsonl", 0
        while process.poll() is None:
            lines = [json.loads(line) for line in progress.read_text().splitlines()] if progress.exists() else []
            pid = next((line["pid"] for line in reversed(lines) if "pid" in line), 0)
            if pid and any(line.get("phase") == phase for line in lines):
                os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.02)
        process.communicate(timeout=120)
        assert process.returncode != 0


def test_a_vm_that_is_off_is_moved_verified_and_put_back(vcenter, control_plane, cluster, node, namespace, tmp_path):
    playbook = Playbook(vcenter, control_plane, namespace, tmp_path)
    _file, digest = vsphere_case.fill(vcenter, playbook.vm.moid, tmp_path)
    assert "copy 1 disks" in playbook.run("migrate", "--check", "--diff")
    playbook.killed_amid("final")
    out = playbook.run("migrate")
    assert "changed=1" in out and "verify done" in out, out
    assert "changed=0" in playbook.run("migrate")
    claim = cluster.get("v1", "PersistentVolumeClaim", "erp-disk-0", namespace)
    volume = cluster.get("v1", "PersistentVolume", claim["spec"]["volumeName"])
    target = pathlib.Path(volume["spec"]["hostPath"]["path"], "disk.img")
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest
    assert cluster.get("kubevirt.io/v1", "VirtualMachineInstance", "erp", namespace)["status"]["nodeName"] == "lab-1"
    assert not list((tmp_path / "fetched").rglob("*.vmdk*")) and not list((tmp_path / "pki").iterdir()), "disks and keys are gone"
    with vsphere_case.machine(vcenter, playbook.vm.moid) as live:
        assert live.config.template, "the source is fenced"
    assert "changed=1" in playbook.run("rollback", "-e", json.dumps({"migration_rollback_vms": ["erp"], "migration_accept_loss": ["erp"]}))
    with vsphere_case.machine(vcenter, playbook.vm.moid) as live:
        assert (live.config.template, live.runtime.powerState) == (False, "poweredOff")
    assert cluster.get("kubevirt.io/v1", "VirtualMachine", "erp", namespace)["spec"]["runStrategy"] == "Halted"


def test_a_vm_that_runs_is_moved_cold_when_that_is_asked_for(vcenter, control_plane, cluster, node, namespace, tmp_path):
    playbook = Playbook(vcenter, control_plane, namespace, tmp_path)
    _file, digest = vsphere_case.fill(vcenter, playbook.vm.moid, tmp_path)
    with vsphere_case.machine(vcenter, playbook.vm.moid) as live:
        live.PowerOnVM_Task()
    with pytest.raises(MigrationError, match=r"can be copied only while it is off, about .* its downtime budget is 1 s"):
        calls.migrate(playbook.options(engine="tandem", downtime_budget_seconds=1), False)
    found = calls.migrate(playbook.options(engine="tandem", force_stop=True, stop_timeout_seconds=10), False)["vms"]["erp"]
    assert found["state"] == "accepted" and found["downtime_seconds"] > 0
    claim = cluster.get("v1", "PersistentVolumeClaim", "erp-disk-0", namespace)
    volume = cluster.get("v1", "PersistentVolume", claim["spec"]["volumeName"])
    assert hashlib.sha256(pathlib.Path(volume["spec"]["hostPath"]["path"], "disk.img").read_bytes()).hexdigest() == digest
    assert calls.roll_back(playbook.options(), False)["vms"]["erp"]["state"] == "rolled back"
    with vsphere_case.machine(vcenter, playbook.vm.moid) as live:
        assert (live.config.template, live.runtime.powerState) == (False, "poweredOn"), "as it was before"
