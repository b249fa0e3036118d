# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that never stops writing while a VM moves: every row is retried until it is acknowledged; at the end all are read back.

usage: writer.py ORDERS_URL SECONDS [RESULT_FILE]
It ends after SECONDS, or sooner when it is told to (SIGTERM).
"""
from __future__ import annotations

import json
import signal
import sys
import time
import urllib.request
import uuid

TIMEOUT_SECONDS = 2
PAUSE_SECONDS = 0.2
READ_ATTEMPTS = 10
LAST_ROW_SECONDS = 30


class Period:
    """How long to write; `end` is a time of the monotonic clock."""

    def __init__(self, seconds: float):
        self.end = time.monotonic() + seconds

    def cut(self) -> None:
        """End now, if not before."""
        self.end = min(self.end, time.monotonic())


def get(url: str, timeout: float) -> str:
    """Return the body of a GET."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310
        return answer.read().decode("utf-8", "replace")


def write(url: str, period: Period) -> dict:
    """Write rows for that period and return the counts; `longest_gap_seconds` lies between two acknowledged rows."""
    run, acknowledged, failed, retried, waits, gap, last = uuid.uuid4().hex[:8], [], 0, 0, [], 0.0, time.monotonic()
    while time.monotonic() < period.end:
        row, first, started = f"{run}-{len(acknowledged) + 1}", True, time.monotonic()
        while time.monotonic() < period.end + LAST_ROW_SECONDS:
            try:
                if get(f"{url}/cgi-bin/put?{row}", TIMEOUT_SECONDS).startswith("ok"):
                    break
            except OSError:
                pass
            failed, retried, first = failed + 1, retried + first, False
            time.sleep(PAUSE_SECONDS)
        else:
            break
        now = time.monotonic()
        acknowledged.append(row)
        waits.append(now - started)
        gap, last = max(gap, now - last), now
        time.sleep(max(0.0, PAUSE_SECONDS - (now - started)))
    waits.sort()
    lost = missing(url, acknowledged)
    return {"ok": not lost and bool(acknowledged), "acknowledged": len(acknowledged), "lost": len(lost), "failed_requests": failed,
            "retried_rows": retried, "longest_gap_seconds": round(gap, 2),
            "median_milliseconds": round(waits[len(waits) // 2] * 1000) if waits else None,
            "sentence": f"{len(lost)} of {len(acknowledged)} acknowledged rows lost, {failed} requests failed and were retried, "
                        f"longest gap {gap:.1f} s"}


def missing(url: str, acknowledged: list[str]) -> list[str]:
    """Return the acknowledged rows that the service doesn't have."""
    for attempt in range(READ_ATTEMPTS):
        try:
            have = set(get(url + "/cgi-bin/puts", 30).split())
            return [row for row in acknowledged if row not in have]
        except OSError:
            if attempt == READ_ATTEMPTS - 1:
                raise
            time.sleep(1)
    raise AssertionError("unreachable")


def main() -> None:
    url, period = sys.argv[1].rstrip("/"), Period(float(sys.argv[2]))
    signal.signal(signal.SIGTERM, lambda *_unused: period.cut())
    try:
        result = write(url, period)
    except (OSError, ValueError) as error:
        result = {"ok": False, "sentence": f"{type(error).__name__}: {error}"[:400]}
    text = json.dumps(result)
    print(text)
    with open(sys.argv[3] if len(sys.argv) > 3 else "/dev/termination-log", "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
