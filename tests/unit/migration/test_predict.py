# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.predict import Round, Timing, cold_seconds, dirty_rate, downtime, learned, slowness
from hypothesis import given
from hypothesis import strategies as st

TIMING = Timing(stop_seconds=5, final_seconds=1.5, verify_bytes_per_second=0, start_seconds=9)
FULL = Round(1_000_000_000, 10, 14, 0)


def test_the_parts_add_up_and_a_quiet_guest_fits():
    found = downtime((FULL, Round(4_000_000, 0.2, 3, 10)), 1 << 30, 60, TIMING, 2)
    assert found.fits
    assert not found.never
    assert found.seconds == pytest.approx(found.stop_seconds + found.delta_seconds + found.verify_seconds + found.start_seconds)
    assert found.dirty_bytes_per_second == 400_000
    assert found.bytes_per_second == 100_000_000


def test_a_guest_that_writes_faster_than_the_copy_never_fits_and_both_rates_are_named():
    found = downtime((FULL, Round(3_000_000_000, 30, 34, 25)), 1 << 30, 30, TIMING, 2)
    assert found.never
    assert "changes 120.0 MB/s, the copy manages 100.0 MB/s" in found.sentence


def test_a_budget_below_the_fixed_parts_never_fits():
    small = Round(1, 0.1, 3.1, 10)
    assert not downtime((FULL, small), 1 << 30, 10, TIMING, 2).never
    found = downtime((FULL, small, small), 1 << 30, 10, TIMING, 2)
    assert found.never
    assert "the parts that do not depend on changes alone exceed it" in found.sentence


def test_before_a_delta_was_measured_nothing_is_given_up_for_its_rate():
    assert not downtime((FULL,), 1 << 30, 21, TIMING, 2).never


def test_verification_is_part_of_the_downtime():
    quick = downtime((FULL,), 1 << 30, 60, TIMING, 2)
    slow = downtime((FULL,), 1 << 30, 60, Timing(5, 1.5, 100e6, 9), 2)
    assert slow.seconds - quick.seconds == pytest.approx((1 << 30) / 100e6)


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_more_dirty_bytes_never_shorten_the_prediction(low, high):
    low, high = sorted((low, high))
    first = downtime((FULL, Round(int(low), 1, 3, 10)), 1 << 30, 60, TIMING, 2)
    second = downtime((FULL, Round(int(high), 1, 3, 10)), 1 << 30, 60, TIMING, 2)
    # A bigger delta may also be the better measure of the throughput, hence the same copy seconds and the full round as the biggest.
    assert second.dirty_bytes_per_second >= first.dirty_bytes_per_second


def test_the_dirty_rate_is_the_higher_of_the_last_two():
    assert dirty_rate((FULL, Round(90, 1, 1, 1), Round(10, 1, 1, 1), Round(20, 1, 1, 1))) == 20


def test_a_slow_cluster_shows_in_all_its_rounds():
    slow = downtime((Round(1_000_000_000, 10, 30, 0), Round(1, 0.1, 12.1, 10)), 1 << 30, 90, TIMING, 2)
    assert slow.start_seconds == pytest.approx(18)
    for overhead in (0.5, 3, 6):
        quick = downtime((FULL, Round(1, 0.1, 0.1 + overhead, 10)), 1 << 30, 90, TIMING, 2)
        assert quick.start_seconds == 9, "short overheads say nothing about how long a guest boots"
    assert slowness((FULL, Round(1, 0.1, 30.1, 10))) == 1, "one slow round of several is chance"


def test_measured_cutovers_replace_the_defaults():
    assert learned([], TIMING) == TIMING
    down = {"downtime_seconds": 20, "probe": "http://shop"}
    found = learned([{**down, "stop_seconds": 100}, {**down, "stop_seconds": 4}, {**down, "stop_seconds": 5},
                     {**down, "stop_seconds": 6, "start_seconds": 40, "slowness": 2.0}], TIMING)
    assert (found.stop_seconds, found.start_seconds, found.final_seconds) == (5, 20, 1.5)


def test_a_vm_that_was_off_or_had_no_probe_teaches_only_what_it_knows():
    found = learned([{"downtime_seconds": None, "stop_seconds": 0.04, "start_seconds": 3, "final_seconds": 2, "probe": ""}], TIMING)
    assert (found.stop_seconds, found.start_seconds, found.final_seconds) == (5, 9, 2)


@pytest.mark.parametrize(("rounds", "disk_bytes", "measured"), [
    ((Round(33_554_432, 0.28, 3.051, 0), Round(3_670_016, 0.28, 2.731, 3.229)), 1_610_612_736, 36.59),
    ((Round(157_810_688, 3.35, 10.788, 0), Round(3_145_728, 0.43, 6.083, 11.529)), 641_728_512, 29.38)])
def test_cutovers_of_the_lab_that_were_measured_are_predicted_within_30_percent(rounds, disk_bytes, measured):
    assert downtime(rounds, disk_bytes, 60, Timing(), 2).seconds == pytest.approx(measured, rel=0.3)


def test_a_cold_move_is_down_for_the_whole_copy():
    assert cold_seconds(1_000_000_000, 100e6, TIMING) == pytest.approx(5 + 10 + 1.5 + 9)


def test_a_conversion_is_part_of_the_downtime_and_of_its_sentence():
    plain = downtime((FULL,), 1 << 30, 60, TIMING, 2)
    found = downtime((FULL,), 1 << 30, 60, replace(TIMING, convert_seconds=200), 2)
    assert (found.convert_seconds, round(found.seconds - plain.seconds), found.fits) == (200, 200, False)
    assert "+ conversion 200.0 + start 9.0" in found.sentence
    assert "conversion" not in plain.sentence
    assert cold_seconds(0, 1, replace(TIMING, convert_seconds=200)) - cold_seconds(0, 1, TIMING) == 200


def test_conversions_are_learned_apart_from_starts():
    measured = [{"downtime_seconds": 300, "probe": "p", "start_seconds": 20, "convert_seconds": 240}, {"downtime_seconds": 30, "probe": "p", "start_seconds": 10}]
    found = learned(measured, replace(TIMING, convert_seconds=180))
    assert (found.start_seconds, found.convert_seconds) == (15, 240)
    assert learned(measured, TIMING).convert_seconds == 0, "a VM that is not converted has nothing of it"
