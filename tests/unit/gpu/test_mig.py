# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MIG geometry against brute force: every legal set of instances on every product."""
from __future__ import annotations

import functools
import itertools
import random

import pytest

from ansible_collections.tandem.hybrid.plugins.module_utils.gpu import mig
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu.mig_table import GEOMETRIES


@functools.cache
def brute_force(product):
    """Return every legal set of instances, from the definition: legal start, no shared slice, limits, compute, one media extension."""
    shape = GEOMETRIES[product]
    cells = [(profile, start) for profile in shape.profiles.values() for start in profile.starts]
    found = {frozenset()}
    layer = [frozenset()]
    while layer:
        grown = set()
        for layout in layer:
            for profile, start in cells:
                bigger = layout | {(profile.name, start)}
                if len(bigger) > len(layout) and legal(shape, bigger):
                    grown.add(bigger)
        found |= grown
        layer = list(grown)
    return found


def legal(shape, layout):
    profiles = [(shape.profiles[name], start) for name, start in layout]
    slices = [start + offset for profile, start in profiles for offset in range(profile.memory_slices)]
    return (len(slices) == len(set(slices)) and max(slices, default=0) < shape.memory_slices
            and sum(profile.compute_slices for profile, _ in profiles) <= shape.compute_slices
            and all(sum(name == other for name, _ in layout) <= profile.limit for other, profile in shape.profiles.items())
            and sum(name.endswith("+me") for name, _ in layout) <= 1)


PRODUCTS = pytest.mark.parametrize("product", sorted(GEOMETRIES))


@PRODUCTS
def test_valid_agrees_with_brute_force_on_random_sets(product):
    shape = GEOMETRIES[product]
    every = brute_force(product)
    cells = [(profile.name, start) for profile in shape.profiles.values() for start in profile.starts]
    dice = random.Random(1)
    for _ in range(3000):
        layout = frozenset(dice.sample(cells, dice.randint(0, 5)))
        assert mig.valid(shape, sorted(layout)) == (layout in every)


@PRODUCTS
def test_random_create_and_destroy_misses_nothing_and_allows_nothing_invalid(product):
    shape, every = GEOMETRIES[product], brute_force(product)
    dice = random.Random(7)
    layout, created, refused = set(), 0, 0
    for _ in range(2000):
        if layout and dice.random() < 0.4:
            layout.discard(dice.choice(sorted(layout)))
            continue
        name = dice.choice(sorted(shape.profiles))
        expected = [start for start in shape.profiles[name].starts if (name, start) not in layout and layout | {(name, start)} in every]
        assert mig.starts(shape, layout, name) == expected
        best = mig.best_start(shape, layout, name)
        assert (best is None) == (not expected) and (best is None or best in expected)
        if best is None:
            refused += 1
        else:
            layout.add((name, best))
            created += 1
        assert layout in every
    assert created > 100 and refused > 100


@PRODUCTS
def test_layouts_are_exactly_the_maximal_ones(product):
    shape, every = GEOMETRIES[product], brute_force(product)
    cells = {(profile.name, start) for profile in shape.profiles.values() for start in profile.starts}
    maximal = {layout for layout in every if not any(layout | {cell} in every for cell in cells - layout)}
    assert {frozenset(layout) for layout in mig.layouts(shape)} == maximal


def test_best_start_keeps_room():
    shape = GEOMETRIES["H100-80GB"]
    assert mig.best_start(shape, [], "3g.40gb") == 4
    assert mig.best_start(shape, [], "1g.10gb") == 6
    assert mig.extensions(shape, [("7g.80gb", 0)]) == [{}]


@pytest.mark.parametrize(("product", "memory", "expected"), [
    ("NVIDIA-H100-80GB-HBM3", 0, "H100-80GB"), ("NVIDIA-A100-SXM4-40GB", 0, "A100-40GB"), ("NVIDIA-A100-SXM4-80GB", 0, "A100-80GB"),
    ("NVIDIA-H100-NVL", 0, "H100-94GB"), ("NVIDIA-A30", 0, "A30-24GB"), ("GH100_H100_PCIE", 0, "H100-80GB"),
    ("NVIDIA A100-PCIE", 80 << 30, "A100-80GB"), ("NVIDIA-GH200-480GB", 96 << 30, "H100-96GB")])
def test_products_are_known_by_the_names_that_the_operator_writes(product, memory, expected):
    assert mig.geometry(product, memory).product == expected


def test_products_without_mig():
    assert mig.geometry("Tesla-T4") is None
    with pytest.raises(mig.MigError, match="has no MIG"):
        mig.required_geometry("NVIDIA-L40S")
    with pytest.raises(mig.MigError, match="no MIG profile '9g'"):
        mig.starts(GEOMETRIES["A30-24GB"], [], "9g")


def test_resource_names_go_both_ways():
    for name in itertools.chain(*(shape.profiles for shape in GEOMETRIES.values())):
        assert mig.profile_of(mig.resource_name(name)) == name
    assert mig.resource_name("1g.10gb", single=True) == "nvidia.com/gpu"
