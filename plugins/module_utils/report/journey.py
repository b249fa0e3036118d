# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations from the events of a journal."""
from __future__ import annotations

import datetime

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import Event

from .model import Moved, ReportError, Span


def seconds(at: str) -> float:
    """Return a UTC ISO 8601 time as seconds since the epoch; raises ReportError."""
    try:
        return datetime.datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()
    except ValueError:
        raise ReportError(f"journal: {at[:60]!r} is no ISO 8601 time") from None


def migrations(events: list[Event]) -> list[Moved]:
    """Return one row a VM, in the order in which they began."""
    if not events:
        return []
    origin, subjects, starts = seconds(events[0].at), {}, []
    for event in events:
        if event.subject:
            subjects.setdefault(event.subject, []).append(event)
        elif event.event == "started":
            starts.append(seconds(event.at) - origin)
    return [_moved(vm, own, origin, starts) for vm, own in subjects.items()]


def _moved(vm, events, origin, starts):
    done, state, message, fitness = {}, "migrating", "", ""
    for event in events:
        if event.event == "devices":
            fitness = str(event.data.get("sentence", ""))
        if event.event == "done":
            done[event.phase] = event.data
        if event.event == "failed":
            state, message = "failed", str(event.data.get("message", ""))
        elif event.event == "rolled-back":
            state, message, fitness = "rolled back", str(event.data.get("reason", "")), ""
            done = {"inspect": done.get("inspect", {})}
        elif event.phase == "accept" and event.event == "done":
            state, message = "migrated", ""
        elif event.phase != "rollback":
            state, message = "migrating", ""
    rounds = [event for event in events if event.event == "round"]
    inspected, checked = done.get("inspect", {}), done.get("check", {})
    ran = inspected.get("running") is not False
    stops = [seconds(event.at) - origin for event in events if event.phase == "quiesce"]
    return Moved(
        vm=vm, mode=str(inspected.get("mode", "")), state=state, spans=_spans(events, origin, starts),
        bytes_copied=sum(int(_number(event.data, "bytes") or 0) for event in rounds), rounds=len(rounds),
        predicted_downtime_seconds=_number(done.get("delta", {}), "predicted_seconds"),
        downtime_seconds=_number(checked, "downtime_seconds") if ran else None, downtime_start=round(stops[0], 3) if stops and ran else None,
        verified="verify" in done, hashes=_roots(done.get("verify", {})), message=message or ("" if ran else "it was off at the source"),
        fitness=fitness)


def _spans(events, origin, starts):
    """Time since the event before belongs to the phase of an event, but not the time between two runs."""
    spans, previous = [], 0.0
    for event in events:
        at = seconds(event.at) - origin
        run = max((start for start in starts if start <= at), default=0.0)
        begin = max(previous, run) if spans else at  # a VM may have waited for its turn before its first event
        if spans and spans[-1].phase == event.phase and run <= previous:
            spans[-1] = Span(event.phase, spans[-1].start, round(max(at, spans[-1].end), 3))
        else:
            spans.append(Span(event.phase, round(min(begin, at), 3), round(at, 3)))
        previous = at
    return spans


def _number(data, name):
    value = data.get(name)
    return round(float(value), 3) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _roots(data):
    roots = data.get("roots")
    return {str(disk): str(root) for disk, root in sorted(roots.items())} if isinstance(roots, dict) else {}
