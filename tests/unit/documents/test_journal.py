# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import json

import pytest

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, journal
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import DocumentError


def chain(count):
    events, previous = [], journal.GENESIS
    for number in range(count):
        events.append(journal.seal(f"2026-01-01T00:00:0{number}.000Z", "orders", "copy", "done", {"bytes": number}, previous))
        previous = events[-1].hash
    return events


def test_an_untouched_chain_holds():
    journal.check(chain(5))
    assert len(chain(5)) == 5


@pytest.mark.parametrize("victim", range(5))
def test_a_changed_event_is_found(victim):
    events = chain(5)
    events[victim] = dataclasses.replace(events[victim], data={"bytes": 99})
    with pytest.raises(DocumentError, match=f"journal event {victim} "):
        journal.check(events)


def test_a_removed_event_is_found():
    events = chain(5)
    del events[2]
    with pytest.raises(DocumentError, match="journal event 2 "):
        journal.check(events)


def test_a_torn_last_line_is_dropped_and_a_bad_middle_line_is_not():
    lines = [json.dumps(codec.dump(event)) + "\n" for event in chain(3)]
    assert journal.parse_lines("".join(lines[:2]) + lines[2][:-9], "j") == chain(2)
    with pytest.raises(DocumentError, match=r"^j:2: "):
        journal.parse_lines(lines[0] + "{\n" + lines[2], "j")
