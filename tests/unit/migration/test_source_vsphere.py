# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a vSphere source needs no server: whose URL is whose disk, credentials, and a lease that is not free yet."""
from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import source_vsphere
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import Settings, Vsphere
from migration_factory import vm_task

vim = pytest.importorskip("pyVmomi").vim
device = vim.vm.device


@pytest.fixture
def source():
    return source_vsphere.VsphereSource(vm_task(), None, lambda **_data: None)


@pytest.fixture
def vm():
    """Two disks on different controllers, listed in another order than the lease names them."""
    hardware = [device.ParaVirtualSCSIController(key=1000, busNumber=0), device.VirtualAHCIController(key=15000, busNumber=1),
                device.VirtualDisk(key=2001, controllerKey=15000, unitNumber=0), device.VirtualCdrom(key=3000, controllerKey=15000, unitNumber=1),
                device.VirtualDisk(key=2000, controllerKey=1000, unitNumber=3)]
    return SimpleNamespace(config=SimpleNamespace(hardware=SimpleNamespace(device=hardware)))


def lease(*offered):
    urls = [vim.HttpNfcLease.DeviceUrl(key=key, url=f"https://esx/{name}", disk=disk) for key, name, disk in offered]
    return SimpleNamespace(info=SimpleNamespace(deviceUrl=urls))


def test_a_url_belongs_to_the_disk_at_its_place(source, vm):
    found = lease(("/vm-7/ParaVirtualSCSIController0:3", "a", True), ("/vm-7/nvram", "n", False), ("/vm-7/VirtualAHCIController1:0", "b", True))
    assert source._urls(vm, found) == {"disk2000": "https://esx/a", "disk2001": "https://esx/b"}


def test_keys_without_a_place_are_taken_in_the_order_of_the_disks(source, vm):
    found = lease(("/vm-7/disk:0", "a", True), ("/vm-7/disk:1", "b", True))
    assert source._urls(vm, found) == {"disk2001": "https://esx/a", "disk2000": "https://esx/b"}


def test_a_lease_without_a_disk_is_refused(source, vm):
    with pytest.raises(MigrationError, match="offers 1 disks, the VM has 2"):
        source._urls(vm, lease(("/vm-7/disk:0", "a", True)))


def test_a_vm_that_another_task_uses_is_waited_for_and_an_error_ends_the_lease(source, monkeypatch):
    monkeypatch.setattr(source_vsphere, "RETRY_SECONDS", 0.01)
    answers, ended = [vim.fault.TaskInProgress(), vim.fault.TaskInProgress()], []
    one = SimpleNamespace(state="ready", HttpNfcLeaseAbort=lambda: ended.append("aborted"), HttpNfcLeaseComplete=lambda: ended.append("completed"))

    def export():
        if answers:
            raise answers.pop()
        return one

    monkeypatch.setattr(source, "_urls", lambda _vm, _lease: {})
    with source._lease(SimpleNamespace(ExportVm=export), vim):
        pass
    with pytest.raises(OSError, match="disk full"), source._lease(SimpleNamespace(ExportVm=export), vim):
        raise OSError("disk full")
    assert ended == ["completed", "aborted"]


def test_a_lease_that_fails_tells_its_reason(source):
    failed = SimpleNamespace(state="error", error=vim.fault.FileFault(msg="[fast] erp.vmdk is locked"), HttpNfcLeaseAbort=lambda: None)
    with pytest.raises(MigrationError, match=r"the export lease is error: \[fast\] erp.vmdk is locked"), source._lease(SimpleNamespace(ExportVm=lambda: failed), vim):
        raise AssertionError("must not be reached")


def test_credentials_come_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("VSPHERE_USER", "robot")
    monkeypatch.setenv("VSPHERE_PASSWORD", "of the environment")
    assert source_vsphere.credentials(Settings()) == ("robot", "of the environment")
    (tmp_path / "password").write_text("of the file\n")
    assert source_vsphere.credentials(Settings(vsphere=Vsphere("admin", str(tmp_path / "password")))) == ("admin", "of the file")
    with pytest.raises(MigrationError, match=r"vsphere.password_file .*none: No such file"):
        source_vsphere.credentials(Settings(vsphere=Vsphere("admin", str(tmp_path / "none"))))
    monkeypatch.delenv("VSPHERE_PASSWORD")
    with pytest.raises(MigrationError, match="or the environment variables VSPHERE_USER and VSPHERE_PASSWORD"):
        source_vsphere.credentials(Settings())
