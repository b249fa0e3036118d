# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copies of one VM: rounds while it runs, and the final one from its stopped disks."""
from __future__ import annotations

import time

from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import SourceChanged
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import CONVERT
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.movers import Copied, Movers
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.plan_steps import Copy, copy_of, export_name, generation_name, mover_arguments

LIVE_BITMAP = "dirty"
LIVE_PORT = 15  # of the VM's sixteen; the disks of the final copy have the others


class Rounds:
    """Copies for one VM's context (see phases.Context)."""

    def __init__(self, context):
        self.context, self.task = context, context.task
        self._frozen_at = 0.0

    def live(self, phase: str) -> None:
        """One round from the running VM: freeze, copy, journal. Goes on with a round that a killed run left open."""
        source, state, settings = self.context.source, self.context.state(), self.task.settings
        started = time.monotonic()
        if state.unfinished and source.backup_runs(state.unfinished):
            generation, copy, frozen_at = state.unfinished, *self._begun(state.unfinished)
        else:
            self._drop(state.unfinished)
            copy = copy_of(state, source.knows(state.base))
            generation, frozen_at = self._begin(phase, copy), time.time()
            source.begin_backup(generation, copy.base, settings.exporter_address, self.context.port + LIVE_PORT, [disk.id for disk in self.task.disks])
        movers = Movers(self.context.cluster, self.task, generation)
        bitmap = ["--bitmap", LIVE_BITMAP] if copy.mode == "delta" else []
        look_early = settings.unfit_guest == CONVERT and not state.fitness  # so that the prediction knows of a conversion
        for disk in self.task.disks:
            look = ["--fitness", disk.boots_from] if look_early and disk.boots_from else []
            movers.start(disk, self._arguments(disk, generation, copy, LIVE_PORT, bitmap + look))

        def watch() -> None:
            self.context.check()
            if not source.backup_runs(generation):
                raise SourceChanged(f"{self.task.name}: the backup of {generation} ended before the copy")

        copied = movers.wait(settings.copy_timeout_seconds, watch, lambda **data: self.context.say(phase=phase, event="progress", **data))
        self._note_round(phase, generation, copy, copied, started, frozen_at)
        source.end_backup()
        source.drop_checkpoints(keep=generation)
        movers.remove()

    def prepare_final(self) -> None:
        """Start the movers of the final copy: they wait for exporters that come up once the source is off."""
        source, state = self.context.source, self.context.state()
        if source.running() and state.base:
            source.end_backup()
            source.drop_checkpoints(keep=state.base)  # merges what tracked a round that died into the base's bitmap
        copy = copy_of(state, source.knows(state.base))
        self._drop(state.unfinished)
        generation = self._begin("quiesce", copy)
        movers = self._final_movers(generation, copy)
        movers.wait_started(60)

    def final(self) -> dict:
        """Copy from the stopped disks and compare the whole target with them; goes on with movers that wait or a run that was killed."""
        started = time.monotonic()
        source, state, settings = self.context.source, self.context.state(), self.task.settings
        generation, copy = state.unfinished, None
        if generation:
            copy, _frozen_at = self._begun(generation)
            if copy.mode == "delta" and not source.only_checkpoint_is(copy.base):
                raise SourceChanged(f"{self.task.name}: the bitmap of {copy.base} is lost or not whole any more")
        else:
            copy = copy_of(state, bool(state.base) and source.only_checkpoint_is(state.base))
            generation = self._begin("final", copy)
        movers = self._final_movers(generation, copy)
        bitmap = copy.base if copy.mode == "delta" else ""
        with source.exporters(self.task.disks, settings, self.context.port, generation, bitmap) as served:

            def watch() -> None:
                self.context.check()
                served()

            copied = movers.wait(settings.copy_timeout_seconds, watch,
                                 lambda **data: self.context.say(phase="final", event="progress", **data))
        self._note_round("final", generation, copy, copied, started, time.time())
        movers.remove()
        total, verify = time.monotonic() - started, copied.longest("verify_seconds")
        size = sum(disk.size_bytes for disk in self.task.disks)
        fields = ("size_bytes", "missing_bytes", "verify_seconds", "root", "copied_bytes", "written_bytes")
        return {"disks": {name: {field: found.get(field) for field in fields} for name, found in copied.results.items()},
                "final_seconds": round(max(total - verify - copied.longest("copy_seconds"), 0), 2), "verify_seconds": round(verify, 2),
                "verify_bytes_per_second": round(size / verify) if verify else None, "copy_seconds": round(copied.longest("copy_seconds"), 2)}

    def abandon(self) -> None:
        """Stop the movers and the backup of a round that can't be finished."""
        self._drop(self.context.state().unfinished)
        self.context.source.end_backup()

    def _drop(self, generation: str) -> None:
        if generation:
            Movers(self.context.cluster, self.task, generation).stop()

    def _final_movers(self, generation: str, copy: Copy) -> Movers:
        movers = Movers(self.context.cluster, self.task, generation)
        wait = str(self.task.settings.stop_timeout_seconds + self.context.source.ready_seconds)
        for number, disk in enumerate(self.task.disks):
            extra = ["--wait-seconds", wait, "--verify", "--verify-source"]
            extra += ["--bitmap", copy.base] if copy.mode == "delta" else []
            extra += ["--fitness", disk.boots_from] if disk.boots_from else []
            movers.start(disk, self._arguments(disk, generation, copy, number, extra))
        return movers

    def _arguments(self, disk, generation: str, copy: Copy, port: int, extra: list[str]) -> list[str]:
        uri = f"nbd://{self.task.settings.exporter_address}:{self.context.port + port}/{export_name(generation, disk.id)}"
        return mover_arguments(self.task, disk, generation, copy, uri, self.context.state().attempt, extra)

    def _begin(self, phase: str, copy: Copy) -> str:
        generation = generation_name(self.context.state(), time.time_ns())
        self.context.note(phase, "begin", generation=generation, mode=copy.mode, base=copy.base, supersede=copy.supersede, frozen_at=time.time())
        return generation

    def _begun(self, generation: str) -> tuple[Copy, float]:
        event = next(item for item in reversed(self.context.journal.events)
                     if item.subject == self.task.name and item.event == "begin" and item.data["generation"] == generation)
        return Copy(str(event.data["mode"]), str(event.data["base"]), bool(event.data["supersede"])), float(event.data["frozen_at"])

    def _note_round(self, phase: str, generation: str, copy: Copy, copied: Copied, started: float, frozen_at: float) -> None:
        state = self.context.state()
        interval = frozen_at - state.base_frozen_at if copy.mode == "delta" and state.base_frozen_at else 0.0
        self.context.note(phase, "round", generation=generation, mode=copy.mode, base=copy.base, bytes=copied.bytes, roots=copied.roots(),
                          copy_seconds=round(copied.longest("copy_seconds"), 3), total_seconds=round(time.monotonic() - started, 3),
                          interval_seconds=round(interval, 3), frozen_at=frozen_at)
        for found in copied.results.values():
            if "fitness" in found:
                self.context.note(phase, "fitness", **found["fitness"])
