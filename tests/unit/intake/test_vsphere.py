# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vSphere's property tree to LegacyVm and its rules; the same code against a simulator: tests/integration/intake."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Fate
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import assembly, vsphere, vsphere_rules
from ansible_collections.tandem.hybrid.plugins.module_utils.intake.ledger import Node, count_fields


def device(kind, *children, **attributes):
    return Node("device", {"type": kind, **{key: str(value) for key, value in attributes.items()}}, children=list(children))


def backing(kind, **attributes):
    return Node("backing", {"type": kind, **attributes})


def sample():
    hardware = Node("hardware", {"numCPU": "8", "numCoresPerSocket": "4", "memoryMB": "4096"}, children=[
        device("ParaVirtualSCSIController", key=1000, busNumber=0, sharedBus="noSharing"),
        device("VirtualDisk", backing("VirtualDiskFlatVer2BackingInfo", fileName="[ds] a/data.vmdk", diskMode="independent_persistent", uuid="6000C29a-1"),
               key=2001, controllerKey=1000, unitNumber=1, capacityInBytes=2**31),
        device("VirtualDisk", backing("VirtualDiskRawDiskMappingVer1BackingInfo", fileName="[ds] a/root.vmdk", diskMode="persistent"),
               key=2000, controllerKey=1000, unitNumber=0, capacityInKB=2**20),
        device("VirtualVmxnet3", Node("backing", {"type": "DistributedVirtualPortBackingInfo"}, children=[Node("port", {"portgroupKey": "dvportgroup-9"})]),
               Node("connectable", {"startConnected": "false"}), key=4000, macAddress="00:50:56:00:00:07"),
        device("VirtualPCIPassthrough", backing("VirtualPCIPassthroughDeviceBackingInfo", id="0000:3b:00.0", deviceId="2331", vendorId="4318"), key=5000),
        device("VirtualTPM", key=6000)])
    config = Node("config", {"uuid": "421a6177-5aa9-abb7-5924-fc376c18a1b4", "instanceUuid": "50", "firmware": "efi", "guestId": "debian12_64Guest",
                             "changeTrackingEnabled": "false", "surprise": "x"}, children=[
        hardware, Node("bootOptions", {"efiSecureBootEnabled": "true"}, children=[Node("bootOrder", {"type": "BootableDiskDevice", "deviceKey": "2000"})])])
    return Node("vm", {"name": "db"}, children=[config, Node("runtime", {"powerState": "poweredOn", "host": "esx1"})])


def test_a_vm():
    root = sample()
    vm = vsphere.parse("vm-7", root, "vsphere://vc", {"dvportgroup-9": "production"}, ["stage/production"])
    assert (vm.name, vm.id, vm.moid, vm.power_state, vm.host, vm.tags) == ("db", "vsphere/50", "vm-7", "running", "esx1", ["stage/production"])
    assert (vm.cpu.sockets, vm.cpu.cores, vm.memory_bytes, vm.firmware.secure_boot, vm.tpm) == (2, 4, 2**32, True, "tpm-crb")
    assert [(disk.id, disk.device, disk.order, disk.boot_order, disk.size_bytes, disk.independent) for disk in vm.disks] == [
        ("disk2001", "disk", 1, None, 2**31, True), ("disk2000", "lun", 0, 1, 2**30, False)]
    assert [(nic.mac, nic.network, nic.link_up) for nic in vm.nics] == [("00:50:56:00:00:07", "production", False)]
    assert (vm.host_devices[0].vendor_id, vm.host_devices[0].product_id) == ("10de", "2331")
    assert len(vm.ledger) == count_fields(root)
    assert [line.path for line in vm.ledger if line.fate is Fate.UNKNOWN] == ["/vm/config/@surprise"]


def test_what_the_cluster_and_the_host_did():
    root = sample()
    config = root.children[0]
    config.attributes |= {"cpuHotAddEnabled": "true", "memoryHotAddEnabled": "false"}
    config.children += [Node("cpuAffinity", children=[Node("affinitySet", {"value": "2"}), Node("affinitySet", {"value": "3"})]),
                        Node("extraConfig", {"numa.nodeaffinity": "0", "guestinfo.userdata": "c2VjcmV0", "novel.key": "1"})]
    root.children.append(Node("cluster", {"drs": "true", "ha": "true", "dpm": "false"}))
    vm = vsphere.parse("vm-7", root, "vsphere://vc", {}, [])
    assert (vm.hot_add, vm.cluster_services, vm.cpu.pinning["7"]) == (["cpu"], ["drs", "ha"], "2,3")
    assert len(vm.ledger) == count_fields(root) and "c2VjcmV0" not in repr(vm)
    assert {line.path for line in vm.ledger if line.fate is Fate.UNKNOWN} == {"/vm/config/@surprise", "/vm/config/extraConfig/@novel.key"}
    (assessed,) = assembly.assemble([vm], ["vsphere://vc"]).vms
    assert {"hot-add", "cluster-services", "pinning-dropped", "node-binding-dropped"} <= {concern.id for concern in assessed.concerns}


def test_rules():
    def rule(kind, name, *vms, **values):
        return Node("rule", {"type": kind, "name": name, "enabled": "true", **values}, children=[Node("vm", {"value": vm}) for vm in vms])

    def group(name, tag, *members):
        return Node("group", {"name": name}, children=[Node(tag, {"value": member}) for member in members])

    config = Node("configurationEx", children=[
        group("web", "vm", "vm-1", "vm-2"), group("db", "vm", "vm-3"), group("licensed", "host", "host-1"),
        rule("AntiAffinityRuleSpec", "apart", "vm-1", "vm-2", mandatory="true"), rule("AffinityRuleSpec", "off", "vm-1", enabled="false"),
        rule("VmHostRuleInfo", "licence", vmGroupName="db", affineHostGroupName="licensed", mandatory="true"),
        rule("DependencyRuleInfo", "order", vmGroup="web", dependsOnVmGroup="db")])
    assert vsphere_rules.groups(config) == {"vm-1": ["web"], "vm-2": ["web"], "vm-3": ["db"]}
    found = vsphere_rules.rules(config, {"vm-1": "a", "vm-2": "b", "vm-3": "c"}, {"host-1": "esx1"})
    assert [(one.name, one.kind, one.vms, one.hosts, one.mandatory) for one in found] == [
        ("apart", "anti-affinity", ["a", "b"], [], True), ("licence", "vm-host", ["c"], ["esx1"], True),
        ("order/a", "dependency", ["a", "c"], [], True), ("order/b", "dependency", ["b", "c"], [], True)]
