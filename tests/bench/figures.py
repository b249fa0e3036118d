# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of a benchmark: one JSON object a line on standard output, progress on standard error."""
from __future__ import annotations

import json
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FULL = os.environ.get("BENCH", "quick") == "full"


def figure(bench: str, case: str, metric: str, value, unit: str, bar: str | None = None, ok: bool | None = None, **detail) -> None:
    """Print one figure; `bar` is what it has to meet and `ok` whether it does."""
    line = {"bench": bench, "case": case, "metric": metric, "value": value, "unit": unit}
    if bar is not None:
        line |= {"bar": bar, "ok": ok}
    if detail:
        line["detail"] = detail
    print(json.dumps(line, ensure_ascii=False), flush=True)


def say(text: str) -> None:
    """Tell progress."""
    print(text, file=sys.stderr, flush=True)


def data(default: str) -> pathlib.Path | None:
    """Return the folder of BENCH_DATA, or the default relative to the checkout; None, said aloud, where it is absent."""
    folder = pathlib.Path(os.environ.get("BENCH_DATA") or ROOT / default)
    if not folder.is_dir():
        say(f"skipped: {folder} is not there; BENCH_DATA names another folder of the same layout")
        return None
    return folder
