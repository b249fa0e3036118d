# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File references of descriptors: they stay inside the package."""
from __future__ import annotations

from .errors import IntakeError


def is_safe(href: str) -> bool:
    """Tell whether a file reference stays in the descriptor's folder."""
    outside = "\\" in href or "\0" in href or href.startswith("/") or ":" in href.partition("/")[0] or ".." in href.split("/")
    return bool(href) and not outside and len(href) <= 1024


def safe_href(href: str, where: str) -> str:
    """Return a file reference that stays in the descriptor's folder, or an http(s) address; raises IntakeError."""
    if href.startswith(("http://", "https://")):
        return href
    href = href.removeprefix("./")
    if not is_safe(href):
        raise IntakeError(f"{where}: file reference {href[:80]!r}; expected a relative path inside the descriptor's folder")
    return href
