# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps a migration has, and how far it is: a pure function of the journal's events."""
from __future__ import annotations

from dataclasses import dataclass, field, replace

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import Event
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.devices import converts
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import FORKLIFT, DiskTask, VmTask
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.predict import Round

WARM = ("inspect", "prepare", "copy", "delta", "quiesce", "final", "verify", "cutover", "check", "accept")
COLD = ("inspect", "prepare", "quiesce", "final", "verify", "cutover", "check", "accept")
DELEGATED = ("inspect", "prepare", "forklift", "check", "accept")
BEGUN, COMMITTING, COMMITTED = "begun", "committing", "committed"  # stages of a conversion
PHASES = {"cold": COLD, FORKLIFT: DELEGATED}


@dataclass(frozen=True)
class Progress:
    """Where a VM stands.

    A generation names one frozen moment of the source and, while the VM runs, our checkpoint there. `base` is the last one that
    was copied completely, `unfinished` one that was begun after it. `attempt` counts the rollbacks. `fitness` is
    what a look at the boot disk found, `devices` what was decided upon it, `conversion` how far virt-v2v is with the guest.
    """

    mode: str = ""
    attempt: int = 0
    done: dict[str, dict] = field(default_factory=dict)
    begun: int = 0
    base: str = ""
    unfinished: str = ""
    rounds: tuple[Round, ...] = ()
    base_frozen_at: float = 0.0
    fitness: dict = field(default_factory=dict)
    devices: str = ""
    conversion: dict = field(default_factory=dict)
    target_started_at: str = ""
    rolled_back: bool = False

    @property
    def next(self) -> str:
        """The phase to do next; empty when the VM is accepted."""
        return next((phase for phase in PHASES.get(self.mode, WARM) if phase not in self.done), "")

    @property
    def converted(self) -> bool:
        """Whether the disks may differ from their verified copy, as a conversion was or is being committed into them."""
        return self.conversion.get("stage") in (COMMITTING, COMMITTED)

    @property
    def accepted(self) -> bool:
        return "accept" in self.done


def progress(events: list[Event], subject: str) -> Progress:
    """Fold the journal's events of one VM into its progress.

    `reread` forgets what was copied, as the source's bitmaps no longer tell what changed since: the next copy compares every byte.
    `rolled-back` starts afresh; what lies in the claims is compared, never trusted.
    """
    state = Progress()
    for event in events:
        if event.subject == subject:
            state = _fold(state, event)
    return state


def _fold(state: Progress, event: Event) -> Progress:
    data = event.data
    if event.event == "done":
        mode = str(data["mode"]) if event.phase == "inspect" else state.mode
        return replace(state, done={**state.done, event.phase: dict(data)}, mode=mode, rolled_back=False)
    if event.event == "begin":
        return replace(state, begun=state.begun + 1, unfinished=str(data["generation"]))
    if event.event == "round":
        return replace(state, base=str(data["generation"]), unfinished="", rounds=(*state.rounds, round_of(data)),
                       base_frozen_at=float(data["frozen_at"]))
    if event.event == "fitness":
        return replace(state, fitness=dict(data))
    if event.event == "devices":
        return replace(state, devices=str(data["devices"]))
    if event.event == "conversion":
        return replace(state, conversion={**state.conversion, **data})
    if event.event == "reread":
        kept = {phase: found for phase, found in state.done.items() if phase in ("inspect", "prepare", "quiesce")}
        return replace(state, base="", unfinished="", rounds=(), fitness={}, devices="", conversion={}, done=kept)
    if event.event == "target-started":
        return replace(state, target_started_at=state.target_started_at or event.at)
    if event.event == "rolled-back":
        return Progress(begun=state.begun, attempt=state.attempt + 1, rolled_back=True)
    return state


def round_of(data: dict) -> Round:
    """A copy round as the journal keeps it."""
    return Round(int(data["bytes"]), float(data["copy_seconds"]), float(data["total_seconds"]), float(data["interval_seconds"]))


@dataclass(frozen=True)
class Copy:
    """How the movers copy one generation: full, delta (what is dirty since `base`) or compare (every byte, writing differences)."""

    mode: str
    base: str = ""
    supersede: bool = False


def copy_of(state: Progress, bitmap_known: bool) -> Copy:
    """Choose the cheapest copy that is certain: a delta only when the source still knows what changed since the base."""
    if state.base and bitmap_known:
        return Copy("delta", state.base, supersede=bool(state.unfinished))
    return Copy("compare" if state.begun else "full")


