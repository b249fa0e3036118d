# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Full copy, deltas, compare, refusals: against a real qemu-nbd."""
from __future__ import annotations

import os
import subprocess

import pytest

from nbd_source import MIB, holds, needs_qemu, qemu_io, qemu_nbd, raw_bytes

pytestmark = needs_qemu


def sock(mover):
    return mover.folder / "source.sock"


def test_full_copy_is_identical_sparse_and_repeatable(mover, image):
    with qemu_nbd(image, sock(mover)):
        result = mover.copy("g0", "--verify", "--verify-source", "--size-bytes", 64 * MIB + 512)
        assert (result["rc"], result["resumed"], result["missing_bytes"]) == (0, "", 0)
        again = mover.copy("g0")
    assert (again["rc"], again["resumed"], again["root"]) == (0, "complete", result["root"])
    assert holds(mover.target, raw_bytes(image))
    assert os.stat(mover.target).st_blocks * 512 <= 15 * MIB, "holes were written"
    assert os.stat(mover.target).st_mode & 0o777 == 0o660
    assert not (mover.state / "vda.journal").exists()


def test_deltas_bring_the_target_up_to_date(mover, image):
    with qemu_nbd(image, sock(mover)):
        mover.copy("g0")
    subprocess.run(["qemu-img", "bitmap", "--add", str(image), "b0"], check=True)
    qemu_io(image, "write -P 11 1M 64k", "write -P 12 40M 2M", "write -z 33M 2M", "write -P 13 50M 512")
    with qemu_nbd(image, sock(mover), "-B", "b0"):
        result = mover.copy("g1", "--mode", "delta", "--base", "g0", "--bitmap", "b0", "--verify", "--verify-source")
    assert (result["rc"], result["bad_chunks"]) == (0, 0)
    assert result["copied_bytes"] == 3 * MIB
    assert holds(mover.target, raw_bytes(image))


def test_lost_bitmap_is_told_and_compare_writes_only_differences(mover, image):
    with qemu_nbd(image, sock(mover)):
        mover.copy("g0")
        lost = mover.copy("g1", "--mode", "delta", "--base", "g0", "--bitmap", "b0")
    assert (lost["rc"], lost["reason"]) == (42, "bitmap_missing")
    qemu_io(image, "write -P 11 2M 1M", "write -z 0 1M", "write -P 4 60M 64k")
    with qemu_nbd(image, sock(mover)):
        result = mover.copy("g1", "--mode", "compare", "--verify", "--verify-source")
    assert (result["rc"], result["written_bytes"]) == (0, 3 * MIB // 2)
    assert holds(mover.target, raw_bytes(image))


def test_compare_repairs_any_target(mover, image):
    mover.target.write_bytes(os.urandom(70 * MIB))
    with qemu_nbd(image, sock(mover)):
        refused = mover.copy("g0")
        assert (refused["rc"], refused["reason"]) == (42, "target_not_empty")
        assert mover.copy("g0", "--mode", "compare", "--verify")["rc"] == 0
    assert holds(mover.target, raw_bytes(image))


@pytest.mark.parametrize(("generation", "more", "reason"), [
    ("g1", [], "other_generation"),
    ("g1", ["--source-id", "libvirt:h/other/vda"], "other_generation"),
    ("g2", ["--mode", "delta", "--base", "g1", "--bitmap", "b"], "other_generation"),
    ("g1", ["--mode", "delta", "--base", "g0", "--bitmap", "b", "--size-bytes", "5"], "size_changed"),
])
def test_a_complete_copy_is_not_overwritten_by_mistake(mover, image, generation, more, reason):
    with qemu_nbd(image, sock(mover)):
        mover.copy("g0")
        before = mover.target.read_bytes()
        result = mover.copy(generation, *more)
    assert (result["rc"], result["reason"]) == (42, reason)
    assert holds(mover.target, before)
    assert mover.verify()["rc"] == 0


def test_a_replaced_target_is_noticed(mover, image):
    with qemu_nbd(image, sock(mover)):
        mover.copy("g0")
        mover.target.unlink()
        mover.target.touch()
        os.truncate(mover.target, 64 * MIB + 512)
        result = mover.copy("g0")
    assert (result["rc"], result["reason"]) == (42, "damaged")


def test_compare_starts_over_whatever_happened_to_target_and_state(mover, image):
    with qemu_nbd(image, sock(mover)):
        mover.copy("g0")
        mover.target.unlink()
        assert mover.copy("g1", "--mode", "compare", "--verify")["rc"] == 0, "the volume was replaced"
        (mover.state / "vda.manifest").write_text("{}")
        (mover.state / "vda.journal").write_text("garbage\n")
        assert mover.copy("g2")["rc"] == 42
        assert mover.copy("g2", "--mode", "compare", "--verify")["rc"] == 0, "the state was damaged"
    assert holds(mover.target, raw_bytes(image))


def test_manifest_of_an_existing_disk(mover, image):
    with qemu_nbd(image, sock(mover)):
        root = mover.copy("g0")["root"]
    made = mover.run("manifest", "--target", mover.target, "--output", mover.folder / "m", "--source-id", "x", "--generation", "y")
    assert made["root"] == root
    assert mover.run("verify", "--target", mover.target, "--manifest", mover.folder / "m", "--expect-root", root)["rc"] == 0
