# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML that can't be injected into: every string is escaped unless it came out of `tag`."""
from __future__ import annotations

import html
import re


class Markup(str):
    """Text that is HTML already; only `tag` and `join` make it, and the page's own style sheet."""

    __slots__ = ()


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """Return an element; children and attribute values are escaped, None is left out, `class_` stands for class, _ for - in names."""
    text = "".join(f' {key.rstrip("_").replace("_", "-")}="{_escape(value)}"' for key, value in attributes.items() if value is not None)
    return Markup(f"<{name}{text}>{join(children)}</{name}>")


def join(children: object) -> Markup:
    """Return children one after another; lists are flattened."""
    if isinstance(children, Markup):
        return children
    if isinstance(children, (list, tuple)):
        return Markup("".join(join(child) for child in children))
    return Markup("" if children is None else _escape(children))


def printable(text: str) -> str:
    """Return text with everything replaced that XML 1.0 doesn't allow: control characters and lone surrogates."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def _escape(value):
    return html.escape(printable(str(value)), quote=True)
