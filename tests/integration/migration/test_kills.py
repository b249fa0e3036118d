# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Something is killed -9 in every phase of a migration, and the next run finishes it: identical, nothing lost, nothing runs twice.

The whole matrix: KILLS=all; otherwise a few of them.
"""
from __future__ import annotations

import os

import pytest
from migration_case import KILLS, kill_and_finish

pytestmark = [pytest.mark.root, pytest.mark.control_plane]
QUICK = [("prepare", "module", 0.0), ("delta", "qemu", 0.5), ("quiesce", "module", 0.7), ("final", "exporter", 0.3), ("accept", "playbook", 0.0)]


@pytest.mark.parametrize(("phase", "victim", "delay"), KILLS if os.environ.get("KILLS") == "all" else QUICK)
def test_a_killed_migration_is_finished_by_the_next_run(case, phase, victim, delay):
    kill_and_finish(case, phase, victim, delay)
