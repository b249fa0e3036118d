# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LegacyVm to KubeVirt: a VirtualMachine that admission accepts, its claims, and what the cluster has to permit."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.enforcement import labels as workload_labels, pod_spec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, LegacyVm
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, PodRule

from . import choices, domain, host_devices, instancetypes, names
from .errors import RenderError
from .maps import Maps

OWNER = {"app.kubernetes.io/managed-by": "tandem", "tandem.hybrid/component": "migration"}


@dataclass(frozen=True)
class Settings:
    """How to render: namespace, maps, an instance type instead of explicit sizes, a preference, and the run strategy.

    Instance type and preference are a name, `match` for one of common-instancetypes that fits (explicit sizes where none does), or empty.
    """

    namespace: str = "default"
    maps: Maps = field(default_factory=Maps)
    instancetype: str = ""
    preference: str = ""
    run_strategy: str = "Halted"
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rendered:
    """What a VM becomes: the manifest, its claims in disk order, entries for permittedHostDevices by list, feature gates it needs."""

    virtual_machine: dict
    claims: list[dict]
    permitted_host_devices: dict[str, list[dict]] = field(default_factory=dict)
    feature_gates: list[str] = field(default_factory=list)

    @property
    def manifests(self) -> list[dict]:
        """Return claims and VM in the order in which they are applied."""
        return [*self.claims, self.virtual_machine]


def render(vm: LegacyVm, settings: Settings, assignment: Assignment | None = None, rules: Sequence[PodRule] = ()) -> Rendered:
    """Render one VM, where the plan puts it and with the plan's rules about other pods.

    Raises RenderError when a map lacks a rule or the VM has a part that KubeVirt can't take.
    """
    if vm.arch != "x86_64":
        raise RenderError(f"{vm.name}: architecture {vm.arch}; only x86_64 VMs are rendered")
    if vm.memory_bytes < 2**20:
        raise RenderError(f"{vm.name}: memory of {vm.memory_bytes} bytes; expected at least 1 MiB")
    name = vm.target_name or names.target_names([vm])[0].target_name
    placed = [host_devices.place(vm, device, settings.maps, assignment.resource if assignment else "") for device in vm.host_devices]
    size = instancetypes.instancetype(vm) if settings.instancetype == instancetypes.MATCH else settings.instancetype
    preference = instancetypes.preference(vm) if settings.preference == instancetypes.MATCH else settings.preference
    spec = domain.template(vm, name, settings.maps, placed, bool(size))
    if assignment is not None:
        spec |= pod_spec([assignment], list(rules))
    labels = OWNER | {"tandem.hybrid/vm": name}
    manifest = {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
        "metadata": {"name": name, "namespace": settings.namespace, "labels": labels,
                     "annotations": {**_identity(vm), **settings.annotations}},
        "spec": {"runStrategy": settings.run_strategy, "template": {"metadata": {"labels": labels | workload_labels(name)}, "spec": spec}}}
    if size:
        manifest["spec"]["instancetype"] = {"name": size}
    if preference:
        manifest["spec"]["preference"] = {"name": preference}
    permits: dict[str, list[dict]] = {}
    for item in placed:
        section, entry = item.permit
        if entry not in permits.setdefault(section, []):
            permits[section].append(entry)
    gates = ["HostDevices"] if any(item.section == "hostDevices" for item in placed) else []
    claims = [_claim(vm, disk, index, name, settings) for index, disk in enumerate(choices.kept_disks(vm))]
    return Rendered(manifest, claims, permits, gates)


def claim_name(target_name: str, index: int) -> str:
    """Return the name of the claim of the disk at a place of the guest's order."""
    return f"{target_name}-disk-{index}"


def _identity(vm: LegacyVm) -> dict[str, str]:
    values = {"source-name": vm.name, "source-id": vm.id, "source-uuid": vm.uuid, "source": vm.source, "source-machine": vm.machine,
              "source-title": vm.title[:1000], "source-description": vm.description[:4000], "source-os": vm.os_id, "source-tags": ",".join(vm.tags),
              "source-groups": ",".join(vm.groups)}
    return {f"tandem.hybrid/{key}": value for key, value in values.items() if value}


def _claim(vm: LegacyVm, disk: Disk, index: int, name: str, settings: Settings) -> dict:
    if not disk.size_bytes:
        raise RenderError(f"{vm.name}: size of disk {disk.id} unknown; read the VM from its running source, or give the size in disk_sizes")
    rule = settings.maps.disk(vm, disk)
    size = choices.claim_bytes(disk.size_bytes, rule.volume_mode)
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim_name(name, index), "namespace": settings.namespace, "labels": OWNER | {"tandem.hybrid/vm": name},
                     "annotations": {"tandem.hybrid/source-disk": disk.id, "tandem.hybrid/source-bytes": str(disk.size_bytes)}},
        "spec": {"accessModes": rule.access_modes, "storageClassName": rule.storage_class, "volumeMode": rule.volume_mode,
                 "resources": {"requests": {"storage": choices.quantity(size)}}}}
