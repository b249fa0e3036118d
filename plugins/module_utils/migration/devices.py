# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices a VM starts with: those of the plan, or ones that nearly every guest knows. Pure."""
from __future__ import annotations

import copy
from dataclasses import dataclass

from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.rules import CONVERT, EVERYWHERE, READY, REBUILD
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import COMPATIBLE, VmTask

PLANNED = "planned"
NIC_MODEL = "e1000e"
_REMEDY = {REBUILD: "rebuild the initramfs with them in the running source", CONVERT: "convert a copy with virt-v2v and migrate that"}


@dataclass(frozen=True)
class Decision:
    """`devices` is planned or compatible; `sentence` says why."""

    devices: str
    sentence: str


def decide(task: VmTask, fitness: dict) -> Decision:
    """Choose by what the look at the boot disk found (see fitness.look).

    Raises MigrationError for a guest that is not fit where the operator wants that, or where the compatible devices are known not to help.
    """
    found = f"guest {fitness['verdict']} for {fitness['bus']}: {fitness['sentence']}"
    if fitness["verdict"] == READY:
        return Decision(PLANNED, found)
    hopeless = fitness.get("compatible") is False
    if task.settings.unfit_guest != COMPATIBLE or hopeless:
        remedy = _REMEDY.get(fitness["verdict"], "see that it has the driver")
        other = f"it lacks what {EVERYWHERE} needs too" if hopeless else "or set migration_unfit_guest to compatible, for slower devices that it knows"
        raise MigrationError(f"{task.name}: {found}; {remedy}; {other}")
    return Decision(COMPATIBLE, f"{found}; it starts with disks on {EVERYWHERE} and network interfaces {NIC_MODEL}")


def fitted(virtual_machine: dict, devices: str) -> dict:
    """A copy of the VirtualMachine with these devices."""
    machine = copy.deepcopy(virtual_machine)
    if devices == COMPATIBLE:
        found = machine["spec"]["template"]["spec"]["domain"]["devices"]
        for disk in found.get("disks", []):
            if "disk" in disk:
                disk["disk"]["bus"] = EVERYWHERE
                disk["disk"].pop("readonly", None)  # KubeVirt refuses it on SATA
        for interface in found.get("interfaces", []):
            if "model" in interface:
                interface["model"] = NIC_MODEL
    return machine
