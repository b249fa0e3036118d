# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import GENESIS, seal
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.plan_steps import (
    COLD,
    WARM,
    Copy,
    copy_of,
    describe,
    generation_name,
    mover_arguments,
    progress,
)
from migration_factory import vm_task


def journal(*entries, subject="orders"):
    events, previous = [], GENESIS
    for number, (phase, event, data) in enumerate(entries):
        events.append(seal(f"2026-01-01T00:00:{number:02d}.000Z", subject, phase, event, data, previous))
        previous = events[-1].hash
    return events


INSPECT = ("inspect", "done", {"mode": "warm"})
BEGIN = ("copy", "begin", {"generation": "tandem-0-a"})
ROUND = ("copy", "round", {"bytes": 10, "copy_seconds": 1, "total_seconds": 2, "interval_seconds": 0, "generation": "tandem-0-a", "frozen_at": 1})
NEXT = ("delta", "begin", {"generation": "tandem-1-b"})


def state_of(*entries):
    return progress(journal(INSPECT, ("prepare", "done", {}), *entries), "orders")


def test_an_empty_journal_starts_with_inspect():
    assert progress([], "orders").next == "inspect"


def test_other_subjects_do_not_count():
    assert progress(journal(INSPECT, subject="crm"), "orders").next == "inspect"


def test_every_phase_leads_to_the_next_in_both_modes():
    for mode, phases in (("warm", WARM), ("cold", COLD)):
        for number in range(1, len(phases)):
            events = journal(*((phase, "done", {"mode": mode}) for phase in phases[:number]))
            assert progress(events, "orders").next == phases[number]
        assert progress(journal(*((phase, "done", {"mode": mode}) for phase in phases)), "orders").accepted


def test_a_finished_round_is_the_base_of_the_next():
    state = state_of(BEGIN, ROUND)
    assert (state.base, state.unfinished, len(state.rounds), state.next) == ("tandem-0-a", "", 1, "copy")
    assert copy_of(state, bitmap_known=True) == Copy("delta", "tandem-0-a")


def test_a_round_that_died_is_superseded_by_a_delta_on_the_same_base():
    state = state_of(BEGIN, ROUND, ("copy", "done", {}), NEXT)
    assert (state.base, state.unfinished) == ("tandem-0-a", "tandem-1-b")
    assert copy_of(state, bitmap_known=True) == Copy("delta", "tandem-0-a", supersede=True)


def test_the_first_copy_is_full_and_one_after_a_broken_copy_compares():
    assert copy_of(state_of(), bitmap_known=False) == Copy("full")
    assert copy_of(state_of(BEGIN), bitmap_known=False) == Copy("compare")
    assert copy_of(state_of(BEGIN, ROUND), bitmap_known=False) == Copy("compare")


def test_a_lost_bitmap_asks_for_a_comparing_copy():
    state = state_of(BEGIN, ROUND, ("copy", "done", {}), ("delta", "reread", {"reason": "bitmap lost"}))
    assert (state.next, state.rounds, state.base) == ("copy", (), "")
    assert copy_of(state, bitmap_known=True) == Copy("compare")


def test_a_lost_source_state_after_the_stop_does_not_start_the_source_again():
    state = state_of(("copy", "done", {}), ("delta", "done", {}), ("quiesce", "done", {}), ("final", "reread", {}))
    assert "quiesce" in state.done


def test_a_rollback_starts_afresh_and_never_trusts_the_claims():
    state = state_of(BEGIN, ROUND, ("rollback", "rolled-back", {}))
    assert (state.next, state.rolled_back, state.base) == ("inspect", True, "")
    assert copy_of(state, bitmap_known=True) == Copy("compare")


def test_no_generation_name_comes_twice():
    assert generation_name(state_of(), 1) != generation_name(state_of(BEGIN), 1)
    assert generation_name(state_of(), 1) != generation_name(state_of(), 2)


def test_the_movers_command_line():
    task = vm_task(rate_bytes_per_second=5)
    found = mover_arguments(task, task.disks[0], "g1", Copy("delta", "g0", True), "nbd://10.0.0.1:1/vda", 0, ["--bitmap", "dirty"])
    text = " ".join(found)
    assert "--generation g1 --mode delta" in text
    assert "--base g0 --supersede --rate-bytes-per-second 5 --bitmap dirty" in text
    assert f"--size-bytes {task.disks[0].size_bytes}" in text


def test_after_a_rollback_the_target_is_not_known_by_its_old_manifest():
    task, state = vm_task(), state_of(BEGIN, ROUND, ("rollback", "rolled-back", {}))
    found = mover_arguments(task, task.disks[0], "g1", copy_of(state, True), "nbd://10.0.0.1:1/vda", state.attempt, [])
    assert " ".join(found).count("--disk vda-1") == 1


def test_check_mode_describes_what_is_left():
    task = vm_task()
    assert [line.split(":")[0] for line in describe(task, progress([], "orders"))] == list(WARM)
    assert describe(task, state_of())[0].startswith("copy: copy 2 disks, 1610612736 bytes, while it runs")
    assert describe(task, progress(journal(*((phase, "done", {"mode": "warm"}) for phase in WARM)), "orders")) == []
