# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MIG placements as data: for each product the instances, their start slots, memory slices, compute slices and limit.

Sources: NVIDIA/go-nvml 2f9e261f pkg/nvml/mock/gpus/a100.go and a30.go, NVIDIA's MIG user guide (supported profiles), and
listings of `nvidia-smi mig -lgipp` of H100 and H100 NVL. For H200 and B200 the start slots of the other 8-slice products are assumed.
"""
from __future__ import annotations

from typing import NamedTuple


class Profile(NamedTuple):
    """A GPU instance profile: `starts` in memory slices, `limit` instances at most on one GPU."""

    name: str
    starts: tuple[int, ...]
    memory_slices: int
    compute_slices: int
    limit: int


class Geometry(NamedTuple):
    """The profiles of one product by name, and its totals."""

    product: str
    memory_slices: int
    compute_slices: int
    profiles: dict[str, Profile]


def _geometry(product, memory_slices, compute_slices, *profiles):
    return Geometry(product, memory_slices, compute_slices, {profile.name: profile for profile in profiles})


def _eight_slices(product, one, two, half, whole):
    """Return the 8-slice geometry; the arguments are the memory sizes in GB that NVIDIA puts into the profile names."""
    return _geometry(
        product, 8, 7,
        Profile(f"1g.{one}gb", (0, 1, 2, 3, 4, 5, 6), 1, 1, 7),
        Profile(f"1g.{one}gb+me", (0, 1, 2, 3, 4, 5, 6), 1, 1, 1),
        Profile(f"1g.{two}gb", (0, 2, 4, 6), 2, 1, 4),
        Profile(f"2g.{two}gb", (0, 2, 4), 2, 2, 3),
        Profile(f"3g.{half}gb", (0, 4), 4, 3, 2),
        Profile(f"4g.{half}gb", (0,), 4, 4, 1),
        Profile(f"7g.{whole}gb", (0,), 8, 7, 1))


GEOMETRIES = {geometry.product: geometry for geometry in (
    _geometry(
        "A30-24GB", 4, 4,
        Profile("1g.6gb", (0, 1, 2, 3), 1, 1, 4),
        Profile("1g.6gb+me", (0, 1, 2, 3), 1, 1, 1),
        Profile("2g.12gb", (0, 2), 2, 2, 2),
        Profile("2g.12gb+me", (0, 2), 2, 2, 1),
        Profile("4g.24gb", (0,), 4, 4, 1)),
    _eight_slices("A100-40GB", 5, 10, 20, 40),
    _eight_slices("A100-80GB", 10, 20, 40, 80),
    _eight_slices("H100-80GB", 10, 20, 40, 80),
    _eight_slices("H100-94GB", 12, 24, 47, 94),
    _eight_slices("H100-96GB", 12, 24, 48, 96),
    _eight_slices("H200-141GB", 18, 35, 71, 141),
    _eight_slices("B200-180GB", 23, 45, 90, 180),
)}
