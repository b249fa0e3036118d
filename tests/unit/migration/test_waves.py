# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import UTC, datetime

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Rule
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import Caps, Window
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.waves import budget_spent, dependencies, in_window, startable
from hypothesis import given
from hypothesis import strategies as st
from migration_factory import legacy, vm_tasks

FREE = Caps(total=0, per_host=0)


def names(found):
    return [task.name for task in found]


@pytest.mark.parametrize(("caps", "chosen"), [
    (FREE, ["a", "b", "c", "d"]),
    (Caps(total=3, per_host=0), ["a", "b", "c"]),
    (Caps(total=0, per_host=1), ["a", "c"]),
    (Caps(total=0, per_host=0, per_datastore=2), ["a", "b"]),
    (Caps(total=0, per_host=0, per_node=1), ["a", "d"]),
    (Caps(total=0, per_host=0, per_link=1), ["a", "c", "d"]),
])
def test_caps_hold(caps, chosen):
    vms = [legacy("a", host="h1"), legacy("b", host="h1"), legacy("c", host="h2"), legacy("d", host="h2")]
    tasks = vm_tasks(*vms, nodes={"d": "lab-2"})
    assert names(startable(tasks, [], set(), caps, {})) == chosen


def test_what_runs_already_counts():
    tasks = vm_tasks(legacy("a"), legacy("b"), legacy("c"))
    assert names(startable(tasks[1:], tasks[:1], set(), Caps(total=2, per_host=0), {})) == ["b"]


def test_a_dependent_vm_waits_until_the_other_is_accepted():
    tasks = vm_tasks(legacy("app"), legacy("db"))
    needs = dependencies([Rule("r", "dependency", ["app", "db"])], tasks)
    assert names(startable(tasks, [], set(), FREE, needs)) == ["db"]
    assert names(startable(tasks[:1], [], {"db"}, FREE, needs)) == ["app"]


def test_a_cycle_is_refused_and_named():
    tasks = vm_tasks(legacy("a"), legacy("b"))
    with pytest.raises(MigrationError, match="a -> b -> a wait for each other"):
        dependencies([Rule("x", "dependency", ["a", "b"]), Rule("y", "dependency", ["b", "a"])], tasks)


@given(st.lists(st.sampled_from(["h1", "h2", "h3"]), max_size=12), st.integers(1, 4), st.integers(1, 3))
def test_no_cap_is_ever_passed_in_a_whole_wave(hosts, total, per_host):
    waiting = vm_tasks(*(legacy(f"vm{n:02d}", host=host) for n, host in enumerate(hosts)))
    running, finished = [], 0
    while waiting or running:
        for task in startable(waiting, running, set(), Caps(total, per_host), {}):
            waiting.remove(task)
            running.append(task)
        assert running, "nothing moves although VMs wait"
        assert len(running) <= total
        assert all(sum(task.vm.host == host for task in running) <= per_host for host in set(hosts))
        running.pop(0)
        finished += 1
    assert finished == len(hosts)


@pytest.mark.parametrize(("clock", "inside"), [((21, 59), False), ((22, 0), True), ((23, 30), True), ((3, 59), True), ((4, 0), False)])
def test_a_window_passes_midnight(clock, inside):
    assert in_window([Window("22:00", "04:00")], datetime(2026, 1, 1, *clock, tzinfo=UTC)) is inside


def test_without_a_window_any_time_will_do():
    assert in_window([], datetime(2026, 1, 1, tzinfo=UTC))


def test_a_bad_window_is_refused():
    with pytest.raises(MigrationError, match="'25:00': expected HH:MM"):
        in_window([Window("25:00", "04:00")], datetime(2026, 1, 1, tzinfo=UTC))


def test_the_failure_budget():
    assert [budget_spent(failures, 1) for failures in (0, 1, 2)] == [False, False, True]
