# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as a table for a terminal, one screen high."""

from __future__ import annotations

import re

from .compose import predicted
from .model import Report, label

WIDTH, MOST_ROWS = 118, 14


def table(report: Report) -> str:
    """Return the summary as plain text, at most WIDTH columns and about 40 lines."""
    lines = [report.title, "=" * min(WIDTH, len(report.title)), ""]
    moved = {row.vm: row for row in report.migrations}
    rows = [("workload", "kind", "node", "device", "state", "downtime")]
    for place in report.places[:MOST_ROWS]:
        rows.append(
            (label(place.name, place.replica), place.kind, place.node, ", ".join(place.devices) or "-", place.outcome,
             predicted(moved[place.name]) if place.name in moved else "-")
        )
    lines += _columns(rows)
    if len(report.places) > MOST_ROWS:
        lines.append(f"and {len(report.places) - MOST_ROWS} more")
    for one in report.unplaced[:MOST_ROWS]:
        lines.append(f"NO PLACE {label(one.workload, one.replica)}: {one.sentence}; {one.relaxation}")
    lines.append("")
    if report.levels:
        lines.append(
            "plan      "
            + ", ".join(f"{one.name} {one.value:g}" + ("" if not one.gap else f" (bound {one.bound:g})") for one in report.levels)
            + (": each proven optimal" if not any(one.gap for one in report.levels) else "")
        )
    if report.failures:
        lost = [f"{one.domain} loses {', '.join(one.lost)}" for one in report.failures if one.lost]
        lines.append("N+1       " + ("; ".join(lost) if lost else f"nothing is lost when any one of {len(report.failures)} nodes fails"))
    blocking = [one for one in report.findings if one.severity == "block"]
    if report.findings:
        lines.append(f"concerns  {len(report.findings)}, {len(blocking)} blocking" + "".join(f"; {one.vm}: {one.sentence}" for one in blocking[:3]))
    for one in report.checks[:MOST_ROWS]:
        lines.append(f"{'passed' if one.ok else 'FAILED'}    {one.name.replace('-', ' ')} {one.subject}: {one.sentence}")
    return "\n".join(_cut(re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", line)) for line in lines).rstrip() + "\n"


def _columns(rows):
    widths = [min(40, max(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    lines = ["  ".join(_cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _cut(text, width=WIDTH):
    return text if len(text) <= width else text[: width - 1] + "…"