def generation_name(state: Progress, stamp: int) -> str:
    """A new name, never used before in any journal; `stamp` is the time in nanoseconds. Ours because it starts with `tandem-`."""
    return f"tandem-{state.begun}-{stamp:x}"


def export_name(generation: str, disk_id: str) -> str:
    """The NBD export of a disk at one frozen moment: a mover is refused by whatever still serves another moment, or another VM, at its port."""
    return f"{generation}-{disk_id}"


def target_path(disk: DiskTask) -> str:
    """Where a mover finds the disk: a device, or the folder of disk.img."""
    return "/dev/target" if disk.block else "/disk"


def state_name(disk: DiskTask, attempt: int) -> str:
    """Name of a disk's journal and manifest.

    After a rollback the guest may have written to the target, whose manifest then lies: each attempt has its own.
    """
    return f"{disk.id}-{attempt}" if attempt else disk.id


def mover_arguments(task: VmTask, disk: DiskTask, generation: str, copy: Copy, uri: str, attempt: int, extra: list[str]) -> list[str]:
    """The mover's command line for one disk; it holds no secrets."""
    settings = task.settings
    arguments = ["copy", "--source", uri, "--tls", "/tls", "--target", target_path(disk), "--state", "/state", "--disk", state_name(disk, attempt),
                 "--source-id", f"{task.vm.id}/{disk.id}", "--generation", generation, "--mode", copy.mode,
                 "--size-bytes", str(disk.size_bytes)]
    if copy.mode == "delta":
        arguments += ["--base", copy.base]
    if copy.supersede:
        arguments.append("--supersede")
    if settings.rate_bytes_per_second:
        arguments += ["--rate-bytes-per-second", str(settings.rate_bytes_per_second)]
    return arguments + extra


def describe(task: VmTask, state: Progress) -> list[str]:
    """The steps still to do, one sentence each, for check mode and diff."""
    if state.accepted:
        return []
    if task.engine == FORKLIFT:
        return _describe_delegated(task, state)
    size = sum(disk.size_bytes for disk in task.disks)
    warm = "warm" if task.vm.power_state == "running" and state.mode != "cold" else "cold"
    claims = ", ".join(f"{disk.claim}" for disk in task.disks)
    sentences = {
        "inspect": f"look at {task.vm.name} on {task.vm.host or task.vm.source}",
        "prepare": f"create claims {claims} and the fenced, halted VirtualMachine {task.settings.namespace}/{task.name}",
        "copy": f"copy {len(task.disks)} disks, {size} bytes, while it runs",
        "delta": f"copy what changed until the predicted downtime is within {task.settings.downtime_budget_seconds} s",
        "quiesce": f"fence {task.vm.name} at the source and shut it down within {task.settings.stop_timeout_seconds} s",
        "final": "copy the last changes from the stopped disks" if warm == "warm" else
                 f"copy {len(task.disks)} disks, {size} bytes, from the stopped VM",
        "verify": "compare every byte of the target with the stopped source",
        "cutover": f"{_conversion(task, state)}give the lease to the target and {f'start it on {task.node}' if task.settings.start else 'leave it halted'}",
        "check": "check node, MAC, UUID, disks and the service",
        "accept": "remove our checkpoints from the source, which stays off",
    }
    phases = COLD if warm == "cold" else WARM
    return [f"{phase}: {sentences[phase]}" for phase in phases if phase not in state.done]


def _conversion(task: VmTask, state: Progress) -> str:
    if not converts(task, state.fitness) or state.conversion.get("stage") == COMMITTED:
        return ""
    return f"convert the guest with virt-v2v{'' if state.fitness else ' if it lacks a driver'}, "


def _describe_delegated(task: VmTask, state: Progress) -> list[str]:
    where = task.settings.forklift.namespace
    sentences = {
        "inspect": f"look for Forklift and its provider of {task.vm.source}",
        "prepare": f"create NetworkMap, StorageMap and Plan of {task.vm.name} in {where} and wait until Forklift calls them ready",
        "forklift": f"have Forklift move {task.vm.name} to {task.settings.namespace}/{task.name} and follow it",
        "check": f"check that it runs on {task.node} or another node of the plan",
        "accept": "note it; the source stays as Forklift leaves it, off",
    }
    return [f"{phase}: {sentences[phase]}" for phase in DELEGATED if phase not in state.done]
