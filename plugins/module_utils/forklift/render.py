# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM of the plan as Forklift's objects: Provider, NetworkMap, StorageMap, Plan and Migration (forklift.konveyor.io/v1beta1)."""
from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, LegacyVm
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.choices import kept_disks
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.maps import Maps, NetworkRule, StorageRule, fits

from .errors import ForkliftError

API = "forklift.konveyor.io/v1beta1"
KINDS = ("Provider", "NetworkMap", "StorageMap", "Plan", "Migration")
TYPES = ("vsphere", "ovirt", "ova")
WARM_TYPES = ("vsphere", "ovirt")
OVA_STORAGE = "default"  # Forklift's id for the storage of every disk inside an OVA


@dataclass(frozen=True)
class ProviderRule:
    """Sources of the estate (a shell pattern) to a Forklift Provider of type vsphere, ovirt or ova.

    With `url` the Provider is made, with the credentials in the Secret `secret` that must be there; without, it must be there itself.
    """

    source: str
    name: str
    type: str
    url: str = ""
    secret: str = ""
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Forklift:
    """Where Forklift is: the namespace of its objects and Secrets, its Provider of this cluster, and the source Providers."""

    namespace: str = "konveyor-forklift"
    destination: str = "host"
    providers: list[ProviderRule] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """What a VM becomes on the cluster; `plan` names Forklift's objects, `affinity` is that of the plan, `labels` go to the VirtualMachine."""

    name: str
    namespace: str
    plan: str
    affinity: dict
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rendered:
    """The objects of one VM; `provider` is None where it is there already."""

    provider: dict | None
    network_map: dict
    storage_map: dict
    plan: dict

    @property
    def objects(self) -> list[dict]:
        """Return the objects in the order in which Forklift needs them."""
        return [*([self.provider] if self.provider else []), self.network_map, self.storage_map, self.plan]


def provider_of(vm: LegacyVm, forklift: Forklift) -> ProviderRule:
    """Return the rule for a VM's source; raises ForkliftError when none fits or the one that fits is wrong."""
    for rule in forklift.providers:
        if fits(rule.source, vm.source):
            if rule.type not in TYPES:
                raise ForkliftError(f"forklift provider {rule.name}: type {rule.type!r}; expected one of {', '.join(TYPES)}")
            if rule.url and not rule.secret:
                raise ForkliftError(f"forklift provider {rule.name}: a url needs secret, the name of a Secret in {forklift.namespace}")
            return rule
    raise ForkliftError(f"{vm.name}: no rule of the Forklift providers fits its source {vm.source}; add one, for example "
                        "{source: 'vsphere://*', name: vcenter, type: vsphere}")


def is_warm(vm: LegacyVm, rule: ProviderRule) -> bool:
    """Tell whether the VM is copied while it runs."""
    return vm.power_state == "running" and rule.type in WARM_TYPES


def reference(vm: LegacyVm, rule: ProviderRule) -> dict:
    """Return how Forklift's inventory finds the VM: by the source's id, or by name where the estate has no id (OVA)."""
    identity = vm.moid or (vm.uuid if rule.type == "ovirt" else "")
    return {"id": identity} if identity and rule.type != "ova" else {"name": vm.name}


def render(vm: LegacyVm, target: Target, maps: Maps, forklift: Forklift) -> Rendered:
    """Render one VM; raises ForkliftError or RenderError when a map lacks a rule for it."""
    rule = provider_of(vm, forklift)
    name = target.plan
    pair = {"source": _reference(rule.name, forklift), "destination": _reference(forklift.destination, forklift)}
    spec = {
        "provider": pair, "map": {"network": _reference(name, forklift), "storage": _reference(name, forklift)},
        "targetNamespace": target.namespace, "type": "warm" if is_warm(vm, rule) else "cold",
        "vms": [{**reference(vm, rule), "targetName": target.name, "targetPowerState": "on"}],
        "description": f"{vm.name} of {vm.source}",
        **({"targetLabels": target.labels} if target.labels else {}), **({"targetAffinity": target.affinity} if target.affinity else {}),
        **({"preserveStaticIPs": bool(vm.static_addresses)} if rule.type == "vsphere" else {})}
    return Rendered(_provider(rule, forklift), _object("NetworkMap", name, forklift, {"provider": pair, "map": _networks(vm, target, maps)}),
                    _object("StorageMap", name, forklift, {"provider": pair, "map": _storage(vm, rule, maps)}), _object("Plan", name, forklift, spec))


def migration(plan: dict, number: int) -> dict:
    """Return the Migration that runs a plan; `number` counts its attempts, as Forklift runs each Migration once."""
    metadata = plan["metadata"]
    return {"apiVersion": API, "kind": "Migration",
            "metadata": {"name": f"{metadata['name']}-{number}", "namespace": metadata["namespace"], "labels": dict(metadata.get("labels", {}))},
            "spec": {"plan": {"name": metadata["name"], "namespace": metadata["namespace"]}}}


def _object(kind: str, name: str, forklift: Forklift, spec: dict) -> dict:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "namespace": forklift.namespace}, "spec": spec}


def _reference(name: str, forklift: Forklift) -> dict:
    return {"name": name, "namespace": forklift.namespace}


def _provider(rule: ProviderRule, forklift: Forklift) -> dict | None:
    if not rule.url:
        return None
    return _object("Provider", rule.name, forklift, {"type": rule.type, "url": rule.url, "secret": _reference(rule.secret, forklift),
                                                     **({"settings": rule.settings} if rule.settings else {})})


def _networks(vm: LegacyVm, target: Target, maps: Maps) -> list[dict]:
    found = {nic.network: maps.network(vm, nic) for nic in vm.nics}
    return [{"source": {"name": network}, "destination": _network(rule, target)} for network, rule in sorted(found.items())]


def _network(rule: NetworkRule, target: Target) -> dict:
    if rule.network == "pod":
        return {"type": "pod"}
    namespace, _slash, name = rule.network.rpartition("/")
    return {"type": "multus", "name": name, "namespace": namespace or target.namespace}


def _storage(vm: LegacyVm, rule: ProviderRule, maps: Maps) -> list[dict]:
    found: dict[str, StorageRule] = {}
    for disk in kept_disks(vm):
        storage, wanted = _storage_name(vm, disk, rule), maps.disk(vm, disk)
        if found.setdefault(storage, wanted) != wanted:
            raise ForkliftError(f"{vm.name}: disks of {storage} go to {found[storage].storage_class} and {wanted.storage_class}; Forklift maps a"
                                " storage of the source as a whole: expected one rule for it")
    return [{"source": {"id": storage} if rule.type == "ova" else {"name": storage}, "destination": _destination(wanted)}
            for storage, wanted in sorted(found.items())]


def _storage_name(vm: LegacyVm, disk: Disk, rule: ProviderRule) -> str:
    """Return the datastore of `[name] folder/disk.vmdk`, or the only one that the VM is on."""
    if rule.type == "ova":
        return OVA_STORAGE
    if disk.source.startswith("["):
        return disk.source[1:].partition("]")[0]
    if len(vm.datastores) == 1:
        return vm.datastores[0]
    raise ForkliftError(f"{vm.name}: the storage of disk {disk.id} is not known ({disk.source or 'no source'}); expected [datastore] path, or one datastore")


def _destination(rule: StorageRule) -> dict:
    return {"storageClass": rule.storage_class, "volumeMode": rule.volume_mode, **({"accessMode": rule.access_modes[0]} if rule.access_modes else {})}
