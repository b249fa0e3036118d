# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of the page: the timeline of migrations and small bars."""
from __future__ import annotations

from .markup import Markup, tag
from .model import Moved

PHASES = {"inspect": "prepare", "prepare": "prepare", "copy": "copy", "delta": "copy", "forklift": "copy", "quiesce": "down", "final": "down", "verify": "down",
          "cutover": "down", "check": "check", "accept": "check", "rollback": "back"}
CAPTIONS = {"prepare": "inspect, prepare", "copy": "copy, in full and then what changed", "down": "stop, last changes, verification, start", "check": "checks",
            "back": "rollback"}
LEFT, WIDTH, ROW, TOP = 150, 1100, 52, 26


def gibibytes(size: int) -> str:
    """Return bytes in the unit that reads best."""
    for unit, one in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if size >= one:
            return f"{size / one:.1f} {unit}" if size < 100 * one else f"{size / one:.0f} {unit}"
    return f"{size} B"


def duration(seconds: float) -> str:
    """Return seconds as text."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def timeline(rows: list[Moved]) -> Markup:
    """Return the timeline of all migrations as SVG: one row a VM, coloured by phase, the downtime marked under it."""
    end = max((span.end for row in rows for span in row.spans), default=0) or 1
    scale = (WIDTH - LEFT - 20) / end
    parts = []
    step = _step(end)
    for number in range(int(end // step) + 1):
        x = LEFT + number * step * scale
        parts.append(tag("line", x1=_n(x), x2=_n(x), y1=TOP - 6, y2=TOP + ROW * len(rows), class_="grid"))
        parts.append(tag("text", _clock(number * step), x=_n(x), y=14, text_anchor="middle"))
    for index, row in enumerate(rows):
        y = TOP + index * ROW
        parts.append(tag("text", _cut(row.vm, 20), tag("title", row.vm), x=0, y=y + 17, class_="name"))
        parts.append(tag("text", f"{row.mode} {row.state}".strip(), x=0, y=y + 32))
        for span in row.spans:
            kind = PHASES.get(span.phase, "prepare")
            width = max(1.5, (span.end - span.start) * scale - 1)
            parts.append(tag("rect", tag("title", f"{span.phase}: {duration(span.end - span.start)}"), x=_n(LEFT + span.start * scale), y=y + 4,
                             width=_n(width), height=18, rx=3, class_=f"p-{kind}"))
            if width > 7 * len(span.phase) + 8:
                parts.append(tag("text", span.phase, x=_n(LEFT + span.start * scale + 6), y=y + 17, class_="in"))
        if row.downtime_seconds and row.downtime_start is not None:
            x, width = LEFT + row.downtime_start * scale, row.downtime_seconds * scale
            parts.append(tag("path", d=f"M{_n(x)} {y + 25}v5h{_n(width)}v-5", class_="down"))
            parts.append(tag("text", f"down {row.downtime_seconds:.1f} s", x=_n(min(x + width / 2, WIDTH - 50)), y=y + 43, text_anchor="middle"))
    kinds = [kind for kind in CAPTIONS if any(PHASES.get(span.phase, "prepare") == kind for row in rows for span in row.spans)]
    legend = tag("div", [tag("span", tag("i", class_=f"b-{kind}"), CAPTIONS[kind]) for kind in kinds], class_="legend")
    height = TOP + ROW * len(rows) + 2
    return Markup(tag("svg", parts, viewBox=f"0 0 {WIDTH} {height}", width=WIDTH, height=height, role="img",
                      aria_label="Timeline of the migrations") + legend)


def meter(caption: str, thousandths: int, after: bool) -> Markup:
    """Return one bar of use."""
    share = min(1000, max(0, thousandths)) / 10
    return tag("div", tag("span", caption), tag("i", tag("b", style=f"width:{share:g}%")), tag("span", f"{thousandths / 10:.0f} %"),
               class_="meter after" if after else "meter")


def stack(parts: list[tuple[str, int]]) -> Markup:
    """Return a bar of shares; each part is a class and an amount."""
    total = sum(amount for _kind, amount in parts) or 1
    return tag("div", [tag("i", class_=kind, style=f"width:{amount * 100 / total:.2f}%", title=f"{kind[2:]} {amount}") for kind, amount in parts if amount],
               class_="stack")


def _step(end):
    for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200):
        if end / step <= 12:
            return step
    return 86400


def _clock(seconds):
    if seconds < 3600:
        return f"{seconds // 60:.0f}:{seconds % 60:02.0f}"
    return f"{seconds // 3600:.0f}:{seconds % 3600 // 60:02.0f} h"


def _cut(text, most):
    return text if len(text) <= most else text[:most - 1] + "…"


def _n(value):
    return f"{value:.1f}"
