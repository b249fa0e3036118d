# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each parser reads, and rendering of the same samples."""
from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Fate
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import assembly, libvirt, ovf, vmx
from ansible_collections.tandem.hybrid.plugins.module_utils.intake.errors import IntakeError
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt import choices, maps, render, settlement
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.errors import RenderError

from intake_samples import DOMAIN, OVF, VMX

MAPS = maps.maps([{"source": "default", "network": "pod"}, {"source": "*", "network": "lan"}], [{"source": "*", "storage_class": "local"}],
                 [{"source": "0000:3b:00.0", "resource": "nvidia.com/GH100_H100_SXM5_80GB", "vendor_product": "10de:2330"}])


def domain():
    (vm,) = libvirt.parse(DOMAIN.encode(), "orders.xml")
    return dataclasses.replace(vm, disks=[dataclasses.replace(disk, size_bytes=disk.size_bytes or 2**30) for disk in vm.disks])


def test_libvirt():
    vm = domain()
    assert (vm.name, vm.memory_bytes, vm.power_state, vm.os_family) == ("Orders_DB", 2 * 2**30, "off", "linux")
    assert (vm.cpu.sockets, vm.cpu.cores, vm.cpu.threads, vm.cpu.max_vcpus, vm.cpu.nested) == (2, 2, 1, 8, True)
    assert (vm.firmware.kind, vm.firmware.secure_boot, vm.tpm, vm.guest_agent) == ("efi", True, "tpm-crb", True)
    assert [(disk.id, disk.order, disk.boot_order, disk.controller_model) for disk in vm.disks] == [
        ("sdb", 1, None, "virtio-scsi"), ("sda", 0, 1, "virtio-scsi"), ("sdc", 2, None, "")]
    assert [(nic.mac, nic.network, nic.model, nic.link_up) for nic in vm.nics] == [
        ("52:54:00:aa:bb:01", "default", "virtio", False), ("52:54:00:aa:bb:02", "br0", "rtl8139", True)]
    assert vm.host_devices[0].address == "0000:3b:00.0"


@pytest.mark.parametrize(("own", "expected"), [("", ""), ("<watchdog model='i6300esb' action='reset'/>", "i6300esb")])
def test_the_timer_that_q35_has_by_itself_is_no_watchdog_of_the_vm(own, expected):
    text = DOMAIN.replace("<watchdog model='i6300esb' action='reset'/>", f"<watchdog model='itco' action='reset'/>{own}")
    (vm,) = libvirt.parse(text.encode(), "orders.xml")
    assert vm.watchdog == expected
    assert {line.fate for line in vm.ledger if "watchdog" in line.path and line.value == "itco"} == {Fate.DROPPED}


def test_ovf():
    (vm,) = ovf.parse(OVF.encode(), "crm.ovf")
    assert (vm.name, vm.memory_bytes, vm.cpu.sockets, vm.cpu.cores, vm.os_family) == ("CRM server", 4 * 2**30, 2, 2, "linux")
    assert (vm.firmware.kind, vm.firmware.secure_boot) == ("efi", True)
    assert [(disk.id, disk.order, disk.size_bytes, disk.source) for disk in vm.disks] == [
        ("disk5", 1, 2 * 2**30, ""), ("disk4", 0, 8 * 2**30, "crm-disk1.vmdk")]
    assert (vm.nics[0].mac, vm.host_devices[0].kind, vm.host_devices[0].profile) == ("00:50:56:9a:00:01", "vgpu", "grid_a100-8c")


def test_vmx():
    (vm,) = vmx.parse(VMX.encode(), "office.vmx")
    assert (vm.name, vm.uuid, vm.cpu.sockets, vm.cpu.cores) == ('Büro "alt"', "421a6177-5aa9-abb7-5924-fc376c18a1b4", 2, 4)
    assert [(disk.id, disk.device, disk.controller_model) for disk in vm.disks] == [
        ("scsi0:0", "disk", "pvscsi"), ("scsi0:1", "disk", "pvscsi"), ("sata0:0", "cdrom", "")]
    assert [(nic.mac, nic.model) for nic in vm.nics] == [("00:50:56:11:22:33", "vmxnet3")]
    assert vm.snapshots == ["root-000002.vmdk"] and vm.firmware.secure_boot and vm.os_family == "windows"


def test_rendering_keeps_what_the_guest_sees():
    rendered = render.render(domain(), render.Settings("shop", MAPS))
    spec = rendered.virtual_machine["spec"]["template"]["spec"]
    devices = spec["domain"]["devices"]
    assert rendered.virtual_machine["metadata"]["name"] == "orders-db" and rendered.virtual_machine["spec"]["runStrategy"] == "Halted"
    assert spec["domain"]["firmware"]["bootloader"] == {"efi": {"secureBoot": True, "persistent": True}}
    assert spec["domain"]["features"]["smm"] == {"enabled": True}
    assert spec["domain"]["cpu"] == {"sockets": 2, "cores": 2, "threads": 1, "maxSockets": 4, "model": "host-passthrough",
                                     "features": [{"name": "vmx", "policy": "optional"}]}
    assert [(disk["name"], disk["bootOrder"], disk["disk"]["bus"]) for disk in devices["disks"]] == [("disk-0", 1, "scsi"), ("disk-1", 3, "scsi")]
    assert devices["disks"][1]["serial"].isalnum() and len(devices["disks"][1]["serial"]) == 20
    assert [(nic["macAddress"], nic.get("state"), nic.get("bootOrder")) for nic in devices["interfaces"]] == [
        ("52:54:00:aa:bb:01", "down", None), ("52:54:00:aa:bb:02", None, 2)]
    assert devices["gpus"] == [{"name": "gpus-0", "deviceName": "nvidia.com/GH100_H100_SXM5_80GB"}]
    assert rendered.permitted_host_devices == {"pciHostDevices": [
        {"pciVendorSelector": "10DE:2330", "resourceName": "nvidia.com/GH100_H100_SXM5_80GB", "externalResourceProvider": True}]}
    assert [claim["spec"]["resources"]["requests"]["storage"] for claim in rendered.claims] == ["1086Mi", "1086Mi"]
    assert rendered.claims[0]["metadata"]["annotations"]["tandem.hybrid/source-disk"] == "sda"


