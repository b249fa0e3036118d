# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Daemons: recognised by pid, start time and boot, restarted when they shall run otherwise."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import Daemon, Processes, wait_for


@pytest.fixture
def processes(tmp_path):
    processes = Processes(tmp_path / "run", tmp_path / "log")
    yield processes
    processes.stop(processes.names())


def _sleeper(seconds="60", **changes):
    return Daemon("sleeper", ["sleep", seconds], **changes)


def test_a_daemon_starts_once_and_stops(processes):
    assert processes.state(_sleeper()) == "stopped"
    processes.start(_sleeper())
    pid = processes.pid("sleeper")
    processes.start(_sleeper())
    assert processes.pid("sleeper") == pid and os.getsid(pid) == pid, "not a session of its own"
    processes.stop(["sleeper"])
    assert processes.pid("sleeper") is None and processes.names() == []


@pytest.mark.parametrize("changed", [_sleeper("61"), _sleeper(configuration="other")])
def test_another_command_or_configuration_restarts_it(processes, changed):
    processes.start(_sleeper())
    pid = processes.pid("sleeper")
    assert processes.state(changed) == "outdated"
    processes.start(changed)
    assert processes.state(changed) == "running" and processes.pid("sleeper") != pid


@pytest.mark.parametrize("stale", [{"start": 1}, {"boot": "another"}])
def test_a_stranger_with_the_same_pid_is_never_touched(processes, stale):
    processes.start(_sleeper())
    path = processes.run / "sleeper.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, **stale}))
    assert processes.pid("sleeper") is None
    processes.stop(["sleeper"])
    os.kill(record["pid"], 0)
    path.write_text(json.dumps(record))


def test_a_damaged_record_counts_as_stopped(processes):
    processes.run.mkdir()
    (processes.run / "sleeper.json").write_text('{"pid"')
    assert processes.state(_sleeper()) == "stopped"


def test_one_that_ignores_the_request_is_killed(processes):
    processes.start(Daemon("stubborn", ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"]))
    wait_for(lambda: "up" in processes.last_words("stubborn"), 10, lambda: "it doesn't start")
    processes.stop(["stubborn"], grace_seconds=0.2)
    assert processes.pid("stubborn") is None


def test_a_command_that_is_not_there_is_one_sentence(processes):
    with pytest.raises(LabError, match=r"ghost can't be started: .*no-such-program"):
        processes.start(Daemon("ghost", ["no-such-program"]))


def test_a_wait_ends_with_the_problem():
    with pytest.raises(LabError, match="it never came"):
        wait_for(lambda: False, 0.1, lambda: "it never came")
