# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Journal: what was done, crash-safe and hash-chained so that tampering shows."""
from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from .codec import API_VERSION, canonical_bytes, load
from .errors import DocumentError

GENESIS = "0" * 64


@dataclass(frozen=True)
class Event:
    """One thing done: `at` is UTC ISO 8601 with milliseconds, `subject` the VM or workload, `hash` chains it to the one before."""

    at: str
    subject: str
    phase: str
    event: str
    data: dict[str, object] = field(default_factory=dict)
    previous: str = GENESIS
    hash: str = ""


@dataclass(frozen=True)
class Journal:
    """The events of one migration run, oldest first."""

    events: list[Event]
    plan_digest: str = ""
    api_version: str = API_VERSION
    kind: str = "Journal"


def seal(at: str, subject: str, phase: str, event: str, data: dict, previous: str) -> Event:
    """Return an event whose hash covers its content and the hash of the one before it."""
    open_event = Event(at, subject, phase, event, data, previous)
    return Event(at, subject, phase, event, data, previous, hashlib.sha256(canonical_bytes(open_event)).hexdigest())


def check(events: list[Event]) -> None:
    """Verify the chain; raises DocumentError naming the first event that does not fit."""
    previous = GENESIS
    for number, event in enumerate(events):
        expected = seal(event.at, event.subject, event.phase, event.event, event.data, previous)
        if event != expected:
            raise DocumentError(f"journal event {number} ({event.subject} {event.phase} {event.event}): the hash chain is broken here")
        previous = event.hash


def parse_lines(text: str, where: str) -> list[Event]:
    """Parse JSON lines of events; a torn last line (no newline) is dropped, any other bad line raises DocumentError."""
    events = []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if not line.endswith("\n"):
            break
        try:
            events.append(load(Event, json.loads(line), f"{where}:{number}"))
        except ValueError as error:
            raise DocumentError(f"{where}:{number}: not JSON: {error}") from None
    return events
