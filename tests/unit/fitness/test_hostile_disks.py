# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the bytes are: an answer or the room's error, soon."""
from __future__ import annotations

import gzip
import lzma
import pathlib
import tempfile
import time

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness import initramfs
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.disk import Allowance
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.errors import FitnessError
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.ext import Ext
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.fat import Fat
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.look import look
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.partitions import partitions
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.xfs import Xfs
from fitness_images import VIRTIO, archive, ext, fat, gpt, lz4, mbr, window, zstd
from hypothesis import given, settings
from hypothesis import strategies as st

FILES = {"boot/vmlinuz-6.1": b"kernel" * 3000, "boot/initrd.img-6.1": gzip.compress(archive(VIRTIO)), "boot/config-6.1": b"CONFIG_VIRTIO_BLK=y\n" * 200,
         **{f"boot/file-{number}": b"x" for number in range(40)}}
CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from([1, 2, 4, 8]), st.binary(min_size=8, max_size=8)), min_size=1, max_size=12)
QUICK = settings(max_examples=50, deadline=None)
MOST_SECONDS = 5.0


def images(kinds):
    with tempfile.TemporaryDirectory() as folder:
        return [ext(pathlib.Path(folder), FILES, 4, *kind) for kind in kinds]


EXTS = images([("ext4", "-b", "1024"), ("ext2", "-b", "1024"), ("ext4", "-O", "inline_data", "-I", "256"), ("ext4", "-O", "64bit", "-b", "4096")])
FATS = [fat(FILES, bits, clusters) for bits, clusters in ((12, 3000), (16, 5000), (32, 66000))]
XFS = [lzma.decompress(path.read_bytes()) for path in sorted(pathlib.Path(__file__).parent.glob("images/*.img.xz"))]
DISKS = [mbr(EXTS[0], logical=[EXTS[1], FATS[0]]), gpt(FATS[1], EXTS[2])]
ARCHIVES = [archive(VIRTIO), gzip.compress(archive(VIRTIO, builtin=["ahci"])), archive() + zstd(archive(VIRTIO)), lz4(archive(VIRTIO))]


def metadata(image):
    """Where structures lie: what is not zero, as a cheap guide."""
    return [at for at in range(0, len(image), 32) if any(image[at:at + 32])]


PLACES = {id(image): metadata(image) for image in (*EXTS, *FATS, *XFS, *DISKS, *ARCHIVES)}


def changed(image, changes, first_bytes=None):
    found, places = bytearray(image), PLACES[id(image)]
    if first_bytes:
        places = [at for at in places if at < first_bytes] or places
    for place, width, value in changes:
        at = places[int(place * len(places))] + value[-1] % 32
        found[at:at + width] = value[:width]
    return bytes(found[:len(image)])


def walk(reader):
    """Read everything that a look would, and more."""
    for path in ("", "boot", "many", "lost+found"):
        for entry in reader.names(path).values():
            if entry.is_file:
                total = 0
                for piece in reader.content(entry):
                    total += len(piece)
                    if total > 64 << 20:
                        break


def in_time(action):
    started = time.monotonic()
    try:
        return action()
    except FitnessError:
        return None
    finally:
        assert time.monotonic() - started < MOST_SECONDS


@QUICK
@given(st.sampled_from(DISKS), CHANGES, st.sampled_from([1024, 65536, None]))
def test_partition_tables(image, changes, first_bytes):
    in_time(lambda: partitions(window(changed(image, changes, first_bytes))))


@QUICK
@given(st.sampled_from(EXTS), CHANGES, st.sampled_from([4096, 1 << 18, None]))
def test_ext(image, changes, first_bytes):
    data = changed(image, changes, first_bytes)
    in_time(lambda: walk(Ext(window(data))))


@QUICK
@given(st.sampled_from(FATS), CHANGES, st.sampled_from([512, 1 << 16, None]))
def test_fat(image, changes, first_bytes):
    data = changed(image, changes, first_bytes)
    in_time(lambda: walk(Fat(window(data))))


@settings(QUICK, max_examples=25)
@given(st.sampled_from(XFS), CHANGES, st.sampled_from([512, 1 << 16, None]))
def test_xfs(image, changes, first_bytes):
    data = changed(image, changes, first_bytes)
    in_time(lambda: walk(Xfs(window(data))))


@QUICK
@given(st.sampled_from(ARCHIVES), CHANGES, st.integers(1, 5000))
def test_initramfs(image, changes, piece_bytes):
    data = changed(image, changes)
    in_time(lambda: initramfs.contents((data[at:at + piece_bytes] for at in range(0, len(data), piece_bytes)), Allowance()))


@QUICK
@given(st.binary(max_size=4096), st.sampled_from([b"", b"070701", b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh9", b"\x5d\0\0", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18"]))
def test_any_bytes_as_an_initramfs(data, magic):
    in_time(lambda: initramfs.contents(iter([magic + data]), Allowance()))


@QUICK
@given(st.sampled_from([*DISKS, *EXTS, *FATS, *XFS]), CHANGES, st.sampled_from([1024, 1 << 16, None]), st.sampled_from(["virtio", "scsi", "sata", "usb"]))
def test_a_look_always_answers(image, changes, first_bytes, bus):
    disk = changed(image, changes, first_bytes)
    found = in_time(lambda: look(lambda offset, length: disk[offset:offset + length], len(disk), bus))
    assert found.verdict in ("ready", "rebuild", "convert", "unknown")
    assert found.sentence


@pytest.mark.parametrize("size", [0, 1, 511, 512, 1024, 4096])
def test_disks_that_end_early(size):
    for image in (*DISKS, *EXTS, *FATS, *XFS):
        assert look(lambda offset, length, image=image: image[:size][offset:offset + length], len(image), "virtio").verdict == "unknown"
        assert look(lambda offset, length, image=image: image[:size][offset:offset + length], size, "virtio").verdict == "unknown"
