# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Launcher requests; the first figure was read from the pod of a running VM of KubeVirt 1.8.4."""
from __future__ import annotations

import copy

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Cpu, HostDevice, LegacyVm, Nic
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt import overhead

MI = 2**20
SPEC = {"domain": {"cpu": {"sockets": 2, "cores": 1, "threads": 1}, "memory": {"guest": "300Mi"},
                   "devices": {"autoattachPodInterface": False, "tpm": {"enabled": False}}}}


def test_a_pod_that_was_seen():
    """compute asked for 200m and 576Mi, guest-console-log for 5m and 35M."""
    assert overhead.launcher_requests(SPEC, emulation=True) == {
        "cpu_milli": 205, "memory_bytes": 576 * MI + 35_000_000, "ephemeral_storage_bytes": 50_000_000, "pods": 1}


@pytest.mark.parametrize(("change", "more"), [
    ({"autoattachGraphicsDevice": False}, -32), ({"tpm": {"persistent": True}}, 53), ({"gpus": [{"deviceName": "a/b"}]}, 1024),
    ({"interfaces": [{"sriov": {}}]}, 1024), ({"interfaces": [{"masquerade": {}}]}, 0)])
def test_devices_cost_memory(change, more):
    spec = copy.deepcopy(SPEC)
    spec["domain"]["devices"] |= change
    assert overhead.memory_overhead_bytes(spec) - overhead.memory_overhead_bytes(SPEC) == more * MI


def test_dedicated_cpus_and_hugepages():
    spec = copy.deepcopy(SPEC)
    spec["domain"]["cpu"]["dedicatedCpuPlacement"] = True
    spec["domain"]["memory"] = {"guest": "1Gi", "hugepages": {"pageSize": "2Mi"}}
    assert overhead.launcher_requests(spec, emulation=True) == {
        "cpu_milli": 2015, "ephemeral_storage_bytes": 50_000_000, "pods": 1, "hugepages-2Mi": 2**30, "memory_bytes": (276 + 100) * MI + 60_000_000}


@pytest.mark.parametrize(("dedicated", "cpu_milli", "memory_bytes"), [(False, 10, 1_000_000), (True, 100, 80_000_000)])
def test_each_shared_file_system_has_a_container_of_its_own(dedicated, cpu_milli, memory_bytes):
    spec = copy.deepcopy(SPEC)
    spec["domain"]["cpu"]["dedicatedCpuPlacement"] = dedicated
    before = overhead.launcher_requests(spec)
    spec["domain"]["devices"]["filesystems"] = [{"name": "a", "virtiofs": {}}, {"name": "b", "virtiofs": {}}]
    after = overhead.launcher_requests(spec)
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
        "cpu_milli": 2 * cpu_milli, "memory_bytes": 2 * memory_bytes}


def test_threads_beside_the_vcpus_count():
    spec = copy.deepcopy(SPEC)
    spec["domain"] |= {"ioThreadsPolicy": "supplementalPool", "ioThreads": {"supplementalPoolThreadCount": 4}}
    assert overhead.launcher_requests(spec)["cpu_milli"] == 605
    spec["domain"]["cpu"] |= {"dedicatedCpuPlacement": True, "isolateEmulatorThread": True}
    assert overhead.launcher_requests(spec)["cpu_milli"] == 7015


def test_requests_of_a_legacy_vm_name_no_devices():
    vm = LegacyVm("a", "a", "s", cpu=Cpu(sockets=4), memory_bytes=2**30, nics=[Nic("nic0")], host_devices=[HostDevice("h", "pci")])
    assert overhead.vm_requests(vm) == {"cpu_milli": 405, "memory_bytes": 2**30 + (220 + 32 + 8 + 32 + 1024) * MI + 35_000_000}


@pytest.mark.parametrize(("text", "value"), [("1Gi", 2**30), ("1.5Gi", 3 * 2**29), ("100", 100), ("5k", 5000), ("0", 0)])
def test_quantities(text, value):
    assert overhead.quantity_bytes(text) == value


def test_a_quantity_that_is_none():
    with pytest.raises(ValueError, match="expected a number"):
        overhead.quantity_bytes("much")


def test_a_hook_sidecar_asks_for_something_only_beside_dedicated_cpus():
    plain, dedicated = copy.deepcopy(SPEC), copy.deepcopy(SPEC)
    dedicated["domain"].setdefault("cpu", {})["dedicatedCpuPlacement"] = True
    asked = []
    for spec in (plain, dedicated):
        before, after = overhead.launcher_requests(spec), overhead.launcher_requests(spec, hook_sidecars=2)
        asked.append((after["cpu_milli"] - before["cpu_milli"], after["memory_bytes"] - before["memory_bytes"]))
    assert asked == [(0, 0), (400, 128_000_000)]
