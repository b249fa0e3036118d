# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, serials, claims, device names: what Kubernetes and KubeVirt accept, the same every time."""
from __future__ import annotations

import dataclasses
import re

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Cpu, Disk, HostDevice, LegacyVm, Nic
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu import pci_names
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt import choices, host_devices, instancetypes, maps, names
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.errors import RenderError
from hypothesis import given
from hypothesis import strategies as st

VM = LegacyVm("a", "a", "s")


@given(st.lists(st.tuples(st.text(max_size=90), st.text(min_size=1, max_size=20)), max_size=8, unique_by=lambda pair: pair[1]))
def test_target_names_are_labels_unique_and_stable(pairs):
    vms = [LegacyVm(name, key, "s") for name, key in pairs]
    named = {vm.id: vm.target_name for vm in names.target_names(vms)}
    assert len(set(named.values())) == len(vms)
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in named.values())
    assert named == {vm.id: vm.target_name for vm in names.target_names(list(reversed(vms)))}


def test_a_long_name_is_cut_before_it_is_trimmed_and_stays_unique():
    first, second = names.target_names([LegacyVm("x" * 56 + "-" * 10 + "one", "1", "s"), LegacyVm("x" * 56 + "-" * 10 + "two", "2", "s")])
    assert first.target_name != second.target_name and len(first.target_name) <= 63 and "--" not in first.target_name


@pytest.mark.parametrize(("text", "legal"), [("WD-1.2_3", "WD-1.2_3"), ("has blank", None), ("", None), ("x" * 300, None)])
def test_serials(text, legal):
    value = names.serial(text, "vm:sda")
    assert re.fullmatch(r"[A-Za-z0-9_.+-]{1,256}", value) and value == (legal or names.serial("", "vm:sda"))


@pytest.mark.parametrize(("product", "name"), [("1eb8", "TU104GL_TESLA_T4"), ("2330", "GH100_H100_SXM5_80GB"), ("26b9", "AD102GL_L40S"),
                                               ("2331", "GH100_H100_PCIE"), ("1e30", "TU102GL_QUADRO_RTX_6000_8000")])
def test_passthrough_names_are_those_the_plugin_advertises(product, name):
    assert pci_names.passthrough_resource("10DE", product) == f"nvidia.com/{name}"


def test_vgpu_names():
    assert pci_names.vgpu_resource("grid_a100-8c") == "nvidia.com/GRID_A100-8C"
    assert pci_names.vgpu_resource("NVIDIA A10-12Q") == "nvidia.com/NVIDIA_A10-12Q"


@pytest.mark.parametrize(("device", "section", "resource", "permit"), [
    (HostDevice("h", "pci", "10de", "2331"), "gpus", "nvidia.com/GH100_H100_PCIE", "pciHostDevices"),
    (HostDevice("h", "pci", "8086", "1528"), "hostDevices", "tandem.hybrid/pci-8086-1528", "pciHostDevices"),
    (HostDevice("h", "usb", "1d6b", "0002"), "hostDevices", "tandem.hybrid/usb-1d6b-0002", "usb"),
    (HostDevice("h", "vgpu", profile="grid_t4-2q"), "gpus", "nvidia.com/GRID_T4-2Q", "mediatedDevices")])
def test_host_devices(device, section, resource, permit):
    placed = host_devices.place(VM, device, maps.Maps())
    assert (placed.section, placed.resource, placed.permit[0]) == (section, resource, permit)


@pytest.mark.parametrize("device", [HostDevice("h", "pci", address="0000:01:00.0"), HostDevice("h", "mdev", address="u"), HostDevice("h", "scsi_host")])
def test_devices_that_cannot_be_told_block(device):
    with pytest.raises(RenderError):
        host_devices.place(VM, device, maps.Maps())


@given(st.integers(1, 2**50))
def test_a_claim_is_never_enlarged_by_kubevirt(size):
    """KubeVirt grows the image to 94 % of the claim when that is larger than the image: it must not be."""
    claim = choices.claim_bytes(size)
    assert claim % 2**20 == 0 and claim >= size
    assert claim * 94 // 100 <= size or claim * 94 // 100 - size < 2**20


