# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read stored disks again and compare them with the manifest of the last copy: has a disk rotted while it waited?"""
from __future__ import annotations

import time

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import Event
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import FORKLIFT, DiskTask, VmTask
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.movers import Movers
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.phases import Context
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.plan_steps import Progress, state_name, target_path


def why_not(state: Progress) -> str:
    """Why a VM's disks can't be compared with a manifest; empty when they can."""
    if state.target_started_at:
        return "it has run on the cluster since, its disks are its own now"
    if state.converted:
        return "virt-v2v has converted it on the cluster, its disks are no longer what was copied"
    if state.mode == FORKLIFT:
        return "Forklift moved it, which keeps no manifest"
    if not state.base:
        return "nothing of it was copied to the end"
    return ""


def last_roots(events: list[Event], task: VmTask) -> dict[str, str]:
    """Disk to the digest of its manifest, from the last copy that was completed."""
    rounds = [event for event in events if event.subject == task.name and event.event == "round"]
    return {str(disk): str(root) for disk, root in dict(rounds[-1].data["roots"]).items()}


def arguments(disk: DiskTask, state: Progress, root: str) -> list[str]:
    """The mover's command line for a comparison."""
    return ["verify", "--target", target_path(disk), "--state", "/state", "--disk", state_name(disk, state.attempt), "--expect-root", root]


def recheck(context: Context, timeout_seconds: float) -> dict[str, str]:
    """Compare every disk of a VM that has not run on the cluster; returns the digests. Raises MigrationError naming what differs."""
    state, task = context.state(), context.task
    roots = last_roots(context.journal.events, task)
    movers = Movers(context.cluster, task, f"tandem-recheck-{time.time_ns():x}")
    try:
        for disk in task.disks:
            movers.start(disk, arguments(disk, state, roots[disk.id]))
        found = movers.wait(timeout_seconds, context.check, lambda **data: context.say(phase="recheck", event="progress", **data))
    finally:
        movers.remove()
    different = sorted(name for name, root in found.roots().items() if root != roots[name])
    if different:
        raise MigrationError(f"{task.name}: disk {different[0]} is not what was copied: {found.roots()[different[0]]}, expected {roots[different[0]]}")
    return roots
