# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The maps of a disk become one plan per chunk."""
from __future__ import annotations

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.errors import TransferError
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.extents import (
    DATA,
    MIB,
    SKIP,
    ZERO,
    chunk_bytes_for,
    plan_chunks,
    runs,
)


def test_a_chunk_is_zero_only_when_every_byte_is():
    allocation = [(0, 4096, 0), (4096, 2 * MIB - 4096, 3), (2 * MIB, 100, 3)]
    plan = plan_chunks(2 * MIB + 100, MIB, allocation, None)
    assert list(plan.states) == [DATA, ZERO, ZERO]
    assert plan.data_bytes == 4096
    assert plan.span(2) == (2 * MIB, 100)


def test_a_hole_that_is_not_known_to_be_zero_is_read():
    assert list(plan_chunks(MIB, MIB, [(0, MIB, 1)], None).states) == [DATA]


def test_without_a_map_everything_is_read():
    assert list(plan_chunks(3 * MIB, MIB, None, None).states) == [DATA] * 3


def test_a_delta_takes_dirty_chunks_and_knows_which_became_zero():
    allocation = [(0, 2 * MIB, 0), (2 * MIB, 2 * MIB, 3)]
    dirty = [(0, MIB, 0), (MIB, 1, 1), (MIB + 1, MIB - 1, 0), (2 * MIB, MIB, 1), (3 * MIB, MIB, 0)]
    assert list(plan_chunks(4 * MIB, MIB, allocation, dirty).states) == [SKIP, DATA, ZERO, SKIP]


@pytest.mark.parametrize("extents", [
    [(0, MIB, 0)], [(0, MIB, 0), (MIB + 1, MIB - 1, 0)], [(0, 3 * MIB, 0)], [(0, 0, 0), (0, 2 * MIB, 0)], []])
def test_a_map_with_gaps_is_refused(extents):
    with pytest.raises(TransferError):
        plan_chunks(2 * MIB, MIB, extents, None)


def test_chunks_grow_with_the_disk_and_end_at_32_tib():
    assert chunk_bytes_for(1) == MIB // 2
    assert chunk_bytes_for(1 << 40) == MIB
    assert chunk_bytes_for((1 << 40) + 1) == 2 * MIB
    assert chunk_bytes_for(32 << 40) == 32 * MIB
    with pytest.raises(TransferError, match="at most"):
        chunk_bytes_for((32 << 40) + 1)


def test_runs_of_consecutive_indexes():
    assert list(runs([1, 2, 3, 7, 9, 10])) == [(1, 3), (7, 1), (9, 2)]
    assert list(runs([])) == []
