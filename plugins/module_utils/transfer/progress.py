# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live progress as JSON lines on standard output."""
from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

RATE_WINDOW_SECONDS = 10


def say(event: str, **values: object) -> None:
    """Print one JSON line."""
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


class Meter:
    """Counts bytes of one phase and prints a line every second while used as a context."""

    def __init__(self, disk: str, phase: str, total_bytes: int, done_bytes: int = 0, errors: Callable[[], int] = lambda: 0) -> None:
        self.total_bytes, self.done_bytes = total_bytes, done_bytes
        self._disk, self._phase, self._errors = disk, phase, errors
        self._lock, self._end = threading.Lock(), threading.Event()
        self._samples: deque[tuple[float, int]] = deque([(time.monotonic(), done_bytes)], maxlen=RATE_WINDOW_SECONDS + 1)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def add(self, count: int) -> None:
        """Count bytes that are done."""
        with self._lock:
            self.done_bytes += count

    def line(self) -> dict[str, object]:
        """Return the values of one progress line; the estimate is None while nothing moves."""
        now, done = time.monotonic(), self.done_bytes
        self._samples.append((now, done))
        since, before = self._samples[0]
        rate = (done - before) / max(now - since, 1e-3)
        return {"disk": self._disk, "phase": self._phase, "done_bytes": done, "total_bytes": self.total_bytes,
                "rate_bytes_per_second": round(rate), "source_errors": self._errors(),
                "eta_seconds": round((self.total_bytes - done) / rate, 1) if rate > 0 else None}

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(1.0):
            say("progress", **self.line())
