# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy one generation of a disk: full, delta by dirty bitmap, or compare; resumable from the journal at any moment.

Order for every chunk: write, fdatasync, journal, fsync. A run is complete when the journal holds every chunk of the plan.
"""

from __future__ import annotations

import hashlib
import mmap
import threading
import time
from collections.abc import Iterator

from .checks import already_complete, check_base, check_not_replaced, map_source, stored_manifest
from .disk_journal import COMPARE, DELTA, FULL, DiskJournal, DiskState, Header, read_header
from .errors import Resumable, TransferError
from .extents import DATA, ZERO, ChunkPlan, runs
from .job import CopyJob, CopyResult
from .manifest import Manifest, updated, zero_digest
from .nbd import Read
from .progress import Meter, say
from .pull import Pull
from .target import Target

LOCK_SECONDS = 5.0
BATCH_CHUNKS = 1 << 14  # at most this many zero chunks in one journal record or one zeroing call


def copy(job: CopyJob, stopped: threading.Event, result: CopyResult) -> Manifest:
    """Run the job, filling `result`; returns the manifest of the complete disk, raises TransferError when it is not complete."""
    state = DiskState(job.state, job.disk)
    state.lock(LOCK_SECONDS)
    try:
        base = stored_manifest(job, state)
        if base and (base.source, base.generation) == (job.source_id, job.generation):
            already_complete(job, state, base, result)
            return base
        check_base(job, base)
        started = time.monotonic()
        plan = map_source(job, base, stopped)
        result.wait_seconds = round(time.monotonic() - started, 2)
        return _Run(job, state, base, plan, stopped, result).run()
    finally:
        state.close()


class _Run:
    """One pass of a job over its plan."""

    def __init__(self, job: CopyJob, state: DiskState, base: Manifest | None, plan: ChunkPlan, stopped: threading.Event, result: CopyResult) -> None:
        self._job, self._state, self._base, self._plan = job, state, base, plan
        self._stopped, self._result = stopped, result
        self._pull: Pull | None = None
        self._pending: list[tuple[int, bytes]] = []
        self._lock = threading.Lock()
        self._header = Header(job.source_id, job.generation, job.mode, job.base, plan.size_bytes, plan.chunk_bytes)
        result.size_bytes, result.chunk_bytes = plan.size_bytes, plan.chunk_bytes

    def run(self) -> Manifest:
        started = time.monotonic()
        self._target = Target(self._job.target, self._plan.size_bytes)
        try:
            self._open_journal()
            self._copy()
            return self._finish()
        finally:
            self._result.copy_seconds = round(time.monotonic() - started, 2)
            if self._pull is None or not self._pull.running():  # a connection that still waits may yet write
                self._target.close()

    def _open_journal(self) -> None:
        job, found = self._job, self._found_header()
        other = found is not None and found != self._header
        if job.mode == FULL and found is None and not self._target.is_block and not self._target.is_blank:
            raise TransferError("target_not_empty", f"{self._target.path} holds data that no journal explains: use compare to overwrite it")
        if job.mode == DELTA:
            check_not_replaced(self._target, self._base.digests, self._base.chunk_bytes)
        if other and (job.mode == COMPARE or (job.supersede and job.mode == found.mode == DELTA and job.base == found.base)):
            self._state.replace_journal(self._header)
        # Only an undisturbed target equals its manifest; after any other begun generation, or replaced, it is read itself.
        trusted = found is None and self._base and self._base.size_bytes == self._plan.size_bytes and not self._replaced(self._base.digests)
        self._trusted = self._base if trusted else None
        self._sparse = job.mode == FULL and not self._target.is_block
        self._journal = DiskJournal(self._state.journal_path, self._header)
        if any(self._journal.done):
            if job.mode == COMPARE and self._replaced(self._journal.digests):
                self._journal.close()
                self._state.replace_journal(self._header)
                self._journal = DiskJournal(self._state.journal_path, self._header)
            else:
                check_not_replaced(self._target, self._journal.digests, self._header.chunk_bytes)
                self._result.resumed = "partly"
        self._target.prepare(self._plan.data_bytes)

    def _found_header(self) -> Header | None:
        try:
            return read_header(self._state.journal_path)
        except TransferError:
            if self._job.mode != COMPARE:
                raise
            return Header("", "", "", "", 0, 0)  # unreadable: of something else

    def _replaced(self, digests: bytes) -> bool:
        try:
            check_not_replaced(self._target, digests, self._plan.chunk_bytes)
        except TransferError:
            return True
        return False

    def _copy(self) -> None:
        done, result = self._journal.done, self._result
        data = self._plan.indexes(DATA)
        todo = [index for index in data if not done[index]]
        result.planned_bytes = self._plan.bytes_in(data)
        result.resumed_bytes = result.planned_bytes - self._plan.bytes_in(todo)
        self._zero_known([index for index in self._plan.indexes(ZERO) if not done[index]])
        pull = self._pull = Pull(
            self._job.endpoint,
            self._plan.size_bytes,
            self._plan.chunk_bytes,
            todo,
            self._take,
            threads=self._job.threads,
            retry_seconds=self._job.retry_seconds,
            limit=self._job.limit,
            say=lambda text: say("retry", message=text),
        )
        try:
            with Meter(self._job.disk, "copy", result.planned_bytes, result.resumed_bytes, lambda: pull.source_errors) as self._meter:
                pull.wait(self._stopped, self._commit)
            self._commit()
        except TransferError as error:
            pull.stop(error)
            raise
        finally:
            result.source_errors = pull.source_errors
            self._missing(result)
        if pull.failure:
            raise pull.failure

    def _missing(self, result: CopyResult) -> list[int]:
        missing = [index for index, state in enumerate(self._plan.states) if state and not self._journal.done[index]]
        result.missing_bytes = self._plan.bytes_in(missing)
        return missing

    def _zero_known(self, indexes: list[int]) -> None:
        """Make the chunks that the source knows to be zero read as zeroes, and journal them."""
        for part in (indexes[first : first + BATCH_CHUNKS] for first in range(0, len(indexes), BATCH_CHUNKS)):
            if not self._sparse:
                for first, count in runs(self._not_yet_zero(part)):
                    offset = first * self._plan.chunk_bytes
                    length = min(count * self._plan.chunk_bytes, self._plan.size_bytes - offset)
                    self._target.zero(offset, length)
                self._target.sync()
            self._journal.append([(index, zero_digest(self._plan.span(index)[1])) for index in part])

    def _not_yet_zero(self, indexes: list[int]) -> Iterator[int]:
        for index in indexes:
            offset, length = self._plan.span(index)
            known = self._trusted is not None and self._trusted.digest(index) == zero_digest(length)
            if not known and not self._target.is_hole(offset, length):
                yield index

    def _take(self, index: int, read: Read) -> None:
        """Write one chunk where it differs from what the target holds; called by the connections' threads."""
        length = len(read.view)
        digest = hashlib.sha256(read.view).digest()
        written = 0 if self._job.mode == COMPARE and digest == self._present(index, read) else self._write(read, digest)
        with self._lock:
            self._pending.append((index, digest))
            self._result.copied_bytes += length
            self._result.written_bytes += written
        self._meter.add(length)

    def _present(self, index: int, read: Read) -> bytes:
        if self._trusted is not None:
            return self._trusted.digest(index)
        buffer = memoryview(mmap.mmap(-1, len(read.view)))
        self._target.read_into(read.offset, buffer)
        return hashlib.sha256(buffer).digest()

    def _write(self, read: Read, digest: bytes) -> int:
        length = len(read.view)
        if digest == zero_digest(length):
            if not self._sparse:
                self._target.zero(read.offset, length)
            return 0
        return self._target.write(read.offset, read.view, read.data if self._sparse else [(0, length)])

    def _commit(self) -> None:
        with self._lock:
            chunks, self._pending = self._pending, []
        if chunks:
            self._target.sync()
            self._journal.append(chunks)

    def _finish(self) -> Manifest:
        missing = self._missing(self._result)
        if missing:
            raise Resumable("source_unavailable", f"{len(missing)} chunks are not copied")
        self._target.sync()
        if self._job.mode == DELTA:
            manifest = updated(self._base, self._job.generation, bytes(self._journal.digests), bytes(self._journal.done))
        else:
            manifest = Manifest(self._job.source_id, self._job.generation, self._plan.size_bytes, self._plan.chunk_bytes, bytes(self._journal.digests))
        self._journal.close()
        self._state.finish(manifest)
        self._result.root = manifest.root
        return manifest
