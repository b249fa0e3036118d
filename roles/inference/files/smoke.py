# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a model server serve? List the models, find ours by id, get a non-empty completion. The result is one JSON object.

usage: smoke.py URL MODEL [RESULT_FILE]
"""
from __future__ import annotations

import json
import sys
import time
import urllib.request

TIMEOUT_SECONDS = 60


def call(url: str, body: dict | None = None) -> dict:
    """Return the JSON answer of a GET, or of a POST of `body`."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        return json.load(answer)


def smoke(url: str, model: str) -> dict:
    """Return what was found; `ok` only if the model is listed and says something."""
    listed = [one["id"] for one in call(url + "/v1/models")["data"]]
    if model not in listed:
        return {"ok": False, "sentence": f"the server lists {', '.join(listed) or 'no model'}, not {model}", "models": listed}
    started = time.monotonic()
    answer = call(url + "/v1/chat/completions", {
        "model": model, "max_tokens": 24, "temperature": 0, "seed": 1,
        "messages": [{"role": "user", "content": "Say in one short sentence that you are ready."}]})
    seconds = round(time.monotonic() - started, 2)
    text, tokens = answer["choices"][0]["message"]["content"].strip(), answer["usage"]["completion_tokens"]
    said = f"answered {tokens} tokens in {seconds} s" if text else "answered with an empty completion"
    return {"ok": bool(text), "sentence": said, "models": listed, "text": text[:400], "tokens": tokens, "seconds": seconds}


def main() -> None:
    url, model = sys.argv[1:3]
    try:
        result = smoke(url.rstrip("/"), model)
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        result = {"ok": False, "sentence": f"{url}: {type(error).__name__}: {error}"[:400]}
    text = json.dumps(result)
    print(text)
    with open(sys.argv[3] if len(sys.argv) > 3 else "/dev/termination-log", "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
