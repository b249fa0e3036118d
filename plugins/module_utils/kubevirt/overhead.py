# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the virt-launcher pod of a VM asks of the scheduler, computed as KubeVirt 1.8.4 does.

Source of the figures: pkg/hypervisor/kvm/hypervisorbackend.go (GetMemoryOverhead), pkg/virt-controller/services/renderresources.go,
serialconsolelog.go and pkg/virtiofs/resources.go. They differ from version to version; VERSION says for which they hold.
"""
from __future__ import annotations

import re

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import LegacyVm

from . import domain as vm_domain
from .host_devices import Placed
from .maps import Maps, NetworkRule

VERSION = "1.8.4"
MI = 2**20
_FIXED = (25 + 100 + 25 + 40 + 30) * MI  # virt-launcher-monitor, virt-launcher, virtlogd, virtqemud, QEMU
_PER_VCPU, _IO_THREAD, _VIDEO, _TPM, _DEDICATED, _VFIO = 8 * MI, 8 * MI, 32 * MI, 53 * MI, 100 * MI, 1024 * MI
_PASST = 250 * MI
_EPHEMERAL = 50_000_000
# cpu_milli and bytes of the containers beside the guest's: at their least, and where dedicated CPUs make requests equal limits.
_CONSOLE_LOG = {False: (5, 35_000_000), True: (15, 60_000_000)}
_VIRTIOFS = {False: (10, 1_000_000), True: (100, 80_000_000)}
_HOOK_SIDECAR = {False: (0, 0), True: (200, 64_000_000)}
CPU_ALLOCATION_RATIO = 10
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def memory_overhead_bytes(spec: dict) -> int:
    """Return the bytes that KubeVirt adds to the guest's memory, for the spec of a VM's template."""
    domain = spec["domain"]
    devices = domain.get("devices", {})
    overhead = _FIXED + _PER_VCPU * vcpus(domain) + _IO_THREAD
    if devices.get("autoattachGraphicsDevice", True):
        overhead += _VIDEO
    if devices.get("gpus") or devices.get("hostDevices") or any("sriov" in nic for nic in devices.get("interfaces", [])):
        overhead += _VFIO
    if any("passt" in nic for nic in devices.get("interfaces", [])):
        overhead += _PASST
    if devices.get("tpm") and devices["tpm"].get("enabled", True):
        overhead += _TPM
    if domain.get("cpu", {}).get("dedicatedCpuPlacement"):
        overhead += _DEDICATED
    return overhead


def launcher_requests(spec: dict, emulation: bool = False, cpu_allocation_ratio: int = CPU_ALLOCATION_RATIO,
                      console_log: bool = True, hook_sidecars: int = 0) -> dict[str, int]:
    """Return the requests of the launcher pod as the scheduler sums them up: cpu_milli, memory_bytes, ephemeral_storage_bytes, hugepages-* in
    bytes, devices as counts.

    `spec` is the spec of the VM's template. With `emulation` (KubeVirt's useEmulation) no kvm and vhost-net devices are asked for.
    `hook_sidecars` counts those of the instance's annotation hooks.kubevirt.io/hookSidecars.
    """
    domain = spec["domain"]
    devices, cpu, memory = domain.get("devices", {}), domain.get("cpu", {}), domain.get("memory", {})
    dedicated = bool(cpu.get("dedicatedCpuPlacement"))
    guest, overhead = quantity_bytes(memory.get("guest", "0")), memory_overhead_bytes(spec)
    count = vcpus(domain) + domain.get("ioThreads", {}).get("supplementalPoolThreadCount", 0)
    milli = 1000 * (count + bool(cpu.get("isolateEmulatorThread"))) if dedicated else -(-count * 1000 // cpu_allocation_ratio)
    out = {"cpu_milli": milli, "ephemeral_storage_bytes": _EPHEMERAL, "pods": 1}
    page = memory.get("hugepages", {}).get("pageSize", "")
    if page:
        out[f"hugepages-{page}"] = guest
    out["memory_bytes"] = overhead if page else guest + overhead
    beside = [_VIRTIOFS[dedicated]] * len(devices.get("filesystems", [])) + [_HOOK_SIDECAR[dedicated]] * hook_sidecars
    if devices.get("autoattachSerialConsole", True) and devices.get("logSerialConsole", console_log):
        beside.append(_CONSOLE_LOG[dedicated])
    out["cpu_milli"] += sum(cpu_milli for cpu_milli, _bytes in beside)
    out["memory_bytes"] += sum(size for _cpu, size in beside)
    for device in (*devices.get("gpus", []), *devices.get("hostDevices", [])):
        out[device["deviceName"]] = out.get(device["deviceName"], 0) + 1
    out |= _node_devices(devices, emulation)
    return out


def vm_requests(vm: LegacyVm, emulation: bool = False) -> dict[str, int]:
    """Return what a VM's launcher pod requests before it is known where it runs: without names of devices, which the plan decides, and
    without the 50 MB of ephemeral storage, which no node lacks and not every node offers."""
    placed = [Placed(device, "gpus", f"device-{index}", ("", {})) for index, device in enumerate(vm.host_devices)]
    spec = vm_domain.template(vm, "vm", Maps(networks=[NetworkRule("*", "any")]), placed, False)
    requests = launcher_requests(spec, emulation)
    return {name: value for name, value in requests.items() if not name.startswith(("device-", "devices.kubevirt.io/"))
            and name not in ("pods", "ephemeral_storage_bytes")}


def vcpus(domain: dict) -> int:
    """Return the vCPUs of a domain; one where no topology is given."""
    cpu = domain.get("cpu", {})
    return max(cpu.get("sockets", 1), 1) * max(cpu.get("cores", 1), 1) * max(cpu.get("threads", 1), 1)


def quantity_bytes(text: str | int) -> int:
    """Return a Kubernetes quantity of memory in bytes, rounded up."""
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?([kMGT]i?|Ki)?", str(text).strip())
    if not match or match.group(3) not in (None, *_UNITS):
        raise ValueError(f"quantity {text!r}: expected a number with k, M, G, T, Ki, Mi, Gi or Ti")
    factor, fraction = _UNITS[match.group(3) or ""], match.group(2) or ""
    return -(-int(match.group(1) + fraction) * factor // 10 ** len(fraction))


def _node_devices(devices: dict, emulation: bool) -> dict[str, int]:
    names = []
    interfaces = devices.get("interfaces", [])
    if interfaces or devices.get("autoattachPodInterface", True):
        names.append("tun")
    if not emulation:
        names.append("kvm")
        if any(nic.get("model", "virtio") == "virtio" for nic in interfaces):
            names.append("vhost-net")
    if any(disk.get("lun", {}).get("reservation") for disk in devices.get("disks", [])):
        names.append("pr-helper")
    return {f"devices.kubevirt.io/{name}": 1 for name in names}
