# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices a VM starts with: those of the plan, ones that nearly every guest knows, or those that virt-v2v gives it drivers for. Pure."""
from __future__ import annotations

import copy
from dataclasses import dataclass

from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.rules import EVERYWHERE, READY, REBUILD, UNKNOWN
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import COMPATIBLE, CONVERT, VmTask

PLANNED, CONVERTED = "planned", "converted"
NIC_MODEL = "e1000e"
VIRTIO = "virtio"  # the bus that virt-v2v makes a guest ready for, whatever the plan says
_REMEDY = {REBUILD: "rebuild the initramfs with them in the running source, or ", UNKNOWN: "see that it has the driver, or "}


@dataclass(frozen=True)
class Decision:
    """`devices` is planned, compatible or converted; `sentence` says why."""

    devices: str
    sentence: str


def decide(task: VmTask, fitness: dict) -> Decision:
    """Choose by what the look at the boot disk found (see fitness.look).

    Raises MigrationError for a guest that is not fit where the operator wants that, or where the compatible devices are known not to help.
    """
    found = f"guest {fitness['verdict']} for {fitness['bus']}: {fitness['sentence']}"
    if fitness["verdict"] == READY:
        return Decision(PLANNED, found)
    if task.settings.unfit_guest == CONVERT:
        return Decision(CONVERTED, f"{found}; virt-v2v converts it, which makes its downtime longer, and it starts with disks on {VIRTIO}")
    hopeless = fitness.get("compatible") is False
    if task.settings.unfit_guest != COMPATIBLE or hopeless:
        other = f"; it lacks what {EVERYWHERE} needs too" if hopeless else ", or to compatible, for slower devices that it knows"
        raise MigrationError(f"{task.name}: {found}; {_REMEDY.get(fitness['verdict'], '')}set migration_unfit_guest to convert, for virt-v2v{other}")
    return Decision(COMPATIBLE, f"{found}; it starts with disks on {EVERYWHERE} and network interfaces {NIC_MODEL}")


def converts(task: VmTask, fitness: dict) -> bool:
    """Whether the guest will be converted, as far as is known: without a look, one whose boot disk comes to another controller may be."""
    asked = task.settings.unfit_guest == CONVERT and any(disk.boots_from for disk in task.disks)
    return asked and fitness.get("verdict") != READY


def fitted(virtual_machine: dict, devices: str) -> dict:
    """A copy of the VirtualMachine with these devices."""
    machine = copy.deepcopy(virtual_machine)
    found = machine["spec"]["template"]["spec"]["domain"]["devices"]
    disks = [disk["disk"] for disk in found.get("disks", []) if "disk" in disk]
    if devices == COMPATIBLE:
        for disk in disks:
            disk["bus"] = EVERYWHERE
            disk.pop("readonly", None)  # KubeVirt refuses it on SATA
        for interface in found.get("interfaces", []):
            if "model" in interface:
                interface["model"] = NIC_MODEL
    elif devices == CONVERTED:
        for disk in disks:
            disk["bus"] = VIRTIO
    return machine
