# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One test for each concern: a VM that has it, and the same VM without it."""
from __future__ import annotations

import dataclasses
import pathlib

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import (
    Clock,
    Cpu,
    Disk,
    Fate,
    Firmware,
    HostDevice,
    LedgerLine,
    LegacyVm,
    Nic,
    NumaCell,
    Rule,
    Severity,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import concerns
from ansible_collections.tandem.hybrid.plugins.module_utils.intake.errors import IntakeError

ROOT = pathlib.Path(__file__).resolve().parents[3]
DISK = Disk("vda", size_bytes=2**30, source="/images/a.qcow2")
PLAIN = LegacyVm("plain", "libvirt/1", "a.xml", uuid="4a6e0b5c-3e1f-4f4b-9a31-0d5a1c0e7a11", target_name="plain", machine="pc-q35-7.2", memory_bytes=2**30,
                 hypervisor="kvm", disks=[DISK], nics=[Nic("nic0", mac="52:54:00:00:00:01", model="virtio", network="default")], os_family="linux",
                 guest_agent=True)


def disk(**changes):
    return {"disks": [dataclasses.replace(DISK, **changes)]}


def nic(**changes):
    return {"nics": [dataclasses.replace(PLAIN.nics[0], **changes)]}


def line(path, fate=Fate.DROPPED, value=""):
    return {"ledger": [LedgerLine(path, value, fate, reason="r")]}


CASES = {
    "unknown-field": line("/domain/novelty", Fate.UNKNOWN),
    "architecture-unsupported": {"arch": "ppc64"}, "not-a-virtual-machine": {"virtualization": "exe"}, "memory-missing": {"memory_bytes": 0},
    "kernel-from-host": {"direct_kernel": "/boot/vmlinuz"}, "confidential-computing": line("/domain/launchSecurity/@type"),
    "no-uuid": {"uuid": ""}, "name-changed": {"target_name": "other"}, "suspended": {"power_state": "suspended"},
    "disk-size-unknown": disk(size_bytes=None), "disk-outside-package": disk(source_kind="refused"), "disk-in-chunks": disk(compression="gzip"),
    "disk-encrypted": disk(encrypted=True), "disk-on-network": disk(source_kind="network"), "disk-shared": disk(shareable=True),
    "raw-device-mapping": disk(device="lun", bus="scsi", controller_model="virtio-scsi"), "persistent-reservation": disk(reservations=True),
    "snapshots": {"snapshots": ["before"]}, "delta-disk": disk(backing="base.vmdk"), "independent-disk": disk(independent=True),
    "disk-driver": disk(bus="scsi", controller_model="pvscsi"), "disk-serial-changed": disk(serial="a b"), "disk-wwn-dropped": disk(wwn="5000"),
    "cdrom-dropped": disk(device="cdrom", bus="sata"), "floppy-dropped": disk(device="floppy", bus="fdc"),
    "transient-disk": line("/domain/devices/disk/transient"), "io-limits-dropped": line("/domain/devices/disk[2]/iotune/total_iops_sec/text()"),
    "nic-renamed": {"machine": "pc-i440fx-7.2"}, "nic-model-changed": nic(model="vmxnet3"), "nic-without-mac": nic(mac=""),
    "nic-host-bound": nic(network_kind="direct"), "nic-filter-dropped": line("/domain/devices/interface/filterref/@filter"),
    "nic-vlan-dropped": line("/domain/devices/interface/vlan/tag/@id"), "static-address": {"static_addresses": ["192.0.2.1"]},
    "device-unidentified": {"host_devices": [HostDevice("h", "pci", address="0000:01:00.0")]},
    "device-unsupported": {"host_devices": [HostDevice("h", "scsi_host")]}, "mediated-device-type": {"host_devices": [HostDevice("h", "mdev")]},
    "gpu-passthrough": {"host_devices": [HostDevice("h", "pci", "10de", "2330")]},
    "vgpu": {"host_devices": [HostDevice("h", "vgpu", profile="grid_a100-8c")]}, "usb-device": {"host_devices": [HostDevice("h", "usb", "1d6b", "0002")]},
    "sriov": {"host_devices": [HostDevice("h", "sriov", "8086", "1889")]}, "devices-dropped": line("/domain/devices/iommu/@model"),
    "memory-device-dropped": line("/domain/devices/memory/@model"), "filesystem-dropped": line("/domain/devices/filesystem/source/@dir"),
    "hypervisor-arguments": line("/domain/qemu:commandline/qemu:arg/@value"), "tpm-state": {"tpm": "tpm-crb"},
    "uefi-variables": {"firmware": Firmware("efi")}, "secure-boot": {"firmware": Firmware("efi", True)}, "licence-binding": {"os_family": "windows"},
    "pinning-dropped": {"cpu": Cpu(sockets=2, pinning={"0": "1-3"})}, "numa-dropped": {"cpu": Cpu(numa=[NumaCell(0, "0", 2**30)])},
    "hugepages-dropped": {"hugepage_bytes": 2**24}, "cpu-model": {"cpu": Cpu(mode="custom", model="Skylake-Server")},
    "host-passthrough": {"cpu": Cpu(mode="host-passthrough")}, "nested-virtualization": {"cpu": Cpu(nested=True)},
    "memory-hotplug": {"max_memory_bytes": 2**33}, "clock-localtime": {"clock": Clock("localtime")}, "guest-unsupported": {"os_id": "darwin", "os_family": "macos"},
    "guest-unknown": {"os_family": ""}, "guest-agent-missing": {"guest_agent": False}, "package-unverified": {"source": "a.ova"},
    "disk-renamed": disk(bus="nvme"), "nic-disconnected": nic(link_up=False), "cpu-hotplug": {"cpu": Cpu(max_vcpus=4)}, "watchdog-changed": {"watchdog": "ib700"},
    "template": {"template": True}, "fault-tolerance": {"fault_tolerance": True}, "change-tracking-off": {"change_tracking": False},
    # What the source's host, cluster and hypervisor did
    "cluster-services": {"cluster_services": ["drs", "ha"]}, "hot-add": {"hot_add": ["cpu"]}, "addresses-unknown": {"moid": "vm-7"},
    "custom-attributes": line("/vm/customValue[2]/@value"), "consolidation-needed": line("/vm/runtime/@consolidationNeeded", value="true"),
    "memory-ballooned": line("/vm/summary/quickStats/@balloonedMemory", value="512"),
    "reservations-dropped": line("/vm/config/memoryAllocation/@reservation", value="1024"), "node-binding-dropped": line("/vmx/@numa.nodeaffinity", value="0"),
    "io-threads-dropped": line("/domain/iothreads/text()"), "io-error-policy-dropped": line("/domain/devices/disk[1]/driver/@error_policy", value="report"),
    "memory-backing-dropped": line("/domain/memoryBacking/nosharepages"), "boot-menu-dropped": line("/domain/os/bootmenu/@enable", value="yes"),
    "display-changed": line("/domain/devices/graphics/@type", Fate.CHANGED), "disk-id-changed": line("/vmx/@disk.enableuuid", value="TRUE"),
    "too-many-disks": {"disks": [dataclasses.replace(DISK, id=f"vd{i}") for i in range(166)]}, "disk-empty": disk(size_bytes=512),
    "guest-old": {"os_id": "rhel6_64Guest"}, "boot-disk-order": {"disks": [DISK, dataclasses.replace(DISK, id="vdb", order=1)]},
}
# The same line with a value that means nothing.
HARMLESS = {"consolidation-needed": "false", "memory-ballooned": "0", "reservations-dropped": "0", "io-error-policy-dropped": "stop", "boot-menu-dropped": "no",
            "disk-id-changed": "FALSE"}
ACROSS = {"uuid-collision", "mac-collision", "source-rule"}


def found(vm):
    return {concern.id: concern for concern in concerns.assess([vm])[0].concerns}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_vm_that_has_it_is_told(name):
    concern = found(dataclasses.replace(PLAIN, **CASES[name]))[name]
    rule = concerns.BY_ID[name]
    assert (concern.severity, concern.remedy) == (rule.severity, rule.remedy) and "{" not in concern.sentence
    if "ledger" in CASES[name]:
        assert concern.ledger == CASES[name]["ledger"][0].path


def test_a_plain_vm_has_none():
    assert not found(PLAIN)


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_a_value_that_means_nothing_is_not_told(name):
    (entry,) = CASES[name]["ledger"]
    assert name not in found(dataclasses.replace(PLAIN, ledger=[dataclasses.replace(entry, value=HARMLESS[name])]))


@pytest.mark.parametrize(("os_id", "old"), [
    ("rhel6_64Guest", True), ("rhel9_64Guest", False), ("centos64Guest", False), ("http://redhat.com/rhel/5.8", True), ("http://microsoft.com/win/xp", True),
    ("http://microsoft.com/win/2k22", False), ("windows7Server64Guest", True), ("windows2019srv_64Guest", False), ("winNetEnterprise64Guest", True),
    ("vmwarePhoton64Guest", True), ("http://debian.org/debian/12", False), ("http://redhat.com/rhel/10.2", False), ("windows9Server64Guest", False)])
def test_old_guests(os_id, old):
    assert ("guest-old" in found(dataclasses.replace(PLAIN, os_id=os_id))) is old


@pytest.mark.parametrize(("first", "second", "told"), [
    (None, None, "vda is tried first"), (None, 1, "vda come last"), (2, 1, ""), (1, None, "vdb come last")])
def test_the_order_of_disks_at_boot(first, second, told):
    disks = [dataclasses.replace(DISK, boot_order=first), dataclasses.replace(DISK, id="vdb", order=1, boot_order=second)]
    concern = found(dataclasses.replace(PLAIN, disks=disks)).get("boot-disk-order")
    assert (told in concern.sentence) if told else concern is None


def test_a_rule_of_the_source_is_told_to_each_of_its_vms():
    other = dataclasses.replace(PLAIN, id="libvirt/2", uuid="", nics=[])
    with_rule, without = concerns.assess([PLAIN, other], [Rule("apart", "anti-affinity", [PLAIN.id])])
    assert [concern.sentence for concern in with_rule.concerns if concern.id == "source-rule"] == ["A rule of the source names the VM: apart (anti-affinity)."]
    assert not [concern for concern in without.concerns if concern.id == "source-rule"]


def test_equal_uuids_and_macs_block_both_vms():
    twins = concerns.assess([PLAIN, dataclasses.replace(PLAIN, name="twin", id="libvirt/2", target_name="twin")])
    for vm in twins:
        blocking = {concern.id for concern in vm.concerns if concern.severity is Severity.BLOCK}
        assert blocking == {"uuid-collision", "mac-collision"}
    assert "with twin" in twins[0].concerns[0].sentence


def test_every_concern_has_a_case_here_and_a_section_in_the_documentation():
    assert set(concerns.BY_ID) == set(CASES) | ACROSS
    text = (ROOT / "docs" / "concerns.md").read_text()
    assert all(concerns.explain(name) in text for name in concerns.BY_ID), "docs/concerns.md is stale: run make docs"


def test_an_unknown_concern_cannot_be_explained():
    with pytest.raises(IntakeError, match="one of"):
        concerns.explain("nonsense")
