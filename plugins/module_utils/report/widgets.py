# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sections of the page are put together from."""

from __future__ import annotations

from .markup import Markup, tag


def section(title: str, content: Markup, hint: str = "") -> Markup:
    """Return a heading, with a hint beside it, and what is under it."""
    return Markup(tag("h2", title, tag("small", hint) if hint else None) + content)


def pill(text: str, tone: str) -> Markup:
    """Return a word on a ground that says how good it is."""
    return tag("span", text, class_=f"pill {tone}".strip())


def table(head: list[str], rows: list[list], numbers: frozenset | set = frozenset()) -> Markup:
    """Return a table without the columns that are empty in every row; `numbers` are set to the right."""
    kept = [column for column in range(len(head)) if any(row[column] not in ("", None) for row in rows)]
    line = tag("tr", [tag("th", head[column], class_="num" if column in numbers else None) for column in kept])
    return tag(
        "table",
        tag("thead", line),
        tag("tbody", [tag("tr", [tag("td", row[column], class_="num" if column in numbers else None) for column in kept]) for row in rows]),
    )
