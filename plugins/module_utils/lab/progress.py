# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module tells while it works: a line at a time, in a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def reporter(path: str | None) -> Callable[[str], None]:
    """A function that appends a line with the time of day to the file; without a file it says nothing."""
    def say(line: str) -> None:
        if path:
            with Path(path).open("a", encoding="utf-8") as stream:
                stream.write(f"{time.strftime('%H:%M:%S')} {line}\n")

    return say
