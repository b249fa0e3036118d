# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM of vCenter that is off, from its datastore to the target: vcsim is a stand-in (its ExportVm is ours), the disk and all else are real."""
from __future__ import annotations

import hashlib
import os
import pathlib
import ssl
import subprocess
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
import vsphere_case
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Estate
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import source_vsphere
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.hypervisor import Host
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import Settings, Vsphere, tasks
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer import pki
from nbd_source import MIB, needs_qemu
from test_exporter import free_port
from vsphere_case import SIZE, machine

pytestmark = needs_qemu


@pytest.fixture(scope="module")
def vcenter():
    with vsphere_case.running() as source:
        yield source


@pytest.fixture
def legacy(vcenter):
    """A VM of the stand-in, off and no template."""
    vm = vsphere_case.assessed(vcenter)
    yield vm
    with machine(vcenter, vm.moid) as live:
        assert not live.config.template


@pytest.fixture
def disk(vcenter, legacy, tmp_path):
    return vsphere_case.fill(vcenter, legacy.moid, tmp_path)


@pytest.fixture
def source(vcenter, legacy, tmp_path, monkeypatch):
    """The VM as a source, verified by a CA file, its password in a file; `source.urls` are what it fetched."""
    settings = Settings(storage_map=[{"source": "*", "storage_class": "local"}], vsphere=Vsphere(**vsphere_case.access(vcenter, tmp_path)), exporter_address="127.0.0.1",
                        exporter_certificates=str(tmp_path / "pki" / "exporter"))
    plan = Plan("", "", [Assignment("moved", "vm", 0, "lab-1", "")])
    (task,) = tasks(plan, Estate([replace(legacy, target_name="moved", power_state="off")]), settings)
    made = source_vsphere.VsphereSource(task, Host(""), lambda **_data: None)
    made.task, made.urls = task, []
    fetch = source_vsphere.download
    monkeypatch.setattr(source_vsphere, "download", lambda url, *rest: (made.urls.append(url), fetch(url, *rest))[1])
    yield made
    vsphere_case.access(vcenter, tmp_path)
    made.unfence("tandem-demo.moved", False)


def is_open(url):
    """Whether a lease still serves its file."""
    try:
        urllib.request.build_opener(urllib.request.HTTPSHandler(context=ssl._create_unverified_context())).open(url, timeout=10).close()
        return True
    except urllib.error.HTTPError as error:
        assert error.code == 404
        return False


def test_a_vm_that_is_off_arrives_with_equal_hashes(source, disk, mover, tmp_path):
    file, digest = disk
    pki.create(str(tmp_path / "pki"), ["127.0.0.1"])
    facts = source.facts()
    assert (facts.running, facts.fenced) == (False, False) and [(item.target, item.size_bytes) for item in facts.disks] == [(source.task.disks[0].id, SIZE)]
    source.fence("tandem-demo.moved")
    assert source.shut_down(5, False) < 5 and source.fenced() and "template" in source.prove_fence() and not source.running()
    port = free_port()
    mover.uri = f"nbd://127.0.0.1:{port}/g0-{source.task.disks[0].id}"
    with source.exporters(source.task.disks, source.task.settings, port, "g0", "") as served:
        result = mover.copy("g0", "--tls", tmp_path / "pki" / "mover", "--size-bytes", SIZE, "--wait-seconds", "20", "--verify", "--verify-source")
        served()
    assert result["rc"] == 0, result
    assert hashlib.sha256(mover.target.read_bytes()).hexdigest() == digest
    assert mover.target.stat().st_blocks * 512 < 20 * MIB, "sparse stays sparse"
    assert len(source.urls) == 1 and not is_open(source.urls[0]), "the lease was completed"
    with source.exporters(source.task.disks, source.task.settings, port, "g0", ""):
        assert len(source.urls) == 1, "what was fetched in this generation is not fetched again"
    for name in pathlib.Path(tmp_path, "fetched").rglob("*.vmdk"):
        assert name.stat().st_mode & 0o077 == 0
    assert source.clean() == [f"{source.task.disks[0].id}.vmdk"] and file.exists()


def test_a_fenced_vm_goes_back_to_its_pool(source, vcenter, legacy, tmp_path):
    with machine(vcenter, legacy.moid) as live:
        pool = live.resourcePool._moId
        live.PowerOnVM_Task()
    before = vsphere_case.read(vcenter)
    source.fence("tandem-demo.moved")
    assert source.running() and not source.fenced() and source.before()["running"]
    source.shut_down(5, True)
    assert source.fenced() and not source.running()
    assert vsphere_case.read(vcenter, tmp_path / "ca.pem") == before, "an assessment sees through the fence"
    source.unfence("tandem-demo.moved", False)
    source.unfence("tandem-demo.moved", False)
    assert not source.fenced() and not source.before()
    source.start()
    with machine(vcenter, legacy.moid) as live:
        assert (live.runtime.powerState, live.resourcePool._moId, live.config.template) == ("poweredOn", pool, False)
        assert source_vsphere.MARK not in {item.key for item in live.config.extraConfig}
        live.PowerOffVM_Task()


def fetch(source):
    with source.exporters(source.task.disks, source.task.settings, free_port(), "g0", ""):
        raise AssertionError("must not be served")


def test_a_disk_of_another_size_is_refused_and_the_lease_ended(source, disk, tmp_path):
    pki.create(str(tmp_path / "pki"), ["127.0.0.1"])
    file, _digest = disk
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=streamOptimized", str(file), str(SIZE * 2)], check=True)
    with pytest.raises(MigrationError, match=f"holds a disk of {SIZE * 2} bytes, expected {SIZE}"):
        fetch(source)
    assert not is_open(source.urls[0])


def test_a_descriptor_instead_of_a_disk_is_refused(source, disk):
    disk[0].write_text("# Disk DescriptorFile\n" + " " * 512)
    with pytest.raises(MigrationError, match="not a stream-optimised VMDK"):
        fetch(source)
    assert not is_open(source.urls[0]) and not os.listdir(source._folder)[0].endswith(".vmdk")


def test_a_vm_that_runs_is_not_exported(source, disk, vcenter, legacy):
    with machine(vcenter, legacy.moid) as live:
        live.PowerOnVM_Task()
    with pytest.raises(MigrationError, match=r"InvalidPowerState|power"):
        fetch(source)
    with machine(vcenter, legacy.moid) as live:
        live.PowerOffVM_Task()


def test_the_certificate_is_verified(source, tmp_path):
    pki.create(str(tmp_path / "other"), ["127.0.0.1"])
    (tmp_path / "ca.pem").write_bytes((tmp_path / "other" / "mover" / "ca.crt").read_bytes())
    with pytest.raises(MigrationError, match="certificate verify failed"):
        source.facts()


def test_a_wrong_password_is_one_sentence_without_it(source, tmp_path):
    (tmp_path / "password").write_text("Geheim1")
    with pytest.raises(MigrationError, match="user user or its password is wrong") as caught:
        source.facts()
    assert "Geheim1" not in str(caught.value)
