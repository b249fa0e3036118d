# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of an inventory from an Estate."""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Estate, LegacyVm, Severity


@dataclass(frozen=True)
class Host:
    """One host: its inventory name, groups and variables."""

    name: str
    groups: list[str]
    variables: dict[str, object]


def hosts(estate: Estate, waves: Mapping[str, int], prefix: str = "") -> list[Host]:
    """Return a host for each VM, by target name, with groups by operating system, source, concern and wave."""
    return [Host(vm.target_name or vm.name, _groups(vm, waves, prefix), _variables(vm)) for vm in estate.vms]


def _groups(vm: LegacyVm, waves: Mapping[str, int], prefix: str) -> list[str]:
    names = [f"os_{vm.os_family or 'unknown'}", f"source_{vm.id.partition('/')[0]}"]
    names += [f"concern_{concern.id}" for concern in vm.concerns if concern.severity is not Severity.INFORM]
    if any(concern.severity is Severity.BLOCK for concern in vm.concerns):
        names.append("blocked")
    if vm.target_name in waves:
        names.append(f"wave_{waves[vm.target_name]}")
    return sorted({re.sub(r"[^A-Za-z0-9_]", "_", f"{prefix}{name}") for name in names})


def _variables(vm: LegacyVm) -> dict[str, object]:
    return {
        "source_name": vm.name, "source_id": vm.id, "source_uri": vm.source, "target_name": vm.target_name, "uuid": vm.uuid,
        "os_family": vm.os_family, "os_id": vm.os_id, "power_state": vm.power_state, "vcpus": vm.cpu.vcpus, "memory_bytes": vm.memory_bytes,
        "macs": [nic.mac for nic in vm.nics if nic.mac], "addresses": list(vm.addresses), "tags": list(vm.tags), "source_groups": list(vm.groups),
        "concerns": [{"id": concern.id, "severity": concern.severity.value, "sentence": concern.sentence} for concern in vm.concerns]}
