# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold before a copy begins: source, base, target and state have to fit together."""
from __future__ import annotations

import threading
import time

from .connection import Endpoint, NbdError
from .disk_journal import COMPARE, DELTA, FULL, DiskState, read_header
from .errors import Resumable, TransferError
from .extents import ChunkPlan, chunk_bytes_for, plan_chunks, span
from .job import CopyJob, CopyResult
from .manifest import Manifest, zero_digest
from .nbd import ALLOCATION, DIRTY_BITMAP, Client
from .target import Target


def stored_manifest(job: CopyJob, state: DiskState) -> Manifest | None:
    """Return the manifest of the last complete generation; compare does without one that is damaged."""
    try:
        return state.manifest()
    except TransferError:
        if job.mode != COMPARE:
            raise
        return None                     # compare trusts nothing that it can not check


def connect(endpoint: Endpoint, contexts: list[str], wait_seconds: float, stopped: threading.Event) -> Client:
    """Connect to an exporter that may not be up yet; raises Resumable after `wait_seconds`."""
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return Client(endpoint, contexts)
        except NbdError:
            if time.monotonic() > deadline:
                raise
            if stopped.wait(0.1):
                raise Resumable("interrupted", "stopped while it waited for the exporter") from None


def already_complete(job: CopyJob, state: DiskState, manifest: Manifest, result: CopyResult) -> None:
    """Fill the result of a generation that is complete; raises TransferError when the target is no longer that."""
    header = read_header(state.journal_path)
    if header and header.generation == job.generation:
        state.drop_journal()            # the crash came between the manifest and this
    elif header:
        raise TransferError("other_generation", f"{state.journal_path}: generation {header.generation} has already begun to overwrite "
                                                f"{job.generation} on the target")
    target = Target(job.target, manifest.size_bytes, writable=False)
    try:
        check_not_replaced(target, manifest.digests, manifest.chunk_bytes)
    finally:
        target.close()
    result.size_bytes, result.chunk_bytes, result.root, result.resumed = manifest.size_bytes, manifest.chunk_bytes, manifest.root, "complete"


def check_base(job: CopyJob, base: Manifest | None) -> None:
    """Refuse a job that does not fit what the target holds."""
    if base and base.source != job.source_id:
        raise TransferError("other_generation", f"the state belongs to the source {base.source}, not to {job.source_id}")
    if job.mode == DELTA and base is None:
        raise TransferError("manifest_missing", f"a delta on {job.base} needs its manifest, and there is none: copy full first")
    if job.mode == DELTA and base.generation != job.base:
        raise TransferError("other_generation", f"the target is at generation {base.generation}, the delta starts from {job.base}")
    if job.mode == FULL and base:
        raise TransferError("other_generation", f"the target holds the complete generation {base.generation}: "
                                                "use a delta or compare, which keep it")


def map_source(job: CopyJob, base: Manifest | None, stopped: threading.Event) -> ChunkPlan:
    """Ask the exporter for size, data and dirty blocks; raises TransferError when the disk was resized or the bitmap lost."""
    wanted = [ALLOCATION] + ([DIRTY_BITMAP + job.bitmap] if job.mode == DELTA else [])
    client = connect(job.endpoint, wanted, job.wait_seconds, stopped)
    try:
        size = client.size_bytes
        for expected in (job.expected_bytes, base.size_bytes if base and job.mode == DELTA else 0):
            if expected and size != expected:
                raise TransferError("size_changed", f"the source has {size} bytes, expected {expected}: the disk was resized")
        if job.mode == DELTA and wanted[1] not in client.contexts:
            raise TransferError("bitmap_missing", f"the exporter does not offer the dirty bitmap {job.bitmap!r}: use compare")
        allocation = client.extents(ALLOCATION) if ALLOCATION in client.contexts else None
        dirty = client.extents(wanted[1]) if job.mode == DELTA else None
        return plan_chunks(size, chunk_bytes_for(size), allocation, dirty)
    finally:
        client.close()


def check_not_replaced(target: Target, digests: bytes, chunk_bytes: int) -> None:
    """Refuse an empty target of which journal or manifest say that it holds data: its volume was replaced."""
    blank, position, size = target.is_blank, 0, target.size_bytes
    if not target.is_block and target.current_bytes != size:
        raise TransferError("damaged", f"{target.path} has {target.current_bytes} bytes, but {size} were copied")
    while blank and position < size:
        digest = digests[position // chunk_bytes * 32:][:32]
        if any(digest) and digest != zero_digest(span(position // chunk_bytes, chunk_bytes, size)[1]):
            raise TransferError("damaged", f"{target.path} is empty, but the state says that data was copied to it")
        position += chunk_bytes
