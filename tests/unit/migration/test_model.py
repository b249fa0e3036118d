# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Toleration
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import DocumentError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, Estate
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan, PodRule, Unplaced
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import Probe, Settings, kubernetes_name, tasks
from migration_factory import GIB, assignment, legacy, vm_tasks


@pytest.mark.parametrize(("text", "name"), [("Orders", "orders"), ("a_b.c", "a-b-c"), ("-x-", "x")])
def test_names_are_dns_labels(text, name):
    assert kubernetes_name(text) == name


def test_long_names_stay_apart():
    first, second = kubernetes_name("v" * 70 + "-vda"), kubernetes_name("v" * 70 + "-vdb")
    assert first != second
    assert len(first) == 63


def test_a_name_without_letters_is_refused():
    with pytest.raises(MigrationError, match="expected a letter or digit"):
        kubernetes_name("...")


def test_tasks_come_by_wave_and_name_with_their_disks():
    found = vm_tasks(legacy("b"), legacy("a"), legacy("c"), waves={"b": 0, "a": 1, "c": 0})
    assert [task.name for task in found] == ["b", "c", "a"]
    assert [(disk.claim, disk.size_bytes) for disk in found[0].disks] == [("b-disk-0", GIB), ("b-disk-1", GIB >> 1)]


def test_the_template_carries_the_rules_and_tolerations_of_the_plan():
    rules = [PodRule("apart", "apart", ["crm", "orders"], "kubernetes.io/hostname")]
    one = replace(assignment(), rules=["apart"], tolerations=[Toleration("dedicated", "Exists")])
    task = tasks(Plan("", "", [one], rules=rules), Estate([legacy()]), Settings(storage_map=[{"source": "*", "storage_class": "local"}]))[0]
    template = task.rendered.virtual_machine["spec"]["template"]
    assert template["metadata"]["labels"]["tandem.hybrid/workload"] == "orders"
    assert template["spec"]["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]
    # A VM is not kept apart from itself: the pod that a live migration starts may share its zone.
    term = template["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    assert term["labelSelector"]["matchExpressions"][0]["values"] == ["crm"]


def test_a_vmware_disk_gets_a_name_that_labels_and_uris_take():
    disks = [Disk(id=name, source_kind="file", source=f"{name[-1]}.vmdk", size_bytes=GIB, format="vmdk") for name in ("scsi0:0", "scsi0:1")]
    (task,) = vm_tasks(replace(legacy(), disks=disks))
    assert [disk.id for disk in task.disks] == ["scsi0-0", "scsi0-1"]
    with pytest.raises(MigrationError, match=r"orders: two of its disks have the same name, scsi0-0, scsi0-0"):
        vm_tasks(replace(legacy(), disks=[disks[0], replace(disks[0], id="scsi0-0")]))
    with pytest.raises(MigrationError, match=r"orders: disk a/b is a LUN or its id is no label value"):
        vm_tasks(replace(legacy(), disks=[replace(disks[0], id="a/b")]))


@pytest.mark.parametrize(("source", "power_state", "engine", "wanted"), [
    ("vsphere://vc", "running", "auto", "forklift"), ("vsphere://vc", "off", "auto", "tandem"), ("ovirt://engine", "off", "auto", "forklift"),
    ("qemu:///system", "running", "auto", "tandem"), ("/exports/crm.ova", "off", "auto", "tandem"), ("/exports/crm.ova", "off", "forklift", "forklift"),
    ("vsphere://vc", "running", "tandem", "tandem")])
def test_who_moves_a_vm(source, power_state, engine, wanted):
    vm = replace(legacy(power_state=power_state), source=source)
    settings = Settings(storage_map=[{"source": "*", "storage_class": "local"}], vms={"orders": {"engine": engine}})
    (task,) = vm_tasks(vm, settings=settings)
    assert task.engine == wanted


def test_an_engine_that_does_not_exist_is_refused():
    with pytest.raises(MigrationError, match="orders: engine 'mtv'; expected auto, tandem or forklift"):
        vm_tasks(legacy(), settings=Settings(engine="mtv"))


def test_an_unplaced_vm_is_named_with_the_plans_reason():
    plan = Plan("", "", [], unplaced=[Unplaced("orders", 0, [], "", "no node has 64 GiB free")])
    with pytest.raises(MigrationError, match="orders: the plan has no place for it: no node has 64 GiB free"):
        tasks(plan, Estate([legacy()]), Settings(), ["orders"])


def test_an_unknown_vm_is_refused_with_the_known_names():
    with pytest.raises(MigrationError, match=r"nosuch: no VM of this name.*orders"):
        tasks(Plan("", "", [assignment()]), Estate([legacy()]), Settings(), ["nosuch"])


def test_settings_of_one_vm_lie_over_the_common_ones():
    settings = Settings(storage_map=[{"source": "*", "storage_class": "local"}], vms={
        "orders": {"storage_map": [{"source": "*", "storage_class": "shared"}], "probe": {"port": 80, "path": "/"}}})
    orders, crm = vm_tasks(legacy(), legacy("crm"), settings=settings)[::-1]
    assert orders.settings.probe == Probe(80, "/")
    assert crm.settings.probe is None
    assert [task.rendered.claims[0]["spec"]["storageClassName"] for task in (orders, crm)] == ["shared", "local"]


def test_a_setting_that_is_no_vms_is_refused():
    with pytest.raises(MigrationError, match=r"vms.orders.caps: no setting of a VM"):
        vm_tasks(legacy(), settings=Settings(vms={"orders": {"caps": {}}}))


def test_an_ill_typed_setting_is_refused():
    with pytest.raises(DocumentError, match=r"vms.orders.*ports: expected a list"):
        vm_tasks(legacy(), settings=Settings(vms={"orders": {"ports": 80}}))