def test_the_plan_decides_node_and_device():
    place = Assignment("orders", "vm", 0, "lab-1", "only", eligible=["lab-2"], resource="nvidia.com/OTHER")
    spec = render.render(domain(), render.Settings("shop", MAPS), place).virtual_machine["spec"]["template"]["spec"]
    affinity = spec["affinity"]["nodeAffinity"]
    assert affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == ["lab-1", "lab-2"]
    assert affinity["preferredDuringSchedulingIgnoredDuringExecution"][0]["preference"]["matchExpressions"][0]["values"] == ["lab-1"]
    assert spec["domain"]["devices"]["gpus"][0]["deviceName"] == "nvidia.com/OTHER"


@pytest.mark.parametrize(("network", "storage", "device", "sentence"), [
    ([], [{"source": "*", "storage_class": "s"}], [{"source": "*", "resource": "a.b/c"}], "network map"),
    ([{"source": "*", "network": "lan"}], [], [{"source": "*", "resource": "a.b/c"}], "storage map"),
    ([{"source": "*", "network": "lan"}], [{"source": "*", "storage_class": "s"}], [], "device map"),
    ([{"source": "*", "network": "pod"}], [{"source": "*", "storage_class": "s"}], [{"source": "*", "resource": "a.b/c"}], "one interface on it")])
def test_what_no_rule_fits_blocks(network, storage, device, sentence):
    with pytest.raises(RenderError, match=sentence):
        render.render(domain(), render.Settings("shop", maps.maps(network, storage, device)))


def test_sizes_come_from_the_instance_type_or_from_the_vm_never_from_both():
    rendered = render.render(domain(), render.Settings("shop", MAPS, instancetype="u1.large", preference="debian"))
    guest = rendered.virtual_machine["spec"]["template"]["spec"]["domain"]
    assert "memory" not in guest and "sockets" not in guest["cpu"]
    assert rendered.virtual_machine["spec"]["instancetype"] == {"name": "u1.large"}


def test_ovf_boot_order_names_instances():
    section = '<vmw:BootOrderSection vmw:instanceId="6 5" vmw:type="disk"><Info>order</Info></vmw:BootOrderSection><AnnotationSection>'
    (vm,) = ovf.parse(OVF.replace("<AnnotationSection>", section).encode(), "crm.ovf")
    assert [(item.id, item.boot_order) for item in (*vm.disks, *vm.nics)] == [("disk5", 2), ("disk4", None), ("nic6", 1)]


def test_windows_from_vmware_gets_devices_it_has_drivers_for():
    (vm,) = assembly.assemble(vmx.parse(VMX.encode(), "office.vmx"), ["office.vmx"], disk_bytes={"scsi0:0": 2**30, "scsi0:1": 2**30}).vms
    guest = render.render(vm, render.Settings("shop", MAPS)).virtual_machine["spec"]["template"]["spec"]["domain"]["devices"]
    assert {disk["disk"]["bus"] for disk in guest["disks"]} == {"sata"} and guest["interfaces"][0]["model"] == "e1000e"
    told = {(line.target, line.becomes) for line in vm.ledger if line.becomes}
    assert ("nics[0].model", "e1000e") in told


def test_the_operator_chooses_a_bus():
    (vm,) = assembly.assemble(ovf.parse(OVF.encode(), "crm.ovf"), ["crm.ovf"], disk_buses={"CRM server/disk4": "sata"}).vms
    assert {disk.id: choices.disk_bus(disk) for disk in vm.disks} == {"disk5": "scsi", "disk4": "sata"}
    with pytest.raises(IntakeError, match="expected one of virtio"):
        assembly.assemble(ovf.parse(OVF.encode(), "crm.ovf"), ["crm.ovf"], disk_buses={"disk4": "floppy"})


@pytest.mark.parametrize(("text", "parse"), [(DOMAIN, libvirt.parse), (OVF, ovf.parse), (VMX, vmx.parse)], ids=["libvirt", "ovf", "vmx"])
def test_every_place_the_ledger_names_is_in_the_manifest(text, parse):
    sizes = {name: 2**30 for name in ("sda", "sdb", "scsi0:0", "scsi0:1")}
    (vm,) = assembly.assemble(parse(text.encode(), "sample"), ["sample"], disk_bytes=sizes, device_ids={"0000:3b:00.0": "10de:2330"}).vms
    rendered = render.render(vm, render.Settings("shop", maps.maps([{"source": "*", "network": "lan"}], [{"source": "*", "storage_class": "s"}])))
    missing = [line for line in vm.ledger if line.fate in (Fate.MAPPED, Fate.CHANGED) and not settlement.lookup(rendered.virtual_machine, rendered.claims, line.place)]
    assert not missing
    assert all(line.becomes and line.reason for line in vm.ledger if line.fate is Fate.CHANGED)
