# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps from the source's networks, storage and devices to the target's, by rules the operator writes; what no rule fits blocks."""
from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.codec import load
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, HostDevice, LegacyVm, Nic

from .errors import RenderError


@dataclass(frozen=True)
class NetworkRule:
    """Source networks (a shell pattern for the name, `*` for all) to the pod network or a NetworkAttachmentDefinition.

    `network` is `pod`, `namespace/name` or `name`; binding is masquerade (pod), bridge or sriov.
    """

    source: str
    network: str
    binding: str = ""


@dataclass(frozen=True)
class StorageRule:
    """Source disks (a shell pattern for the datastore, pool or path) to a storage class, its access modes and volume mode."""

    source: str
    storage_class: str
    access_modes: list[str] = field(default_factory=lambda: ["ReadWriteOnce"])
    volume_mode: str = "Filesystem"


@dataclass(frozen=True)
class DeviceRule:
    """Source devices (a shell pattern for the address, `vendor:product` or vGPU profile) to an extended resource of the cluster."""

    source: str
    resource: str
    vendor_product: str = ""


@dataclass(frozen=True)
class Maps:
    """The operator's rules; the first that fits counts."""

    networks: list[NetworkRule] = field(default_factory=list)
    storage: list[StorageRule] = field(default_factory=list)
    devices: list[DeviceRule] = field(default_factory=list)

    def network(self, vm: LegacyVm, nic: Nic) -> NetworkRule:
        """Return the rule for a network interface; raises RenderError when there is none."""
        for rule in self.networks:
            if fits(rule.source, nic.network, nic.port_group, nic.network_kind):
                return rule
        raise RenderError(f"{vm.name}: no rule of the network map fits network {nic.network or 'without a name'!r} of {nic.id}; "
                          "add one, for example {source: '*', network: pod}")

    def disk(self, vm: LegacyVm, disk: Disk) -> StorageRule:
        """Return the rule for a disk; raises RenderError when there is none."""
        for rule in self.storage:
            if fits(rule.source, disk.source, disk.source.rpartition("/")[0], disk.source.partition("/")[0], _datastore(disk), disk.member):
                return rule
        raise RenderError(f"{vm.name}: no rule of the storage map fits disk {disk.id} ({disk.source or 'no source'}); "
                          "add one, for example {source: '*', storage_class: standard}")

    def device(self, device: HostDevice) -> DeviceRule | None:
        """Return the rule for a host device, or None."""
        ids = f"{device.vendor_id}:{device.product_id}".lower()
        return next((rule for rule in self.devices if fits(rule.source.lower(), device.address.lower(), ids, device.profile.lower())), None)


def maps(networks: list | None = None, storage: list | None = None, devices: list | None = None) -> Maps:
    """Build Maps from plain data; raises DocumentError naming the rule that is wrong."""
    return load(Maps, {"networks": networks or [], "storage": storage or [], "devices": devices or []}, "the maps")


def _datastore(disk: Disk) -> str:
    """Return the datastore of a VMware path such as `[fast] db/db.vmdk`."""
    return disk.source[1:].partition("]")[0] if disk.source.startswith("[") else ""


def fits(pattern: str, *names: str) -> bool:
    """Tell whether a shell pattern fits one of the names."""
    return pattern == "*" or any(name and fnmatch.fnmatchcase(name, pattern) for name in names)
