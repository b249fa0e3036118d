# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""make bench-overhead: what virt-launcher pods really request, against the prediction, byte for byte.

Needs a cluster with KubeVirt (KUBECONFIG, by default that of the lab). VMs of many shapes are created with a node selector that no node has:
virt-controller makes their pods, nothing starts. Then namespace and, where it was missing, the definition of networks are removed.
"""
from __future__ import annotations

import copy
import json
import os
import pathlib
import time

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.capacity import requests
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster, connect
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Cpu, Disk, Firmware, HostDevice, LegacyVm, Nic
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt import maps, overhead, render

from .figures import figure, say

LAB_KUBECONFIG = "/var/lib/tandem/lab/pki/admin.kubeconfig"
NAMESPACE = os.environ.get("BENCH_NAMESPACE", "bench-overhead")
MIB, GIB = 2**20, 2**30
NOWHERE = {"tandem.hybrid/bench": "no-node-has-this"}
TIMEOUT_SECONDS = 180
NETWORKS = "network-attachment-definitions.k8s.cni.cncf.io"
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": NETWORKS},
    "spec": {"group": "k8s.cni.cncf.io", "scope": "Namespaced",
             "names": {"kind": "NetworkAttachmentDefinition", "plural": "network-attachment-definitions", "singular": "network-attachment-definition"},
             "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                 "type": "object", "properties": {"spec": {"type": "object", "properties": {"config": {"type": "string"}}}}}}}]}}
MAPS = maps.maps([{"source": "first", "network": "pod"}, {"source": "*", "network": "lan"}], [{"source": "*", "storage_class": "local"}])


def vm(name: str, cpus: tuple[int, int, int] = (1, 1, 1), memory: int = GIB, disks: int = 1, nics: int = 1, **fields) -> LegacyVm:
    """Return a legacy VM; `cpus` are sockets, cores and threads."""
    cpu = Cpu(*cpus, pinning={str(number): str(number) for number in range(cpus[0] * cpus[1] * cpus[2])} if fields.pop("pinned", False) else {})
    return LegacyVm(name, name, "bench", target_name=name, cpu=cpu, memory_bytes=memory, nics=[
        Nic(f"nic{number}", model=fields.pop("model", "virtio") if not number else "e1000e", network="first" if not number else "lan", order=number)
        for number in range(nics)], disks=[Disk(f"vd{number}", order=number, size_bytes=GIB, source="/disks/one") for number in range(disks)], **fields)


def gpus(count: int) -> list[HostDevice]:
    return [HostDevice(f"gpu{number}", "pci", "10de", "2331", f"0000:{number:02x}:00.0") for number in range(count)]


def legacy() -> list[LegacyVm]:
    """Return VMs as an Estate has them, of every size and with every part that changes what a launcher asks for."""
    screen = {"graphics": ["vnc"], "video": "virtio"}
    found = [vm(f"cpu-{count}", (count, 1, 1)) for count in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)]
    found += [vm("topology-2-4-2", (2, 4, 2)), vm("topology-1-7-1", (1, 7, 1))]
    found += [vm(f"memory-{size // MIB}", memory=size) for size in (
        128 * MIB, 300 * MIB, 512 * MIB, 1000 * MIB, 2 * GIB, 4 * GIB, 16 * GIB, 64 * GIB, 256 * GIB, 512 * GIB)]
    found += [vm("odd-bytes", memory=GIB + 4096), vm("screen", **screen), vm("tpm", tpm="2.0"), vm("efi", firmware=Firmware("efi")),
              vm("efi-secure-tpm", firmware=Firmware("efi", secure_boot=True), tpm="2.0", **screen)]
    found += [vm("pages-2m", memory=2 * GIB, hugepage_bytes=2 * MIB), vm("pages-1g", (4, 1, 1), 8 * GIB, hugepage_bytes=GIB),
              vm("pinned-2", (2, 1, 1), pinned=True), vm("pinned-16", (2, 8, 1), 64 * GIB, pinned=True),
              vm("pinned-pages", (8, 1, 1), 32 * GIB, hugepage_bytes=GIB, pinned=True), vm("pinned-tpm-screen", (4, 1, 1), pinned=True, tpm="2.0", **screen)]
    found += [vm("gpu-1", memory=16 * GIB, host_devices=gpus(1)), vm("gpu-4", (16, 1, 1), 128 * GIB, host_devices=gpus(4)),
              vm("gpu-pinned-pages", (8, 1, 1), 64 * GIB, host_devices=gpus(2), hugepage_bytes=GIB, pinned=True)]
    found += [vm("disks-16", disks=16), vm("nics-8", nics=8), vm("disks-8-nics-4", (4, 1, 1), 8 * GIB, disks=8, nics=4), vm("nics-0", nics=0),
              vm("nic-e1000", model="e1000"), vm("rng-watchdog-sound", rng=True, watchdog="i6300esb", sound="ich9")]
    return found


def changed() -> dict[str, tuple[LegacyVm, dict]]:
    """Return further shapes as a VM and what is laid over its domain: parts that a template of an operator may have."""
    shared = {"devices": {"filesystems": [{"name": "settings", "virtiofs": {}}]}}
    return {
        "virtiofs": (vm("virtiofs"), shared), "virtiofs-pinned": (vm("virtiofs-pinned", (2, 1, 1), pinned=True), shared),
        "no-console": (vm("no-console"), {"devices": {"autoattachSerialConsole": False}}),
        "no-console-log": (vm("no-console-log"), {"devices": {"logSerialConsole": False}}),
        "io-threads": (vm("io-threads", (4, 1, 1)), {"ioThreadsPolicy": "supplementalPool", "ioThreads": {"supplementalPoolThreadCount": 4}}),
        "emulator-thread": (vm("emulator-thread", (4, 1, 1), pinned=True), {"cpu": {"isolateEmulatorThread": True}})}


def templates() -> dict[str, dict]:
    """Return name to VirtualMachine of all shapes, running and without a node to run on."""
    found = {}
    for one, over in [*((one, {}) for one in legacy()), *changed().values()]:
        manifest = render.render(one, render.Settings(NAMESPACE, MAPS, run_strategy="Always")).virtual_machine
        spec = manifest["spec"]["template"]["spec"]
        merge(spec["domain"], over)
        spec["nodeSelector"] = NOWHERE
        if "filesystems" in spec["domain"]["devices"]:
            spec["volumes"].append({"name": "settings", "configMap": {"name": "settings"}})
        found[one.name] = manifest
    return found


def merge(into: dict, over: dict) -> None:
    """Lay nested values over a dictionary."""
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)


def claims(manifests: dict[str, dict]) -> list[dict]:
    names = {volume["persistentVolumeClaim"]["claimName"] for manifest in manifests.values()
             for volume in manifest["spec"]["template"]["spec"]["volumes"] if "persistentVolumeClaim" in volume}
    return [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": NAMESPACE},
             "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}} for name in sorted(names)]


def pods(cluster: Cluster, wanted: set[str]) -> dict[str, dict]:
    """Return VM to launcher pod once all are there, or what there is at the time-out."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while True:
        found = {pod["metadata"]["labels"]["vm.kubevirt.io/name"]: pod
                 for pod in cluster.list("v1", "Pod", NAMESPACE, label_selector="kubevirt.io=virt-launcher")}
        if wanted <= set(found) or time.monotonic() > end:
            return found
        time.sleep(2)


