# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Legacy VMs, models and the operator's policy as one Demand."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import (
    Affinity, Demand, Expression, GpuRequest, License, Policy, Shape, Spread, Toleration, Workload,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Estate, LegacyVm, Rule, Severity
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu import pci_names
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.errors import PlacementError


@dataclass(frozen=True)
class Wishes:
    """What the operator says of one workload, by name; fields that are left out keep what the estate or the model says."""

    priority: int | None = None
    labels: dict[str, str] | None = None
    node_selector: dict[str, str] | None = None
    required: list[Expression] | None = None
    tolerations: list[Toleration] | None = None
    products: list[str] | None = None
    volumes: list[str] | None = None
    zones: list[str] | None = None
    dedicated_cpus: int | None = None
    single_numa: bool | None = None
    restart: bool | None = None
    group: str | None = None
    after: list[str] | None = None
    replicas: int | None = None
    gang: bool | None = None


@dataclass(frozen=True)
class Settings:
    """The operator's part of a Demand: wishes by workload, rules and policy, as in a YAML file."""

    workloads: dict[str, Wishes] = field(default_factory=dict)
    affinities: list[Affinity] = field(default_factory=list)
    spreads: list[Spread] = field(default_factory=list)
    licenses: list[License] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)


def settings(values: dict) -> Settings:
    """Return the settings from plain data; raises DocumentError naming the field."""
    return codec.load(Settings, values, "policy")


def build(estate: Estate | None, models: list[Demand], chosen: Settings, namespace: str,
          requests: Callable[[LegacyVm], dict[str, int]]) -> tuple[Demand, list[str]]:
    """Return the Demand and one sentence per VM that was left out because a concern blocks it; raises PlacementError."""
    workloads, left_out, rules = [], [], Settings()
    if estate is not None:
        for vm in estate.vms:
            blocking = next((concern for concern in vm.concerns if concern.severity is Severity.BLOCK), None)
            if blocking:
                left_out.append(f"{vm.name}: {blocking.sentence}")
            else:
                workloads.append(_vm(vm, namespace, requests))
        rules = _rules(estate, {workload.name for workload in workloads})
    for other in models:
        workloads += other.workloads
    names = {workload.name for workload in workloads}
    for name in sorted(set(chosen.workloads) - names):
        raise PlacementError(f"policy: workloads.{name} is no workload of estate or models; known are {', '.join(sorted(names)) or 'none'}")
    after = {rule.vms[0]: rule.vms[1:] for rule in (estate.rules if estate else []) if rule.kind == "dependency" and rule.vms}
    named = {vm.name: vm.target_name or vm.name for vm in (estate.vms if estate else [])}
    workloads = [_after(workload, after, named, names) for workload in workloads]
    workloads = [_wished(workload, chosen.workloads.get(workload.name)) for workload in workloads]
    demand = Demand(sorted(workloads, key=lambda workload: workload.name), [*rules.affinities, *chosen.affinities], chosen.spreads,
                    [*rules.licenses, *chosen.licenses], chosen.policy)
    return demand, left_out


def _vm(vm: LegacyVm, namespace: str, requests) -> Workload:
    wanted = requests(vm)
    gpus = [_gpu(device) for device in vm.host_devices if device.kind in ("pci", "mdev", "vgpu") and _is_gpu(device)]
    if len({dataclasses.replace(gpu, count=1) for gpu in gpus}) > 1:
        raise PlacementError(f"VM {vm.name} has GPUs of different kinds; a plan knows one kind per VM")
    gpu = dataclasses.replace(gpus[0], count=len(gpus)) if gpus else None
    return Workload(vm.target_name or vm.name, "vm", [Shape("vm", wanted, gpu)], namespace, labels={"tandem.hybrid/vm": vm.target_name or vm.name},
                    live_migratable=not vm.host_devices, source=vm.source)


def _is_gpu(device):
    return bool(device.profile) or pci_names.is_gpu(device.vendor_id)


def _gpu(device) -> GpuRequest:
    if device.kind in ("mdev", "vgpu"):
        resource = pci_names.vgpu_resource(device.profile)
        return GpuRequest("vgpu", profile=resource.partition("/")[2], resource=resource)
    return GpuRequest("passthrough", resource=pci_names.passthrough_resource(device.vendor_id, device.product_id))


def _rules(estate: Estate, known: set[str]) -> Settings:
    """Translate DRS rules: affinity and anti-affinity of VMs."""
    names = {vm.name: vm.target_name or vm.name for vm in estate.vms} | {vm.id: vm.target_name or vm.name for vm in estate.vms}
    affinities = []
    for rule in estate.rules:
        members = sorted({names.get(vm, vm) for vm in rule.vms} & known)
        if rule.kind in ("affinity", "anti-affinity") and len(members) > 1:
            affinities.append(Affinity(rule.name, members, rule.kind == "anti-affinity", required=rule.mandatory))
    return Settings(affinities=affinities)


def _after(workload, after, named, names):
    before = [named.get(name, name) for original, others in after.items() if named.get(original, original) == workload.name for name in others]
    return dataclasses.replace(workload, after=sorted({*workload.after, *before} & names)) if before else workload


def _wished(workload: Workload, wishes: Wishes | None) -> Workload:
    if wishes is None:
        return workload
    given = {item.name: getattr(wishes, item.name) for item in dataclasses.fields(wishes) if getattr(wishes, item.name) is not None}
    return dataclasses.replace(workload, **given)


def host_rules(estate: Estate) -> list[Rule]:
    """Return the VM-to-host rules; source hosts have no counterpart in the cluster, so an operator has to translate them."""
    return [rule for rule in estate.rules if rule.kind not in ("affinity", "anti-affinity", "dependency")]
