# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import bz2
import gzip
import importlib.util
import lzma

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness import initramfs
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.disk import Allowance
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.errors import FitnessError
from fitness_images import MIB, VIRTIO, archive, lz4, zstd

MICROCODE = archive(form="kernel/x86/microcode/{}.bin")
LIBRARIES = {zstd: "zstandard", lz4: "lz4"}


def contents(data, piece_bytes=4096):
    return initramfs.contents((data[at:at + piece_bytes] for at in range(0, len(data), piece_bytes)), Allowance())


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress, zstd, lz4, lambda data: lzma.compress(data, lzma.FORMAT_ALONE)])
@pytest.mark.parametrize("before", [b"", MICROCODE, MICROCODE + bytes(1024) + MICROCODE + bytes(508)])
def test_the_drivers_of_every_form(pack, before):
    data = before + pack(archive(VIRTIO, builtin=["ahci", "e1000e", "whatever"]))
    library = LIBRARIES.get(pack)
    if library and not importlib.util.find_spec(library):
        with pytest.raises(FitnessError, match=f"the mover lacks the Python library {library}"):
            contents(data)
        return
    found = contents(data)
    assert (found.drivers, found.builtin) == (set(VIRTIO), {"ahci", "e1000e"})


def test_archives_one_after_the_other():
    found = contents(gzip.compress(archive(["ahci"])) + bytes(12) + gzip.compress(archive(["virtio_blk"])) + archive(["virtio_pci"]))
    assert found.drivers == {"ahci", "virtio_blk", "virtio_pci"}


@pytest.mark.parametrize(("path", "name"), [
    ("lib/modules/6.1/kernel/drivers/block/virtio_blk.ko", "virtio_blk"), ("x/sd_mod.ko.xz", "sd_mod"), ("modules/07-virtio_pci.ko.zst", "virtio_pci"),
    ("virtio-net.ko.gz", "virtio_net"), ("virtio_blk", ""), ("not_virtio_blk.ko", ""), ("ahci_platform.ko", ""), ("ahci.ko.conf", "")])
def test_a_driver_is_told_by_its_file(path, name):
    assert initramfs.driver(path) == name


@pytest.mark.parametrize(("data", "word"), [
    (b"", "is empty"), (bytes(4096), "is empty"), (b"\x89LZO" + bytes(100), "neither a cpio archive"), (MICROCODE + b"\x89LZO", "neither a cpio archive"),
    (archive(VIRTIO)[:-200], "ends too early"), (gzip.compress(archive(VIRTIO))[:-30], "ends too early"),
    (gzip.compress(archive(VIRTIO))[:40] + b"junk" * 100, "can't be unpacked"), (b"070701" + b"g" * 200, "damaged"),
    (b"070701" + b"0" * 88 + b"0000FFFF" + bytes(70000), "damaged"), (lzma.compress(b"junk" * 100), "neither a cpio archive")])
def test_what_can_not_be_read_says_why(data, word):
    with pytest.raises(FitnessError, match=word):
        contents(data)


def test_a_bomb_is_left_alone(monkeypatch):
    monkeypatch.setattr(initramfs, "MAX_UNPACKED_BYTES", 8 * MIB)
    for pack in (gzip.compress, lzma.compress, bz2.compress):
        with pytest.raises(FitnessError, match="larger than is read"):
            contents(pack(bytes(64 * MIB)))


def test_a_look_that_takes_too_long_ends():
    with pytest.raises(FitnessError, match="longer than it is worth"):
        initramfs.contents(iter([gzip.compress(archive(VIRTIO))]), Allowance(seconds=-1))
