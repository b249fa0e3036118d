# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the journal proves survives any cut; what it cannot prove is refused."""
from __future__ import annotations

import dataclasses
import hashlib
import os

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer import manifest as manifests
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.disk_journal import DiskJournal, DiskState, Header
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.errors import Resumable, TransferError
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.extents import MIB
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.manifest import Manifest, zero_digest

HEADER = Header("libvirt:h/u/vda", "g0", "full", "", 10 * MIB + 5, MIB)


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def test_every_cut_of_the_file_keeps_whole_lines_only(tmp_path):
    path = str(tmp_path / "a.journal")
    journal = DiskJournal(path, HEADER)
    for number in range(5):
        journal.append([(number * 2, digest(number))])
    journal.close()
    raw = (tmp_path / "a.journal").read_bytes()
    ends = [position + 1 for position, byte in enumerate(raw) if byte == 10]
    for cut in range(len(raw) + 1):
        (tmp_path / "a.journal").write_bytes(raw[:cut])
        again = DiskJournal(path, HEADER)
        again.close()
        proven = sum(end <= cut for end in ends) - 1
        assert sum(again.done) == max(0, proven)
        assert os.path.getsize(path) == max([end for end in ends if end <= cut] or [ends[0]])


@pytest.mark.parametrize("change", [{"generation": "g1"}, {"size_bytes": 11 * MIB}, {"source": "x"}, {"mode": "delta"}, {"base": "g"}])
def test_a_journal_of_something_else_is_refused(tmp_path, change):
    path = str(tmp_path / "a.journal")
    DiskJournal(path, HEADER).close()
    with pytest.raises(TransferError) as caught:
        DiskJournal(path, dataclasses.replace(HEADER, **change))
    assert caught.value.reason == "other_generation"


@pytest.mark.parametrize("line", [b"garbage\n", b'{"c": 11, "z": 1}\n', b'{"c": 10, "z": 2}\n', b'{"c": -1, "z": 1}\n', b'{"c": 0, "h": ["00"]}\n',
                                  b'{"c": 0, "h": 7}\n', b'{"z": 1}\n', b"[]\n"])
def test_a_damaged_line_in_the_middle_is_refused(tmp_path, line):
    path = tmp_path / "a.journal"
    DiskJournal(str(path), HEADER).close()
    path.write_bytes(path.read_bytes() + line + b'{"c": 0, "z": 1}\n')
    with pytest.raises(TransferError) as caught:
        DiskJournal(str(path), HEADER)
    assert caught.value.reason == "journal_damaged"


def test_zero_chunks_take_one_line_and_the_short_last_chunk_has_its_own_hash(tmp_path):
    path = tmp_path / "a.journal"
    journal = DiskJournal(str(path), HEADER)
    journal.append([(index, zero_digest(MIB if index < 10 else 5)) for index in range(11)])
    journal.close()
    assert len(path.read_text().splitlines()) == 2
    again = DiskJournal(str(path), HEADER)
    assert bytes(again.digests[320:]) == hashlib.sha256(bytes(5)).digest()
    assert all(again.done)


def test_only_one_mover_at_a_time(tmp_path):
    first, second = DiskState(str(tmp_path), "vda"), DiskState(str(tmp_path), "vda")
    first.lock(0)
    with pytest.raises(Resumable) as caught:
        second.lock(0)
    assert caught.value.reason == "locked"
    first.close()
    second.lock(0)
    second.close()


def test_a_manifest_comes_back_and_its_damage_shows(tmp_path):
    path = tmp_path / "a.manifest"
    made = Manifest("s", "g0", 700 * MIB + 1, MIB, b"".join(zero_digest(MIB) if n % 300 < 20 else digest(n) for n in range(701)))
    manifests.write(str(path), made)
    assert manifests.read(str(path)) == made
    text = path.read_text()
    for old, new in ((digest(30).hex(), digest(31).hex()), ('"z": 20', '"z": 19')):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(TransferError) as caught:
            manifests.read(str(path))
        assert caught.value.reason == "manifest_damaged"
    path.write_text(text[:-20])
    with pytest.raises(TransferError):
        manifests.read(str(path))
    assert manifests.read(str(tmp_path / "none")) is None
