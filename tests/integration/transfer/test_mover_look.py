# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mover looks at what it has copied, from the same storage that the guest will start from."""
from __future__ import annotations

import gzip
import subprocess

import pytest
from fitness_images import VIRTIO, archive, ext, mbr
from nbd_source import needs_qemu, qemu_nbd

pytestmark = needs_qemu


@pytest.mark.parametrize(("drivers", "verdict"), [(VIRTIO, "ready"), (["ahci", "sd_mod"], "rebuild")])
def test_a_copy_comes_with_the_fitness_of_its_guest(mover, tmp_path, drivers, verdict):
    files = {"boot/vmlinuz-6.1": b"kernel", "boot/initrd.img-6.1": gzip.compress(archive(drivers)), "boot/config-6.1": b"CONFIG_EXT4_FS=y\n"}
    raw, image = tmp_path / "guest.raw", tmp_path / "guest.qcow2"
    raw.write_bytes(mbr(ext(tmp_path, files)))
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, image], check=True)
    with qemu_nbd(image, tmp_path / "source.sock"):
        result = mover.copy("g0", "--verify", "--fitness", "virtio")
        assert (result["rc"], result["fitness"]["verdict"], result["fitness"]["kernel"]) == (0, verdict, "6.1")
        assert result["fitness"]["seconds"] < 2
        again = mover.copy("g0", "--verify", "--fitness", "virtio")
        assert {**again["fitness"], "seconds": 0} == {**result["fitness"], "seconds": 0}
        assert "fitness" not in mover.copy("g0", "--verify")
