# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of one disk's copy: a lock, the journal of the running generation and the manifest of the last complete one.

A chunk is journaled only after its bytes were made durable on the target, so what the journal holds is proven. A line that
was torn by a crash is the last one and has no newline: it is dropped. Everything else that does not parse is refused.
"""
from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass

from . import manifest as manifests
from .errors import Resumable, TransferError
from .extents import chunk_count
from .manifest import DIGEST_BYTES, Manifest

FORMAT = "tandem.hybrid/disk-journal/v1"
FULL, DELTA, COMPARE = "full", "delta", "compare"


@dataclass(frozen=True)
class Header:
    """What a journal belongs to: one frozen moment (`generation`) of one source disk, built on the manifest of `base`."""

    source: str
    generation: str
    mode: str
    base: str
    size_bytes: int
    chunk_bytes: int
    format: str = FORMAT


class DiskState:
    """The files DIRECTORY/NAME.{lock,journal,manifest}; one process at a time holds them."""

    def __init__(self, directory: str, name: str) -> None:
        self.journal_path = os.path.join(directory, f"{name}.journal")
        self.manifest_path = os.path.join(directory, f"{name}.manifest")
        self._lock_path = os.path.join(directory, f"{name}.lock")
        self._lock = -1

    def lock(self, wait_seconds: float) -> None:
        """Take the lock; raises Resumable when another mover holds it for longer than `wait_seconds`."""
        deadline = time.monotonic() + wait_seconds
        try:
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        except OSError as error:
            raise TransferError("target_error", f"{self._lock_path}: {error.strerror}") from None
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise Resumable("locked", f"another mover holds {self._lock_path}") from None
                time.sleep(0.1)

    def manifest(self) -> Manifest | None:
        """Return the manifest of the last complete generation."""
        return manifests.read(self.manifest_path)

    def finish(self, manifest: Manifest) -> None:
        """Store the manifest of a complete generation, then drop the journal it was made from."""
        manifests.write(self.manifest_path, manifest)
        self.drop_journal()

    def drop_journal(self) -> None:
        """Remove the journal if there is one."""
        if os.path.exists(self.journal_path):
            os.unlink(self.journal_path)
            manifests.sync_directory(self.journal_path)

    def replace_journal(self, header: Header) -> None:
        """Put an empty journal in the place of another; at every moment there is one, so that the target is never taken for clean."""
        temporary = f"{self.journal_path}.new"
        if os.path.exists(temporary):
            os.unlink(temporary)
        DiskJournal(temporary, header).close()
        os.replace(temporary, self.journal_path)
        manifests.sync_directory(self.journal_path)

    def close(self) -> None:
        """Release the lock."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class DiskJournal:
    """Append-only proof of finished chunks; `digests` holds 32 bytes and `done` one flag per chunk."""

    def __init__(self, path: str, header: Header) -> None:
        self.header = header
        count = chunk_count(header.size_bytes, header.chunk_bytes)
        self.digests = bytearray(DIGEST_BYTES * count)
        self.done = bytearray(count)
        try:
            self._load(path)
            self._file = open(path, "ab")  # noqa: SIM115 - open for the life of the journal
            if self._file.tell() == 0:
                self._write(json.dumps(asdict(header)) + "\n")
                manifests.sync_directory(path)
        except OSError as error:
            raise TransferError("target_error", f"{path}: {error.strerror}") from None

    def append(self, chunks: list[tuple[int, bytes]]) -> None:
        """Record (index, digest) pairs whose bytes are durable on the target; returns when the record is durable too."""
        chunks.sort()
        try:
            self._write("".join(manifests.records(chunks, self.header.chunk_bytes, self.header.size_bytes)))
        except OSError as error:
            raise TransferError("no_space" if error.errno == 28 else "target_error", f"journal: {error.strerror}") from None
        for index, digest in chunks:
            self.digests[index * DIGEST_BYTES:(index + 1) * DIGEST_BYTES] = digest
            self.done[index] = 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, text: str) -> None:
        self._file.write(text.encode("ascii"))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _load(self, path: str) -> None:
        good = 0
        try:
            with open(path, "rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        break
                    self._apply(path, number, line)
                    good += len(line)
        except FileNotFoundError:
            return
        os.truncate(path, good)

    def _apply(self, path: str, number: int, line: bytes) -> None:
        try:
            record = json.loads(line)
            if number > 1:
                covered = manifests.apply_record(record, self.digests, self.header.chunk_bytes, self.header.size_bytes)
                self.done[covered.start:covered.stop] = b"\1" * len(covered)
                return
        except (ValueError, KeyError, TypeError) as error:
            raise TransferError("journal_damaged", f"{path}: line {number}: {error}") from None
        if record != asdict(self.header):
            raise TransferError("other_generation", f"{path} belongs to {_name(record)}, this run is {_name(asdict(self.header))}")


def read_header(path: str) -> Header | None:
    """Return what a journal belongs to; None when there is no journal or its first line was never completed."""
    try:
        with open(path, "rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    if not line.endswith(b"\n"):
        return None
    try:
        return Header(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise TransferError("journal_damaged", f"{path}: line 1: {error}") from None


def _name(record: object) -> str:
    if not isinstance(record, dict):
        return "something else"
    base = f" on {record.get('base')}" if record.get("base") else ""
    return f"{record.get('source')} generation {record.get('generation')} ({record.get('mode')}{base}, {record.get('size_bytes')} bytes)"
