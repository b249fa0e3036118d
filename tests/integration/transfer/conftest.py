# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: a mover and a source image."""
from __future__ import annotations

import random
import subprocess

import pytest
from nbd_source import MIB, Mover, qemu_io


@pytest.fixture
def mover(tmp_path):
    return Mover(tmp_path)


@pytest.fixture
def image(tmp_path):
    """A 64 MiB + 512 bytes qcow2 disk with random data, holes, zeroes written by the guest and half-filled chunks."""
    path, rng = tmp_path / "source.qcow2", random.Random(6)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), str(64 * MIB + 512)], check=True)
    noise = tmp_path / "noise"
    noise.write_bytes(rng.randbytes(8 * MIB))
    qemu_io(path, f"write -s {noise} 0 8M", "write -P 7 20M 64k", "write -P 9 33M 5M", "write -z 30M 1M", "write -P 0 31M 1M",
            "write -P 5 64M 512")
    return path
