# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.filesystems import detect
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.partitions import Partition, partitions
from fitness_images import MIB, fat, gpt, mbr, window


def test_primary_and_logical_partitions_of_an_mbr():
    table, found = partitions(window(mbr(bytes(MIB), bytes(2 * MIB), logical=[bytes(MIB), bytes(MIB), bytes(2 * MIB)])))
    assert table == "mbr"
    gap = 64 * 512
    assert found == [Partition(1, MIB, MIB), Partition(2, 2 * MIB, 2 * MIB), Partition(5, 4 * MIB + gap, MIB), Partition(6, 5 * MIB + 2 * gap, MIB),
                     Partition(7, 6 * MIB + 3 * gap, 2 * MIB)]


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_gpt_with_either_size_of_sectors(sector):
    assert partitions(window(gpt(bytes(MIB), bytes(3 * MIB), sector=sector))) == ("gpt", [Partition(1, MIB, MIB), Partition(2, 2 * MIB, 3 * MIB)])


def test_a_chain_of_logical_partitions_that_turns_back_ends():
    disk = bytearray(mbr(bytes(MIB), logical=[bytes(MIB)]))
    second = 2 * MIB + 446 + 16
    disk[second + 4], disk[second + 8:second + 16] = 0x05, bytes(8)
    assert len(partitions(window(bytes(disk)))[1]) == 2


@pytest.mark.parametrize("disk", [bytes(MIB), b"", bytes(100), fat({}), b"\0" * 510 + b"\x55\xaa" + bytes(512)])
def test_a_disk_without_a_table(disk):
    assert partitions(window(disk)) == ("", [])


def test_partitions_that_lie_outside_are_left_out():
    disk = mbr(bytes(MIB), bytes(MIB))[:MIB + 4096]
    assert partitions(window(disk)) == ("mbr", [Partition(1, MIB, MIB)])
    assert window(disk).part(MIB, MIB).size_bytes == 4096


@pytest.mark.parametrize(("offset", "magic", "name"), [
    (0, b"XFSB", "XFS"), (0x10040, b"_BHRfS_M", "btrfs"), (0, b"LUKS\xba\xbe", "LUKS"), (4086, b"SWAPSPACE2", "swap"), (536, b"LVM2 001", "LVM2"),
    (4096, b"\xfc\x4e\x2b\xa9", "MD RAID"), (3, b"NTFS    ", "NTFS"), (3, b"-FVE-FS-", "BitLocker"), (3, b"EXFAT   ", "exFAT"), (0, b"", "")])
def test_file_systems_are_told_by_their_magic(offset, magic, name):
    assert detect(window(bytes(offset) + magic + bytes(MIB))) == name