@pytest.mark.parametrize(("disk", "bus"), [
    (Disk("d", bus="ide"), "sata"), (Disk("d", bus="nvme"), "virtio"), (Disk("d", bus="scsi"), "scsi"), (Disk("d", bus="usb"), "usb"),
    (Disk("d", bus="virtio", device="cdrom"), "sata"), (Disk("d", bus="virtio", device="lun"), "scsi"), (Disk("d", bus="whatever"), "sata")])
def test_buses(disk, bus):
    assert choices.disk_bus(disk) == bus


def test_boot_order_is_completed_for_all_disks_once_any_has_one():
    vm = dataclasses.replace(VM, disks=[Disk("b", order=1), Disk("a", order=0, boot_order=2), Disk("c", order=2)], nics=[Nic("n", boot_order=1)])
    assert choices.boot_orders(vm) == {"n": 1, "a": 2, "b": 3, "c": 4}


@pytest.mark.parametrize(("vcpus", "cores", "mebibytes", "name"), [(2, 1, 8192, "u1.large"), (2, 1, 8193, ""), (1, 2, 4096, ""), (3, 1, 4096, "")])
def test_an_instance_type_has_exactly_the_size(vcpus, cores, mebibytes, name):
    assert instancetypes.instancetype(dataclasses.replace(VM, cpu=Cpu(sockets=vcpus, cores=cores), memory_bytes=mebibytes * 2**20)) == name


@pytest.mark.parametrize(("os_id", "family", "name"), [
    ("http://microsoft.com/win/10", "windows", "windows.10"), ("http://microsoft.com/win/11", "windows", "windows.11"), ("windows2019srv_64Guest", "windows", "windows.2k19"),
    ("windows9Server64Guest", "windows", "windows.2k16"), ("windows9_64Guest", "windows", "windows.10"), ("windows9-64", "windows", "windows.10"),
    ("http://redhat.com/rhel/9.2", "linux", "rhel.9"), ("rhel8_64Guest", "linux", "rhel.8"), ("http://debian.org/debian/12", "linux", "debian"), ("otherLinuxGuest", "linux", "linux"),
    ("http://centos.org/centos-stream/9", "linux", "centos.stream9"), ("freebsd12_64Guest", "bsd", "")])
def test_preferences(os_id, family, name):
    vm = dataclasses.replace(VM, os_id=os_id, os_family=family, cpu=Cpu(sockets=4), memory_bytes=2**33)
    assert instancetypes.preference(vm) == name
    assert instancetypes.preference(dataclasses.replace(vm, memory_bytes=2**26)) in ("", "linux")


def test_the_plan_names_the_resource_of_gpus_only():
    assert host_devices.place(VM, HostDevice("h", "pci", "10de", "2331"), maps.Maps(), "nvidia.com/OTHER").resource == "nvidia.com/OTHER"
    assert host_devices.place(VM, HostDevice("h", "usb", "1d6b", "0002"), maps.Maps(), "nvidia.com/OTHER").resource == "tandem.hybrid/usb-1d6b-0002"


@pytest.mark.parametrize(("source", "pattern", "fits"), [("[fast] db/db.vmdk", "fast", True), ("/images/a.qcow2", "/images/*", True), ("pool/volume", "pool", True), ("/other/a", "/images/*", False)])
def test_storage_rules_fit_paths_pools_and_datastores(source, pattern, fits):
    found = maps.maps(storage=[{"source": pattern, "storage_class": "s"}])
    if fits:
        assert found.disk(VM, Disk("d", source=source)).storage_class == "s"
    else:
        with pytest.raises(RenderError, match="storage map"):
            found.disk(VM, Disk("d", source=source))


@pytest.mark.parametrize(("mode", "model", "name"), [
    ("custom", "qemu64", ""), ("custom", "Conroe-v1", ""), ("custom", "Skylake-Server", "Skylake-Server"), ("host-model", "", "host-model"),
    ("host-passthrough", "", "host-passthrough"), ("maximum", "", "host-passthrough"), ("", "", ""), ("custom", "x y", "")])
def test_cpu_models(mode, model, name):
    assert choices.cpu_model(Cpu(mode=mode, model=model)) == name
