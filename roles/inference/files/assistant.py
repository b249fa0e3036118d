# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers "how many orders, is the ledger intact?": the facts from the order service in its VM, the wording from a model in its container.

The numbers are counted and the hash chain is checked here; the model only puts them into a sentence, and a sentence that carries another
number is marked as not agreeing. The result is one JSON object.

usage: assistant.py ORDERS_URL MODEL_URL MODEL [RESULT_FILE]
"""
from __future__ import annotations

import hashlib
import json
import re
import sys
import time
import urllib.request

QUESTION = "How many orders are there, and is the ledger intact?"
TIMEOUT_SECONDS = 60
ATTEMPTS = 5


def get(url: str, data: bytes | None = None) -> bytes:
    """Return the body; tried a few times, because a service may be on the move."""
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"} if data else {})  # noqa: S310
    for attempt in range(ATTEMPTS):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                return answer.read()
        except OSError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(1)
    raise AssertionError("unreachable")


def check_ledger(text: str) -> dict:
    """Check the chain H(n) = sha256(H(n-1) + ' ' + n), H(0) = 'genesis', of lines 'n time H(n)'; a torn last line doesn't count."""
    previous, count = "genesis", 0
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        fields = line.split()
        expected = hashlib.sha256(f"{previous} {count + 1}".encode()).hexdigest()
        if len(fields) != 3 or fields[0] != str(count + 1) or fields[2] != expected:
            return {"orders": count, "intact": False, "broken_at": count + 1, "last_hash": previous}
        previous, count = expected, count + 1
    return {"orders": count, "intact": count > 0, "broken_at": None, "last_hash": previous}


def ask(url: str, model: str, facts: dict) -> str:
    """Return the model's sentence about the facts."""
    state = "intact" if facts["intact"] else f"broken at order {facts['broken_at']}"
    body = {"model": model, "max_tokens": 48, "temperature": 0, "seed": 1, "messages": [
        {"role": "system", "content": "You answer in one short sentence and use only the facts that you are given."},
        {"role": "user", "content": f"Facts: there are {facts['orders']} orders. The ledger is {state}. Question: {QUESTION}"}]}
    answer = json.loads(get(url + "/v1/chat/completions", json.dumps(body).encode()))
    return answer["choices"][0]["message"]["content"].strip()


def assist(orders_url: str, model_url: str, model: str) -> dict:
    """Return facts, the model's sentence and the answer made of both; `ok` if the ledger is intact and the model spoke."""
    status = json.loads(get(orders_url + "/cgi-bin/status"))
    facts = check_ledger(get(orders_url + "/cgi-bin/ledger").decode("utf-8", "replace"))
    facts |= {"host": status.get("host", ""), "mac": status.get("mac", ""), "uuid": status.get("uuid", "")}
    if facts["orders"] < int(status["seq"]):
        facts["intact"] = False
    sentence = ask(model_url, model, facts)[:600]
    numbers = {int(number) for number in re.findall(r"\d+", sentence.replace(",", ""))[:20]}
    state = "intact" if facts["intact"] else f"broken at order {facts['broken_at'] or facts['orders'] + 1}"
    return {"ok": facts["intact"] and bool(sentence), "question": QUESTION, "facts": facts, "model": model, "model_sentence": sentence,
            "sentence_agrees": numbers <= {facts["orders"]}, "sentence": f"{facts['orders']} orders, the ledger is {state}"}


def main() -> None:
    orders_url, model_url, model = sys.argv[1:4]
    try:
        result = assist(orders_url.rstrip("/"), model_url.rstrip("/"), model)
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        result = {"ok": False, "sentence": f"{type(error).__name__}: {error}"[:400]}
    text = json.dumps(result)
    print(text)
    with open(sys.argv[4] if len(sys.argv) > 4 else "/dev/termination-log", "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
