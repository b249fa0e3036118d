# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Estate of several sources: ids and target names made unique, what only the operator knows filled in, concerns assessed."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Estate, LegacyVm, Rule
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt import names, settlement

from . import concerns
from .errors import IntakeError

BUSES = ("virtio", "scsi", "sata", "usb")


def assemble(
    vms: Iterable[LegacyVm],
    sources: Iterable[str],
    rules: Iterable[Rule] = (),
    disk_bytes: Mapping[str, int] | None = None,
    device_ids: Mapping[str, str] | None = None,
    disk_buses: Mapping[str, str] | None = None,
) -> Estate:
    """Return the Estate, sorted by id.

    `disk_bytes` gives sizes by `vm/disk` or `disk`, `disk_buses` buses in the same way; `device_ids` gives `vendor:product` by PCI address,
    which descriptors lack.
    """
    found = [_driven(_completed(vm, disk_bytes or {}, device_ids or {}), disk_buses or {}) for vm in vms]
    named = names.target_names(_unique_ids(found))
    rules = sorted(rules, key=lambda rule: rule.name)
    assessed = concerns.assess((settlement.settle(vm) for vm in named), rules)
    return Estate(vms=sorted(assessed, key=lambda vm: vm.id), sources=sorted(set(sources)), rules=rules)


def _unique_ids(vms: list[LegacyVm]) -> list[LegacyVm]:
    seen: set[str] = set()
    out = []
    for vm in sorted(vms, key=lambda vm: (vm.id, vm.source, vm.name)):
        key = vm.id
        if key in seen:
            key = f"{vm.id}@{hashlib.sha256(f'{vm.source}/{vm.name}/{len(out)}'.encode()).hexdigest()[:8]}"
        seen.add(key)
        out.append(dataclasses.replace(vm, id=key))
    return out


def _completed(vm: LegacyVm, disk_bytes: Mapping[str, int], device_ids: Mapping[str, str]) -> LegacyVm:
    disks = [dataclasses.replace(disk, size_bytes=disk.size_bytes or disk_bytes.get(f"{vm.name}/{disk.id}") or disk_bytes.get(disk.id)) for disk in vm.disks]
    devices = []
    for device in vm.host_devices:
        vendor, _colon, product = device_ids.get(device.address, "").lower().partition(":")
        devices.append(dataclasses.replace(device, vendor_id=device.vendor_id or vendor, product_id=device.product_id or product))
    return dataclasses.replace(vm, disks=disks, host_devices=devices)


def _driven(vm: LegacyVm, disk_buses: Mapping[str, str]) -> LegacyVm:
    """Choose buses and models that the guest has drivers for: the operator's, else SATA and e1000e for Windows from VMware, which lacks virtio."""
    windows = vm.os_family == "windows"
    disks = []
    for disk in vm.disks:
        bus = disk_buses.get(f"{vm.name}/{disk.id}") or disk_buses.get(disk.id, "")
        if bus and bus not in BUSES:
            raise IntakeError(f"disk_buses: {disk.id}: expected one of {', '.join(BUSES)}, got {bus[:20]!r}")
        foreign = windows and disk.bus == "scsi" and disk.controller_model != "virtio-scsi" and disk.device == "disk"
        disks.append(dataclasses.replace(disk, target_bus=bus or ("sata" if foreign else "")))
    nics = [dataclasses.replace(nic, target_model="e1000e" if windows and nic.model.lower().startswith("vmxnet") else "") for nic in vm.nics]
    return dataclasses.replace(vm, disks=disks, nics=nics)
