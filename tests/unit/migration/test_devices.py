# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the look at a boot disk to the devices of the VM."""
from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, Nic
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import target
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.devices import Decision, converts, decide, fitted
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import UNFIT_GUEST, Settings
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.plan_steps import progress
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.cli import _parser
from migration_factory import legacy, vm_task, vm_tasks
from test_plan_steps import journal


def fitness(verdict, bus="scsi", sentence="/boot/initrd.img lacks virtio_scsi", compatible=None):
    return {"verdict": verdict, "bus": bus, "sentence": sentence, "compatible": compatible}


def vmware(**settings):
    vm = replace(legacy(), disks=[Disk(id="scsi0:1", order=1, bus="scsi", controller_model="pvscsi", size_bytes=1 << 20, source="/b.vmdk", serial="B"),
                                  Disk(id="scsi0:0", order=0, bus="scsi", controller_model="pvscsi", size_bytes=1 << 20, source="/a.vmdk", read_only=True)],
                 nics=[Nic(id="n", mac="00:50:56:00:00:01", model="vmxnet3")])
    return vm_tasks(vm, settings=Settings(**settings))[0]


def test_only_a_boot_disk_that_changes_its_driver_is_looked_at():
    assert [disk.boots_from for disk in vm_task().disks] == ["", ""]
    assert {disk.id: disk.boots_from for disk in vmware().disks} == {"scsi0-0": "scsi", "scsi0-1": ""}


def test_the_mover_knows_every_bus_it_may_be_asked_for():
    for disk in vmware().disks:
        asked = ["--fitness", disk.boots_from] if disk.boots_from else []
        arguments = ["copy", "--source", "s", "--target", "t", "--state", "s", "--disk", "d", "--source-id", "i", "--generation", "g", *asked]
        assert _parser().parse_args(arguments).fitness == disk.boots_from


def test_a_ready_guest_starts_as_planned_whatever_is_set():
    for setting in UNFIT_GUEST:
        assert decide(vmware(unfit_guest=setting, conversion_image="v2v"), fitness("ready", sentence="all there")) == Decision("planned", "guest ready for scsi: all there")


@pytest.mark.parametrize("verdict", ["rebuild", "convert", "unknown"])
@pytest.mark.parametrize("compatible", [True, None])
def test_another_gets_compatible_devices(verdict, compatible):
    found = decide(vmware(), fitness(verdict, compatible=compatible))
    assert found.devices == "compatible"
    assert found.sentence == (f"guest {verdict} for scsi: /boot/initrd.img lacks virtio_scsi; it starts with disks on sata and network interfaces e1000e")


@pytest.mark.parametrize(("verdict", "remedy"), [("rebuild", "rebuild the initramfs with them in the running source"),
                                                 ("convert", "set migration_unfit_guest to convert"), ("unknown", "see that it has the driver")])
def test_stop_says_what_to_do(verdict, remedy):
    with pytest.raises(MigrationError, match=f"orders: guest {verdict} for scsi: .*{remedy}.* for virt-v2v, or to compatible, for"):
        decide(vmware(unfit_guest="stop"), fitness(verdict))


def test_a_guest_that_sata_does_not_help_is_not_started():
    with pytest.raises(MigrationError, match=r"rebuild the initramfs .* to convert, for virt-v2v; it lacks what sata needs too"):
        decide(vmware(), fitness("rebuild", compatible=False))


@pytest.mark.parametrize("verdict", ["rebuild", "convert", "unknown"])
@pytest.mark.parametrize("compatible", [True, False, None])
def test_any_guest_that_is_not_ready_is_converted_where_that_is_asked_for(verdict, compatible):
    task, found = vmware(unfit_guest="convert", conversion_image="v2v"), fitness(verdict, compatible=compatible)
    assert decide(task, found) == Decision("converted", (f"guest {verdict} for scsi: /boot/initrd.img lacks virtio_scsi; virt-v2v converts it, which makes"
                                                         " its downtime longer, and it starts with disks on virtio"))
    assert converts(task, found)


def test_before_a_look_a_conversion_is_expected_where_the_boot_disk_changes_its_driver():
    convert = {"unfit_guest": "convert", "conversion_image": "v2v"}
    assert converts(vmware(**convert), {})
    assert not converts(vmware(**convert), fitness("ready"))
    assert not converts(vm_task(**convert), {})
    assert not converts(vmware(), {})


def test_a_conversion_needs_an_image():
    with pytest.raises(MigrationError, match="orders: unfit_guest convert needs conversion_image, an image with virt-v2v-in-place and qemu-img"):
        vmware(unfit_guest="convert")


def test_an_unknown_setting_is_refused():
    with pytest.raises(MigrationError, match=r"unfit_guest 'hope'; expected compatible, stop or convert"):
        vmware(unfit_guest="hope")


def devices(machine):
    found = machine["spec"]["template"]["spec"]["domain"]["devices"]
    return [disk["disk"] for disk in found["disks"]], [nic["model"] for nic in found["interfaces"]]


def test_compatible_devices_change_nothing_else():
    rendered = vmware().rendered.virtual_machine
    before = deepcopy(rendered)
    assert devices(rendered) == ([{"bus": "scsi", "readonly": True}, {"bus": "scsi"}], ["virtio"])
    found = fitted(rendered, "compatible")
    assert devices(found) == ([{"bus": "sata"}, {"bus": "sata"}], ["e1000e"])
    assert fitted(rendered, "planned") == fitted(rendered, "") == rendered == before
    assert devices(fitted(rendered, "converted")) == ([{"bus": "virtio", "readonly": True}, {"bus": "virtio"}], ["virtio"])
    for part in ("disks", "interfaces"):
        found["spec"]["template"]["spec"]["domain"]["devices"][part] = before["spec"]["template"]["spec"]["domain"]["devices"][part]
    assert found == before


def test_the_check_expects_the_devices_that_were_chosen():
    task = vmware()
    vm = target.machine(task, "compatible")["spec"]["template"]["spec"]
    vmi = {"spec": vm, "status": {"nodeName": task.node, "interfaces": [{"mac": "00:50:56:00:00:01"}]}}
    assert target.differences(task, vmi, "compatible") == []
    assert target.differences(task, vmi) == ["device disk-0 is sata, expected scsi", "device disk-1 is sata, expected scsi",
                                             "device net-0 is e1000e, expected virtio"]


def test_the_journal_keeps_look_and_decision_until_the_copy_is_made_anew():
    events = [("inspect", "done", {"mode": "cold"}), ("final", "fitness", fitness("rebuild")),
              ("cutover", "devices", {"devices": "compatible", "sentence": "s"})]
    state = progress(journal(*events), "orders")
    assert (state.fitness, state.devices) == (fitness("rebuild"), "compatible")
    for event in (("final", "reread", {"reason": "r"}), ("rollback", "rolled-back", {})):
        state = progress(journal(*events, event), "orders")
        assert (state.fitness, state.devices) == ({}, "")
