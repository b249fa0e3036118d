# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live sources: vSphere's simulator (a stand-in, built with Go) and libvirt's own test driver."""
from __future__ import annotations

import collections

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Fate
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import assembly, sources_reader
from ansible_collections.tandem.hybrid.plugins.module_utils.intake.errors import IntakeError
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt import choices
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError

from tests.bench import intake_vsphere


@pytest.fixture(scope="module")
def vcenter():
    try:
        binary = intake_vsphere.build()
    except LabError as error:
        pytest.skip(f"vcsim: {error}")
    with intake_vsphere.running(binary, 20) as source:
        yield source


def test_vsphere(vcenter):
    vms, rules = sources_reader.read(vcenter, access=intake_vsphere.ACCESS)
    estate = assembly.assemble(vms, [vcenter], rules)
    assert len(estate.vms) == 20 and all(vm.nics and vm.nics[0].mac and choices.kept_disks(vm)[0].size_bytes for vm in estate.vms)
    kinds = collections.Counter(device.kind for vm in estate.vms for device in vm.host_devices)
    assert kinds == {"pci": 2, "vgpu": 2}
    told = collections.Counter(concern.id for vm in estate.vms for concern in vm.concerns)
    expected = {"snapshots": 2, "node-binding-dropped": 2, "custom-attributes": 2, "static-address": 2, "addresses-unknown": 18, "cluster-services": 20,
                "source-rule": 12, "tpm-state": 10}
    assert {name: told[name] for name in expected} == expected
    assert sorted({tag for vm in estate.vms for tag in vm.tags}) == ["stage/production", "stage/test"]
    assert sum(vm.firmware.secure_boot and vm.tpm == "tpm-crb" for vm in estate.vms) == 10
    assert collections.Counter(rule.kind for rule in estate.rules) == {"affinity": 1, "anti-affinity": 1, "vm-host": 1, "dependency": 2}
    assert collections.Counter(group for vm in estate.vms for group in vm.groups) == {"front": 2, "back": 2}
    ids = {vm.id for vm in estate.vms}
    assert all(set(rule.vms) <= ids for rule in estate.rules)
    unknown = {line.path for vm in estate.vms for line in vm.ledger if line.fate is Fate.UNKNOWN}
    assert not unknown


def test_a_wrong_password_is_one_sentence(vcenter):
    with pytest.raises(IntakeError, match="password is wrong"):
        sources_reader.read(vcenter, access=sources_reader.Access("user", "wrong", validate_certs=False))


def test_an_untrusted_certificate_is_refused(vcenter):
    with pytest.raises(IntakeError, match="certificate"):
        sources_reader.read(vcenter, access=sources_reader.Access("user", "secret"))


def test_libvirt():
    pytest.importorskip("libvirt")
    (vm,) = sources_reader.read("test:///default")[0]
    assert (vm.name, vm.power_state, vm.source) == ("test", "running", "test:///default") and vm.memory_bytes == 8 * 2**30 and vm.ledger


def test_a_libvirt_that_is_not_there():
    pytest.importorskip("libvirt")
    with pytest.raises(IntakeError, match="qemu:"):
        sources_reader.read("qemu:///system?socket=/nonexistent")
