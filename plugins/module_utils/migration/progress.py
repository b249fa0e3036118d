# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress for people and programs: one JSON object a line, appended to a file."""
from __future__ import annotations

import json
import os
import threading

from ansible_collections.tandem.hybrid.plugins.module_utils.migration.journal_store import utc_now


class Progress:
    """Appends lines to a file from any thread; without a path it says nothing."""

    def __init__(self, path: str):
        self._lock = threading.Lock()
        self._file = None
        if path:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - open as long as the run

    def say(self, vm: str, **data) -> None:
        if self._file:
            line = json.dumps({"at": utc_now(), "vm": vm, **data}, separators=(",", ":"), default=str)
            with self._lock:
                self._file.write(line + "\n")
                self._file.flush()


def sentence(line: dict) -> str:
    """A progress line as a person reads it. Pure."""
    head = f"{line.get('vm') or 'migration'}: {line.get('phase', '')}".rstrip(": ")
    if line.get("event") == "progress":
        done, total, rate = (float(line.get(name) or 0) for name in ("done_bytes", "total_bytes", "rate_bytes_per_second"))
        eta = f", {line['eta_seconds']} s left" if line.get("eta_seconds") is not None else ""
        return f"{head} {done / 1e9:.2f} of {total / 1e9:.2f} GB, {rate / 1e6:.0f} MB/s{eta}"
    if line.get("message"):
        return f"{head}: {line['message']}"
    if line.get("event") == "done":
        facts = ", ".join(f"{name} {value}" for name, value in line.items() if name not in ("at", "vm", "phase", "event"))
        return f"{head} done ({facts})"
    return f"{head} {line.get('event', '')}".rstrip()
