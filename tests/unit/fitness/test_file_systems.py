# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the readers find is what was put there."""
from __future__ import annotations

import random

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.errors import FitnessError
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.ext import Ext
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.fat import Fat
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.filesystems import detect
from fitness_images import ext, fat, window

FILES = {"boot/vmlinuz-6.1.0-9-amd64": random.Random(1).randbytes(700_001), "boot/initrd.img-6.1.0-9-amd64": random.Random(2).randbytes(2_300_000),
         "boot/config": b"CONFIG_X=y\n", "boot/empty": b"", "usr/lib/modules/6.1.0-9-amd64/modules.builtin": b"kernel/a.ko\n" * 300}


def check(reader, files):
    """Every file of `files` is read as it was written, and directories hold nothing else."""
    for path, content in files.items():
        above, _slash, name = path.rpartition("/")
        found = reader.names(above)
        assert found[name].is_file and not found[name].is_directory
        assert b"".join(reader.content(found[name])) == content, path
    assert set(reader.names("boot")) == {path.rpartition("/")[2] for path in files if path.startswith("boot/")}
    assert reader.names("boot/nothing") == reader.names("nothing") == reader.names("boot/config") == {}


@pytest.mark.parametrize(("kind", "options"), [
    ("ext4", ()), ("ext4", ("-b", "1024")), ("ext4", ("-b", "4096", "-I", "128", "-O", "^64bit,^metadata_csum")), ("ext4", ("-O", "64bit,metadata_csum")),
    ("ext4", ("-O", "inline_data", "-I", "256")), ("ext4", ("-O", "^has_journal,^extent,^64bit")),
    ("ext2", ("-b", "1024")), ("ext2", ("-b", "2048")), ("ext3", ())])
def test_ext_of_every_kind(tmp_path, kind, options):
    image = ext(tmp_path, FILES, 16, kind, *options)
    assert detect(window(image)) == "ext"
    check(Ext(window(image)), FILES)


def test_ext_with_holes_and_many_names(tmp_path):
    files = {f"boot/name-{number:04d}-{'x' * (number % 60)}": b"%d" % number for number in range(600)}
    files["boot/sparse"] = bytes(3_000_000) + b"end"
    files["boot/apart"] = b"begin" + bytes(1_000_000) + random.Random(3).randbytes(100_000)
    check(Ext(window(ext(tmp_path, files, 16))), files)
    check(Ext(window(ext(tmp_path, files, 16, "ext2", "-b", "1024"))), files)


def test_ext_features_that_are_not_known_are_refused(tmp_path):
    image = bytearray(ext(tmp_path, {}))
    image[1024 + 96 + 3] |= 0x80
    with pytest.raises(FitnessError, match="features that are not read"):
        Ext(window(bytes(image)))


@pytest.mark.parametrize(("bits", "clusters"), [(12, 4000), (16, 5000), (16, 60000), (32, 70000)])
def test_fat_of_every_kind(bits, clusters):
    files = {"boot/vmlinuz-6.1": random.Random(4).randbytes(100_001), "boot/initramfs-6.1.0-9-with-a-long-name.img": random.Random(5).randbytes(600_000),
             "boot/config": b"CONFIG_X=y\n", "syslinux/ldlinux.sys": b"x" * 512, "boot/empty": b""}
    image = fat(files, bits, clusters)
    assert detect(window(image)) == "FAT"
    check(Fat(window(image)), files)


def test_fat_names_in_a_path_have_no_case_and_short_names_no_blanks():
    image = bytearray(fat({"BOOT/A": b"x"}))
    assert list(Fat(window(bytes(image))).names("boot")) == ["A"]
    at = image.index(b"\x41B\0O\0O\0T")  # without its long name the short one is left
    image[at] = 0xE5
    assert list(Fat(window(bytes(image))).names("")) == ["file0000.bin"]


def test_fat_chains_in_a_circle_end():
    image = bytearray(fat({"a": bytes(4096)}))
    reader = Fat(window(bytes(image)))
    entry = reader.names("")["a"]
    table = 32 * 512
    image[table + entry.cluster * 2:table + entry.cluster * 2 + 2] = entry.cluster.to_bytes(2, "little")
    assert len(b"".join(Fat(window(bytes(image))).content(entry))) == 4096
