# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM through its phases; each phase may be run again, and what was done is read from the journal."""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import devices, fence, movers, target
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.conversion import Conversion, remove_overlays
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError, SourceChanged
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.journal_store import JournalStore
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import VmTask
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.plan_steps import Progress, progress
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.predict import Timing, cold_seconds, downtime, learned, slowness
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.rounds import Rounds
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.source_facts import SourceFacts
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.waves import in_window

STALE_SECONDS = 120
REREADS = 3
COLD_BYTES_PER_SECOND = 60e6  # expected of a copy before any was measured


class Waiting(MigrationError):
    """Not a failure: the VM waits for its cutover window."""


@dataclass
class Context:
    """What a VM's phases work with; `source` is a LibvirtSource or a FileSource (None where Forklift copies), `check` raises when the run lost its lease."""

    cluster: Cluster
    task: VmTask
    journal: JournalStore
    source: object
    port: int
    check: Callable[[], None]
    say: Callable[..., None]

    def state(self) -> Progress:
        return progress(self.journal.events, self.task.name)

    def note(self, phase: str, event: str, **data) -> None:
        self.journal.append(self.task.name, phase, event, data)


class Migration:
    """The state machine of one VM."""

    def __init__(self, context: Context):
        self.context, self.task = context, context.task
        self.rounds = Rounds(context)

    def run(self) -> Progress:
        """Do every phase that is left. Raises MigrationError; the VM then stands where the journal says."""
        rereads = 0
        while phase := self.context.state().next:
            self.context.check()
            self.context.say(phase=phase, event="started")
            started = time.monotonic()
            try:
                data = getattr(self, phase)() or {}
            except SourceChanged as error:
                rereads += 1
                self.rounds.abandon()
                if rereads > REREADS:
                    raise MigrationError(f"{error}; gave up after {REREADS} full rereads") from error
                self.context.say(phase=phase, event="reread", message=f"{error}; every byte is read again and compared")
                self.context.note(phase, "reread", reason=str(error))
                continue
            self.context.note(phase, "done", **data)
            self.context.say(phase=phase, event="done", seconds=round(time.monotonic() - started, 2), **_brief(data))
        return self.context.state()

    # ---- phases

    def inspect(self) -> dict:
        """Compare the source with the estate, and decide whether it can be copied while it runs."""
        facts = self._facts()
        if facts.fenced:
            raise MigrationError(f"{self.task.name}: the source is fenced by a migration that this journal does not know; roll it back first")
        warm = facts.running and not facts.warm_refused
        if facts.running and not warm:
            self._cold_must_fit(facts.warm_refused)
        return {"mode": "warm" if warm else "cold", "running": facts.running, "autostart": facts.autostart, "why": facts.warm_refused}

    def prepare(self) -> dict:
        """Create claims and the fenced VM, take the lease for the source, and prove that the target can't start."""
        Conversion(self.context).end_earlier()
        target.prepare(self.context.cluster, self.task)
        holder = fence.owner(self.context.cluster, self.task)
        fence.hand_over(self.context.cluster, self.task, holder if holder.startswith("source/") else "", fence.source_identity(self.task))
        return {"claims": [disk.claim for disk in self.task.disks], "node": self.task.node}

    def copy(self) -> dict:
        """The first copy, while the VM runs."""
        if not self.context.source.running():
            return {"skipped": "the source is off, the final copy reads all"}
        self.rounds.live("copy")
        return {"bytes": self.context.state().rounds[-1].bytes}

    def delta(self) -> dict:
        """Rounds until the predicted downtime fits the budget; raises MigrationError when it never will."""
        settings = self.task.settings
        while True:
            state = self.context.state()
            if not self.context.source.running() or not state.rounds:
                return {"skipped": "the source is off, the final copy reads what is left"}
            self._facts()
            self._base_must_be_known()
            if len(state.rounds) > 1:
                found = downtime(state.rounds, sum(disk.size_bytes for disk in self.task.disks), settings.downtime_budget_seconds,
                                 self.timing(), settings.round_pause_seconds)
                self.context.say(phase="delta", event="predicted", message=found.sentence)
                self.context.note("delta", "predicted", **asdict(found))
                if found.never:
                    raise MigrationError(f"{self.task.name}: {found.sentence}; raise the budget, or stop the VM and migrate it cold")
                if found.fits and in_window(settings.windows, datetime.now(UTC)):
                    return {"predicted_seconds": round(found.seconds, 2), "slowness": round(slowness(state.rounds), 3), "rounds": len(state.rounds)}
                if found.fits:
                    raise Waiting(f"{self.task.name}: ready, waits for its cutover window")
                if len(state.rounds) > settings.max_rounds:
                    raise MigrationError(f"{self.task.name}: after {len(state.rounds) - 1} delta rounds, {found.sentence}")
                time.sleep(settings.round_pause_seconds)
            self.rounds.live("delta")

    def quiesce(self) -> dict:
        """Have the last movers wait, fence the source, and shut it down in its time."""
        source, state, settings = self.context.source, self.context.state(), self.task.settings
        if not in_window(settings.windows, datetime.now(UTC)):
            raise Waiting(f"{self.task.name}: waits for its cutover window")
        self._base_must_be_known()
        if source.running():
            if devices.converts(self.task, state.fitness):
                Conversion(self.context).rehearse()
            self._facts()
            if state.base and time.time() - state.base_frozen_at > STALE_SECONDS:
                self.rounds.live("quiesce")
        self.rounds.prepare_final()
        stopped_at = self._stop_time()
        source.fence(self._moved_to())
        try:
            seconds = source.shut_down(settings.stop_timeout_seconds, settings.force_stop)
            refusal = source.prove_fence()
        except MigrationError:
            if source.running():
                source.unfence(self._moved_to(), bool(state.done["inspect"]["autostart"]))
                self.rounds.abandon()
            raise
        return {"stop_seconds": round(seconds, 2), "stopped_at": stopped_at, "refusal": refusal}

    def final(self) -> dict:
        """Copy what is left from the stopped disks, and compare the whole target with them."""
        self._source_must_be_down()
        return self.rounds.final()

    def verify(self) -> dict:
        """Accept the copy only when every disk was read again in full and is the source's size."""
        disks = self.context.state().done["final"]["disks"]
        for disk in self.task.disks:
            found = disks.get(disk.id, {})
            if not (found.get("size_bytes") == disk.size_bytes and found.get("missing_bytes") == 0 and found.get("verify_seconds", 0) > 0
                    and found.get("root")):
                raise MigrationError(f"{self.task.name}: disk {disk.id} was not verified in full: {found}")
        return {"roots": {name: found["root"] for name, found in disks.items()}, "fitness": self.context.state().fitness}

    def cutover(self) -> dict:
        """Settle the VM's devices, with a conversion if need be, give its lease to the target, lift the fence and start it."""
        self._source_must_be_down()
        self._settle_devices()
        self._source_must_be_down()  # a conversion takes its time
        started = time.monotonic()
        self.context.check()
        fence.hand_over(self.context.cluster, self.task, fence.source_identity(self.task), fence.target_identity(self.task))
        self.context.note("cutover", "target-started")
        target.start(self.context.cluster, self.task)
        if not self.task.settings.start:
            return {"halted": True}
        vmi = target.wait_running(self.context.cluster, self.task, self.context.check, lambda **data: self.context.say(phase="cutover", **data))
        return {"node": vmi["status"].get("nodeName"), "running_seconds": round(time.monotonic() - started, 2), "started_at": time.time()}

    def check(self) -> dict:
        """Compare the running VM with plan and source, and ask its service; one that is wanted halted has nothing to show yet."""
        if "halted" in self.context.state().done["cutover"]:
            return {"halted": True}
        vmi = target.wait_running(self.context.cluster, self.task, self.context.check, lambda **data: self.context.say(phase="check", **data))
        wrong = target.differences(self.task, vmi, self.context.state().devices)
        if wrong:
            raise MigrationError(f"{self.task.name}: {'; '.join(wrong)}")
        asked = target.probe(self.context.cluster, self.task, lambda **_data: None) if self.task.settings.probe else ""
        state = self.context.state()
        begun = state.done["quiesce"]["stopped_at"]
        started = state.done["cutover"]["started_at"] - state.done["cutover"]["running_seconds"]
        now, final, delta = time.time(), state.done["final"], state.done.get("delta", {})
        return {"probe": asked, "node": vmi["status"].get("nodeName"), "start_seconds": round(now - started, 2),
                "convert_seconds": state.conversion.get("seconds"),
                # What was off has no downtime.
                "downtime_seconds": round(now - begun, 2) if state.done["inspect"]["running"] else None,
                "predicted_seconds": delta.get("predicted_seconds"), "stop_seconds": state.done["quiesce"]["stop_seconds"],
                "slowness": delta.get("slowness"), "final_seconds": final["final_seconds"], "verify_bytes_per_second": final["verify_bytes_per_second"]}

    def accept(self) -> dict:
        """Remove our checkpoints from the source, which stays off and fenced, and what the migration needed on the cluster."""
        movers.remove_all(self.context.cluster, self.task)
        remove_overlays(self.context)
        return {"removed": self.context.source.clean()}

    # ---- helpers

    def _settle_devices(self) -> None:
        """Decide once by the look at the boot disk, where there was one, and give the VM what was decided; a VM that was started has it."""
        state = self.context.state()
        if state.target_started_at or not state.fitness:
            return
        if not state.devices:
            decision = devices.decide(self.task, state.fitness)
            self.context.note("cutover", "devices", **asdict(decision))
            self.context.say(phase="cutover", event="devices", message=decision.sentence)
        chosen = self.context.state().devices
        if chosen == devices.CONVERTED:
            Conversion(self.context).run()
        if chosen != devices.PLANNED:
            target.refit(self.context.cluster, self.task, chosen)

    def _facts(self) -> SourceFacts:
        """The source as it is now; raises MigrationError when its disks are no longer those of the estate."""
        facts = self.context.source.facts()
        have = {disk.target: disk.size_bytes for disk in facts.disks}
        for disk in self.task.disks:
            if have.get(disk.id) != disk.size_bytes:
                raise MigrationError(f"{self.task.name}: disk {disk.id} has {have.get(disk.id, 'no')} bytes at the source, the estate says"
                                     f" {disk.size_bytes}; run the assessment again")
        extra = sorted(set(have) - {disk.id for disk in self.task.disks})
        if extra:
            raise MigrationError(f"{self.task.name}: the source has a disk {extra[0]} that the estate does not know; run the assessment again")
        return facts

    def _base_must_be_known(self) -> None:
        """Raise SourceChanged, rather than copy changes that nobody recorded, when the source can't tell what changed since the last copy."""
        base = self.context.state().base
        if base and not self.context.source.knows(base):
            raise SourceChanged(f"{self.task.name}: its bitmaps no longer tell what changed (a snapshot was taken, or QEMU was killed and they are lost)")

    def _cold_must_fit(self, why: str) -> None:
        """A running VM is copied cold only when the whole copy fits its budget: no hidden downtime."""
        seconds = cold_seconds(sum(disk.size_bytes for disk in self.task.disks), COLD_BYTES_PER_SECOND, self.timing())
        if seconds > self.task.settings.downtime_budget_seconds:
            raise MigrationError(f"{self.task.name}: {why}, so it can be copied only while it is off, about {seconds:.0f} s; its downtime budget is"
                                 f" {self.task.settings.downtime_budget_seconds} s; raise that budget to agree")

    def timing(self) -> Timing:
        """Timing from the cutovers that this journal has seen."""
        measured = [event.data for event in self.context.journal.events if event.phase == "check" and event.event == "done"]
        settings, converted = self.task.settings, devices.converts(self.task, self.context.state().fitness)
        return learned(measured, Timing(start_seconds=settings.start_seconds, convert_seconds=settings.conversion_seconds if converted else 0.0))

    def _stop_time(self) -> float:
        """When the source was told to stop: now, or what an earlier run noted if the source obeyed it."""
        if not self.context.source.running():
            for event in reversed(self.context.journal.events):
                if event.subject == self.task.name and event.event == "stop":
                    return float(event.data["at"])
        now = time.time()
        self.context.note("quiesce", "stop", at=now)
        return now

    def _moved_to(self) -> str:
        return f"{self.task.settings.namespace}.{self.task.name}"

    def _source_must_be_down(self) -> None:
        if self.context.source.running() or not self.context.source.fenced():
            raise MigrationError(f"{self.task.name}: the source runs or its fence was taken off since it was stopped; roll back, or stop it"
                                 " and roll back, then migrate again")


def _brief(data: dict) -> dict:
    return {name: value for name, value in data.items() if isinstance(value, (int, float, str)) and value not in ("", None)}
