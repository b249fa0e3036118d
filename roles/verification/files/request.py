# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a page say what it should? Asks until it does, and leaves one JSON object.

usage: request.py URL REGULAR_EXPRESSION [RESULT_FILE]
"""
from __future__ import annotations

import json
import re
import sys
import time
import urllib.request

TIMEOUT_SECONDS, WAIT_SECONDS, PAUSE_SECONDS = 10, 60, 2


def ask(url: str, expected: str, wait_seconds: float = WAIT_SECONDS) -> dict:
    """Return the line in which the regular expression was found."""
    end, said = time.monotonic() + wait_seconds, "no answer"
    while True:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                text = answer.read(1_000_000).decode("utf-8", "replace")
            found = next((line for line in text.splitlines() if re.search(expected, line)), None)
            if found is not None:
                return {"ok": True, "sentence": f"answers {found.strip()[:200]}"}
            said = f"answers without {expected}"
        except OSError as error:
            said = f"{type(error).__name__}: {error}"[:200]
        if time.monotonic() > end:
            return {"ok": False, "sentence": said}
        time.sleep(PAUSE_SECONDS)


def main() -> None:
    try:
        result = ask(*sys.argv[1:3])
    except (re.error, ValueError) as error:
        result = {"ok": False, "sentence": f"{type(error).__name__}: {error}"[:400]}
    text = json.dumps(result)
    print(text)
    with open(sys.argv[3] if len(sys.argv) > 3 else "/dev/termination-log", "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
