# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XFS as mkfs.xfs 6.1 makes it: images/*.img.xz hold FILES (options -p of a prototype, --unsupported for 24 MiB, and those in IMAGES)."""
from __future__ import annotations

import gzip
import lzma
import pathlib
import random

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.errors import FitnessError
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.filesystems import detect
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.look import look
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.xfs import Xfs
from fitness_images import archive, gpt, window

FOLDER = pathlib.Path(__file__).parent / "images"
IMAGES = {"xfs-v5": "", "xfs-v4": "-m crc=0 -n ftype=0", "xfs-v4-large-directory-blocks": "-m crc=0 -b size=2048 -n size=8192"}
VERSION = "5.14.0-362.el9.x86_64"
FILES = {
    f"vmlinuz-{VERSION}": b"kernel" * 2000, f"initramfs-{VERSION}.img": gzip.compress(archive(["vmw_pvscsi", "sd_mod"]), mtime=0),
    f"config-{VERSION}": b"CONFIG_SCSI=y\nCONFIG_VIRTIO_BLK=m\n" * 100, "empty": b"", "random": random.Random(6).randbytes(5000),
    **{f"short/f{number}": b"%d" % number for number in range(3)}, **{f"block/name-{number:03d}": b"%d" % number for number in range(60)},
    **{f"many/name-{number:04d}-{'x' * 60}": b"" for number in range(400)}}


def image(name):
    return lzma.decompress((FOLDER / f"{name}.img.xz").read_bytes())


@pytest.mark.parametrize("name", IMAGES)
def test_every_file_is_read_as_it_was_written(name):
    data = image(name)
    assert detect(window(data)) == "XFS"
    reader = Xfs(window(data))
    for path, content in FILES.items():
        above, _slash, file = path.rpartition("/")
        entry = reader.names(above)[file]
        assert entry.is_file and not entry.is_directory
        assert b"".join(reader.content(entry)) == content, path
    for directory, count in (("short", 3), ("block", 60), ("many", 400), ("many/nothing", 0), ("empty", 0)):
        assert len(reader.names(directory)) == count


def test_a_boot_partition_of_red_hat():
    disk = gpt(image("xfs-v5"), bytes(1 << 20))
    found = look(lambda offset, length: disk[offset:offset + length], len(disk), "scsi")
    assert (found.verdict, found.compatible, found.kernel) == ("rebuild", False, VERSION)
    assert found.sentence == f"/initramfs-{VERSION}.img of Linux {VERSION} lacks virtio_pci, virtio_scsi"


@pytest.mark.parametrize(("at", "value", "word"), [(4, bytes(4), "makes no sense"), (216, b"\x80\0\0\0", "features that are not read")])
def test_what_is_not_known_is_refused(at, value, word):
    data = bytearray(image("xfs-v5"))
    data[at:at + len(value)] = value
    with pytest.raises(FitnessError, match=word):
        Xfs(window(bytes(data)))
