# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""make bench-placement: figures of the planner on public traces and instances (BENCH=quick|full, BENCH_DATA, BENCH_PART=openb,vectorpack,mixed)."""
from __future__ import annotations

import os

from . import mixed, openb, vectorpack
from .figures import data, say

PARTS = {"openb": openb.main, "vectorpack": vectorpack.main}
GENERATED = {"mixed": mixed.main}


def main() -> None:
    """Print the figures of all parts, or of those that BENCH_PART names; BENCH_DATA holds one folder for each part."""
    folder = data("../shared/data")
    for part in (os.environ.get("BENCH_PART") or ",".join(PARTS | GENERATED)).split(","):
        if part in GENERATED:
            GENERATED[part]()
        elif folder is not None and (folder / part).is_dir():
            PARTS[part](folder / part)
        else:
            say(f"skipped: no folder {part} there")


if __name__ == "__main__":
    main()