def compare(cluster: Cluster, manifests: dict[str, dict], configuration: dict) -> None:
    developer = configuration.get("developerConfiguration") or {}
    logged = not ((configuration.get("virtualMachineOptions") or {}).get("disableSerialConsoleLog"))
    real = pods(cluster, set(manifests))
    differences = {}
    for name, manifest in sorted(manifests.items()):
        # The lab's admission gives GPU VMs the hook sidecar of its stand-in.
        sidecars = json.loads(real[name]["metadata"]["annotations"].get("hooks.kubevirt.io/hookSidecars", "[]")) if name in real else []
        predicted = overhead.launcher_requests(manifest["spec"]["template"]["spec"], bool(developer.get("useEmulation")),
                                               developer.get("cpuAllocationRatio") or overhead.CPU_ALLOCATION_RATIO, logged, len(sidecars))
        asked = {"pods": 1, **requests(real[name])} if name in real else {}
        if predicted != asked:
            differences[name] = {key: [predicted.get(key, 0), asked.get(key, 0)] for key in sorted(predicted.keys() | asked.keys())
                                 if predicted.get(key, 0) != asked.get(key, 0)} if asked else "no launcher pod"
        figure("overhead", name, "memory_bytes", asked.get("memory_bytes", 0), "bytes", predicted=predicted.get("memory_bytes", 0),
               requests=asked)
    figure("overhead", "all", "shapes", len(manifests), "VMs", ">= 40", len(manifests) >= 40)
    figure("overhead", "all", "differences", len(differences), "VMs", "== 0", not differences, predicted_and_asked=differences)


def main() -> None:
    """Create the VMs, compare, and remove everything again."""
    kubeconfig = os.environ.get("KUBECONFIG") or LAB_KUBECONFIG
    if not pathlib.Path(kubeconfig).is_file():
        say(f"skipped: needs a cluster with KubeVirt ({kubeconfig})")
        return
    cluster = connect(kubeconfig)
    kubevirt = cluster.list("kubevirt.io/v1", "KubeVirt")[0]
    say(f"KubeVirt {kubevirt['status']['observedKubeVirtVersion']}, figures of {overhead.VERSION}")
    manifests = templates()
    own_definition = not cluster.serves("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition")
    try:
        if own_definition:
            cluster.apply(DEFINITION)
            time.sleep(3)
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": NAMESPACE}, "data": {"a": "b"}})
        connect(kubeconfig).apply({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {
            "name": "lan", "namespace": NAMESPACE}, "spec": {"config": '{"cniVersion": "1.0.0", "type": "bridge"}'}})
        for manifest in [*claims(manifests), *manifests.values()]:
            cluster.apply(manifest)
        compare(cluster, manifests, kubevirt["spec"].get("configuration") or {})
    finally:
        clear(cluster, own_definition)


def clear(cluster: Cluster, own_definition: bool) -> None:
    say("removing the VMs")
    for name in [one["metadata"]["name"] for one in cluster.list("kubevirt.io/v1", "VirtualMachine", NAMESPACE)]:
        cluster.delete("kubevirt.io/v1", "VirtualMachine", name, NAMESPACE)
    end = time.monotonic() + TIMEOUT_SECONDS
    while cluster.list("kubevirt.io/v1", "VirtualMachineInstance", NAMESPACE) and time.monotonic() < end:
        time.sleep(2)
    cluster.delete("v1", "Namespace", NAMESPACE)
    if own_definition:
        cluster.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", NETWORKS)


if __name__ == "__main__":
    main()
