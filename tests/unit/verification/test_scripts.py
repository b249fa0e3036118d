# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts that run inside the cluster, against servers of this process."""
from __future__ import annotations

import hashlib
import http.server
import importlib.util
import json
import pathlib
import subprocess
import sys
import threading
import time

import pytest

ROLES = pathlib.Path(__file__).resolve().parents[3] / "roles"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


smoke, assistant = load(ROLES / "inference/files/smoke.py"), load(ROLES / "inference/files/assistant.py")
writer, request = load(ROLES / "verification/files/writer.py"), load(ROLES / "verification/files/request.py")


def ledger(count):
    previous, lines = "genesis", []
    for number in range(1, count + 1):
        previous = hashlib.sha256(f"{previous} {number}".encode()).hexdigest()
        lines.append(f"{number} 1700000000 {previous}\n")
    return lines


class Site(http.server.BaseHTTPRequestHandler):
    """The order service of a legacy VM and an OpenAI-compatible model server in one."""

    def log_message(self, *_arguments):
        pass

    def do_GET(self):
        state, path = self.server.state, self.path
        if path.startswith("/cgi-bin/put?"):
            state["requests"] += 1
            if state["requests"] in state["refuse"]:
                return self.send_error(503)
            row = path.split("?", 1)[1]
            if row not in state["lose"]:
                state["rows"].append(row)
            return self.answer(f"ok {row}\n")
        texts = {"/cgi-bin/status": json.dumps({"host": "legacy", "seq": state["seq"], "mac": "52:54:00:00:00:01", "uuid": "u"}),
                 "/cgi-bin/ledger": "".join(state["ledger"]), "/cgi-bin/puts": "\n".join(state["rows"]),
                 "/v1/models": json.dumps({"data": [{"id": "assistant"}]})}
        return self.answer(texts[path])

    def do_POST(self):
        self.server.state["asked"] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(json.dumps({"choices": [{"message": {"content": self.server.state["says"]}}], "usage": {"completion_tokens": 7}}))

    def answer(self, text):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.state = {"ledger": ledger(12), "seq": 12, "says": "There are 12 orders and the ledger is intact.", "rows": [], "requests": 0,
                    "refuse": set(), "lose": set()}
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()
    server.server_close()


def test_the_assistant_counts_and_the_model_words(site):
    result = assistant.assist(site.url, site.url, "assistant")
    assert result["ok"] and result["sentence"] == "12 orders, the ledger is intact" and result["sentence_agrees"]
    assert result["facts"]["last_hash"] in site.state["ledger"][-1]
    assert "12 orders" in site.state["asked"]["messages"][1]["content"]


def test_a_number_of_the_model_never_becomes_the_answer(site):
    site.state["says"] = "There are 4,711 orders."
    result = assistant.assist(site.url, site.url, "assistant")
    assert result["sentence"] == "12 orders, the ledger is intact" and result["sentence_agrees"] is False


@pytest.mark.parametrize("break_it", [
    lambda lines: lines[:4] + lines[5:], lambda lines: [*lines[:4], lines[4].replace("5 ", "6 ", 1), *lines[5:]],
    lambda lines: [*lines[:4], "5 1700000000 " + "0" * 64 + "\n", *lines[5:]]])
def test_a_broken_chain_is_found(site, break_it):
    site.state["ledger"] = break_it(site.state["ledger"])
    result = assistant.assist(site.url, site.url, "assistant")
    assert not result["ok"] and (result["facts"]["orders"], result["facts"]["broken_at"]) == (4, 5)


def test_fewer_rows_than_the_service_counted_is_no_intact_ledger(site):
    site.state["seq"] = 13
    assert assistant.assist(site.url, site.url, "assistant")["facts"]["intact"] is False


def test_a_torn_last_line_does_not_count():
    assert assistant.check_ledger("".join(ledger(3)) + "4 17")["orders"] == 3
    assert assistant.check_ledger("") == {"orders": 0, "intact": False, "broken_at": None, "last_hash": "genesis"}


def test_smoke(site):
    assert smoke.smoke(site.url, "assistant")["ok"]
    assert smoke.smoke(site.url, "other")["sentence"] == "the server lists assistant, not other"
    site.state["says"] = "  "
    assert smoke.smoke(site.url, "assistant") | {"seconds": 0} == {
        "ok": False, "sentence": smoke.smoke(site.url, "assistant")["sentence"], "models": ["assistant"], "text": "", "tokens": 7, "seconds": 0}


def test_the_result_is_left_in_a_file(site, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["smoke.py", "http://127.0.0.1:1", "assistant", str(tmp_path / "result")])
    smoke.main()
    result = json.loads((tmp_path / "result").read_text())
    assert not result["ok"] and "refused" in result["sentence"]


def test_the_writer_counts_what_failed_and_loses_nothing(site):
    site.state["refuse"] = {2, 3}
    result = writer.write(site.url, writer.Period(1.5))
    assert result["ok"] and result["lost"] == 0 and result["failed_requests"] == 2 and result["retried_rows"] == 1
    assert result["acknowledged"] == len(site.state["rows"]) >= 3


def test_the_writer_finds_a_lost_row(site, monkeypatch):
    monkeypatch.setattr(writer.uuid, "uuid4", lambda: type("U", (), {"hex": "abcdefgh0"})())
    site.state["lose"] = {"abcdefgh-1"}
    result = writer.write(site.url, writer.Period(0.5))
    assert not result["ok"] and result["lost"] == 1


def test_the_writer_ends_when_it_is_told_to_and_still_counts(site, tmp_path):
    client = subprocess.Popen([sys.executable, ROLES / "verification/files/writer.py", site.url, "600", tmp_path / "result"])
    while not site.state["rows"]:
        time.sleep(0.05)
    client.terminate()
    assert client.wait(timeout=20) == 0
    result = json.loads((tmp_path / "result").read_text())
    assert result["ok"] and result["acknowledged"] == len(site.state["rows"])


def test_a_request_finds_its_line(site):
    assert request.ask(site.url + "/cgi-bin/status", '"host": "legacy"', 0)["ok"]
    assert request.ask(site.url + "/cgi-bin/status", "10de:", 0) == {"ok": False, "sentence": "answers without 10de:"}
    assert "refused" in request.ask("http://127.0.0.1:1/", "x", 0)["sentence"]
