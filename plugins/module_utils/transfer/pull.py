# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read chosen chunks of an export over several connections, riding out its outages, and hand each to a function once."""
from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from .errors import Resumable, TransferError
from .connection import Endpoint, NbdError
from .extents import span
from .nbd import Client, Read

BUFFER_BYTES = 48 << 20                 # for all connections together
MAX_DEPTH = 8
CHUNK_ATTEMPTS = 5
BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)

Handler = Callable[[int, Read], None]   # chunk index and its bytes; called from several threads


class Limit:
    """Bandwidth in bytes per second, 0 for none; a file with one integer, reread every second, replaces it while it runs."""

    def __init__(self, bytes_per_second: int = 0, path: str = "") -> None:
        self._rate, self._path = bytes_per_second, path
        self._lock, self._free_at, self._read_at = threading.Lock(), 0.0, 0.0

    def take(self, count: int) -> None:
        """Wait until `count` bytes may be asked for."""
        while True:
            with self._lock:
                now = time.monotonic()
                self._reread(now)
                wait = self._free_at - now if self._rate else 0
                if wait <= 0:
                    self._free_at = max(self._free_at, now) + count / self._rate if self._rate else 0.0
                    return
            time.sleep(min(wait, 0.5))          # in short steps, so that a new limit takes effect soon

    def _reread(self, now: float) -> None:
        if not self._path or now - self._read_at < 1:
            return
        self._read_at = now
        try:
            with open(self._path, encoding="ascii") as file:
                rate = int(file.read(32))
        except (OSError, ValueError):
            return                              # not there (yet), or caught half written: the old limit stands
        if rate >= 0 and rate != self._rate:
            self._rate, self._free_at = rate, now


class Pull:
    """One pass over `chunks` of an export with `threads` connections; `failure` is what ended it early."""

    def __init__(self, endpoint: Endpoint, size_bytes: int, chunk_bytes: int, chunks: list[int], handle: Handler, *, threads: int = 4,
                 retry_seconds: float = 60.0, limit: Limit | None = None, say: Callable[[str], None] = lambda text: None) -> None:
        self._endpoint, self._handle, self._say = endpoint, handle, say
        self._size, self._chunk = size_bytes, chunk_bytes
        self._todo, self._limit, self._retry_seconds = deque(chunks), limit or Limit(), retry_seconds
        self._attempts: dict[int, int] = {}
        self._stop, self._progress_at = threading.Event(), time.monotonic()
        self.failure: TransferError | None = None
        self.source_errors = 0
        threads = max(1, min(threads, len(chunks), BUFFER_BYTES // chunk_bytes))
        self._depth = max(1, min(MAX_DEPTH, BUFFER_BYTES // chunk_bytes // threads))
        self._workers = [threading.Thread(target=self._work, daemon=True) for _unused in range(threads if chunks else 0)]

    def wait(self, stopped: threading.Event, every_second: Callable[[], None] = lambda: None) -> None:
        """Run all connections to their end, or until `stopped` is set; calls `every_second` meanwhile."""
        self._progress_at = time.monotonic()
        for worker in self._workers:
            worker.start()
        while self.running() and not stopped.is_set():
            for worker in self._workers:
                worker.join(1 / len(self._workers))
            every_second()
        if self.running():
            self.stop(Resumable("interrupted", "stopped by a signal"))

    def running(self) -> bool:
        """Tell whether a connection is still at work."""
        return any(worker.is_alive() for worker in self._workers)

    def stop(self, failure: TransferError) -> None:
        """Ask all connections to end; the first failure is kept."""
        self.failure = self.failure or failure
        self._stop.set()

    def _work(self) -> None:
        failed_at_progress, failures = 0.0, 0
        while self._todo and not self._stop.is_set():
            mine: set[int] = set()
            try:
                self._read(mine)
            except NbdError as error:
                self._todo.extendleft(mine)
                self.source_errors += 1
                failures = failures + 1 if failed_at_progress == self._progress_at else 0
                failed_at_progress = self._progress_at
                if time.monotonic() - self._progress_at > self._retry_seconds:
                    self.stop(Resumable(error.reason, f"nothing arrived for {self._retry_seconds:g} s: {error}"))
                self._say(f"reconnecting: {error}")
                self._stop.wait(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            except TransferError as error:
                self.stop(error)
            except Exception as error:          # a fault of ours must end the run as a failure, not a thread in silence
                self.stop(TransferError("unsupported", f"{type(error).__name__}: {error}"))

    def _read(self, mine: set[int]) -> None:
        client = Client(self._endpoint)
        try:
            if client.size_bytes != self._size:
                raise TransferError("size_changed", f"the source has {client.size_bytes} bytes now, {self._size} before")
            for read in client.reads(self._requests(mine), self._depth):
                index = read.offset // self._chunk
                if read.errno:
                    self._refused(index, read)
                else:
                    self._handle(index, read)
                    self._progress_at = time.monotonic()
                mine.discard(index)
        finally:
            client.close()

    def _requests(self, mine: set[int]) -> Iterator[tuple[int, int]]:
        while not self._stop.is_set():
            try:
                index = self._todo.popleft()
            except IndexError:
                return
            mine.add(index)
            offset, length = span(index, self._chunk, self._size)
            self._limit.take(length)
            yield offset, length

    def _refused(self, index: int, read: Read) -> None:
        self.source_errors += 1
        attempts = self._attempts[index] = self._attempts.get(index, 0) + 1
        message = f"the source answered {os.strerror(read.errno)} at {read.offset}"
        if attempts >= CHUNK_ATTEMPTS:
            self.failure = self.failure or Resumable("source_error", f"{message}, {attempts} times")    # the others go on
            return
        self._say(message)
        self._todo.append(index)                # the others first
        if time.monotonic() - self._progress_at > self._retry_seconds:
            self.stop(Resumable("source_error", f"nothing could be read for {self._retry_seconds:g} s: {message}"))
        if attempts > 1:
            self._stop.wait(BACKOFF_SECONDS[attempts - 1])
