# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reread a whole disk, holes included, and compare it with its manifest; the same code makes a manifest of a disk."""
from __future__ import annotations

import hashlib
import mmap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from .connection import Endpoint
from .errors import Resumable, TransferError
from .extents import DATA, chunk_bytes_for, chunk_count, plan_chunks, span
from .manifest import DIGEST_BYTES, Manifest, zero_digest
from .nbd import ALLOCATION, Read
from .progress import Meter, say
from .pull import Limit, Pull
from .target import Target

SHOWN_OFFSETS = 20


@dataclass
class Comparison:
    """How many chunks differ and where the first ones start."""

    bad_chunks: int = 0
    first_bad_offsets: list[int] = field(default_factory=list)
    read_bytes: int = 0


def hash_target(target: Target, chunk_bytes: int, threads: int, stopped: threading.Event, disk: str = "") -> tuple[bytes, int]:
    """Return the chunk hashes of a file or device and the bytes read; holes of a file are known to be zero and not read."""
    count = chunk_count(target.size_bytes, chunk_bytes)
    digests, indexes = bytearray(DIGEST_BYTES * count), iter(range(count))   # shared by the threads
    target.forget_cache()

    def work(_thread: int) -> int:
        buffer, total = memoryview(mmap.mmap(-1, chunk_bytes)), 0
        for index in indexes:
            if stopped.is_set():
                break
            offset, length = span(index, chunk_bytes, target.size_bytes)
            if target.is_hole(offset, length):
                digest = zero_digest(length)
            else:
                target.read_into(offset, buffer[:length])
                digest, total = hashlib.sha256(buffer[:length]).digest(), total + length
            digests[index * DIGEST_BYTES:(index + 1) * DIGEST_BYTES] = digest
            meter.add(length)
        return total

    with Meter(disk, "verify", target.size_bytes) as meter, ThreadPoolExecutor(threads) as pool:
        total = sum(pool.map(work, range(threads)))
    if stopped.is_set():
        raise Resumable("interrupted", "stopped by a signal")
    return bytes(digests), total


def compare(manifest: Manifest, digests: bytes, read_bytes: int) -> Comparison:
    """Compare chunk hashes with a manifest."""
    result = Comparison(read_bytes=read_bytes)
    for index in range(manifest.count):
        if digests[index * DIGEST_BYTES:(index + 1) * DIGEST_BYTES] != manifest.digest(index):
            result.bad_chunks += 1
            if len(result.first_bad_offsets) < SHOWN_OFFSETS:
                result.first_bad_offsets.append(index * manifest.chunk_bytes)
    return result


def verify_target(path: str, manifest: Manifest, threads: int, stopped: threading.Event, disk: str = "") -> Comparison:
    """Compare a file or device with its manifest; a file must have the exact size, a device at least that."""
    target = Target(path, manifest.size_bytes, writable=False)
    try:
        if target.current_bytes != target.size_bytes and not (target.is_block and target.current_bytes > target.size_bytes):
            raise TransferError("damaged", f"{target.path} has {target.current_bytes} bytes, the manifest {target.size_bytes}")
        digests, read_bytes = hash_target(target, manifest.chunk_bytes, threads, stopped, disk)
    finally:
        target.close()
    return compare(manifest, digests, read_bytes)


def verify_source(endpoint: Endpoint, manifest: Manifest, threads: int, retry_seconds: float, stopped: threading.Event,
                  open_client: Callable, limit: Limit | None = None, disk: str = "") -> Comparison:
    """Compare a stopped source with the manifest, reading all its data again."""
    client = open_client()
    try:
        if client.size_bytes != manifest.size_bytes:
            raise TransferError("size_changed", f"the source has {client.size_bytes} bytes, the manifest {manifest.size_bytes}")
        allocation = client.extents(ALLOCATION) if ALLOCATION in client.contexts else None
        plan = plan_chunks(manifest.size_bytes, manifest.chunk_bytes, allocation, None)
    finally:
        client.close()
    digests = bytearray(b"".join(zero_digest(plan.span(index)[1]) for index in range(manifest.count)))

    def take(index: int, read: Read) -> None:
        digests[index * DIGEST_BYTES:(index + 1) * DIGEST_BYTES] = hashlib.sha256(read.view).digest()
        seen[index] = 1
        meter.add(len(read.view))

    chunks, seen = plan.indexes(DATA), bytearray(manifest.count)
    total = plan.bytes_in(chunks)
    with Meter(disk, "verify_source", total) as meter:
        pull = Pull(endpoint, manifest.size_bytes, manifest.chunk_bytes, chunks, take, threads=threads, retry_seconds=retry_seconds,
                    limit=limit, say=lambda text: say("retry", message=text))
        pull.wait(stopped)
    if pull.failure:
        raise pull.failure
    if sum(seen) != len(chunks):
        raise Resumable("source_unavailable", f"{len(chunks) - sum(seen)} chunks of the source were not read")
    return compare(manifest, bytes(digests), total)


def require_equal(what: str, comparison: Comparison) -> None:
    """Raise TransferError when anything differs."""
    if comparison.bad_chunks:
        first = ", ".join(map(str, comparison.first_bad_offsets[:3]))
        raise TransferError("damaged", f"{what} differs from the manifest in {comparison.bad_chunks} chunks, first at {first}")


def make_manifest(path: str, source_id: str, generation: str, threads: int, stopped: threading.Event) -> Manifest:
    """Hash an existing file or device into a manifest."""
    probe = Target(path, 0, writable=False)
    size = probe.current_bytes
    probe.close()
    target, chunk = Target(path, size, writable=False), chunk_bytes_for(size)
    try:
        return Manifest(source_id, generation, size, chunk, hash_target(target, chunk, threads, stopped)[0])
    finally:
        target.close()
