# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exact MIG geometry: which GPU instances can exist together on one GPU, and where a new one may start."""
from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu.mig_table import GEOMETRIES, Geometry

Instance = tuple[str, int]


class MigError(TandemError):
    """A product without MIG, an unknown profile or an impossible layout."""


@functools.cache
def geometry(product: str, memory_bytes: int = 0) -> Geometry | None:
    """Return the geometry of a product as GFD or nvidia-smi writes it, or None where it has no MIG.

    The memory size is taken from the name, else from `memory_bytes`, else from the product's only size.
    """
    words = set(re.split(r"[^A-Z0-9]+", product.upper()))
    models = [name for name in GEOMETRIES if name.split("-")[0] in words]
    if "GH200" in words:
        models = ["H100-96GB", "H200-141GB"]
    exact = [name for name in models if name.split("-")[1] in words]
    if len(exact) == 1:
        return GEOMETRIES[exact[0]]
    if {"NVL", "H100"} <= words:
        return GEOMETRIES["H100-94GB"]
    if memory_bytes and models:
        return GEOMETRIES[min(models, key=lambda name: abs(int(name.split("-")[1][:-2]) * 2**30 - memory_bytes))]
    return GEOMETRIES[models[0]] if models else None


def required_geometry(product: str, memory_bytes: int = 0) -> Geometry:
    """Return the geometry of a product; raises MigError where it has none."""
    found = geometry(product, memory_bytes)
    if found is None:
        raise MigError(f"product {product!r} has no MIG; expected one of {', '.join(GEOMETRIES)}")
    return found


def valid(shape: Geometry, instances: Sequence[Instance]) -> bool:
    """Say whether the instances (profile, start) can exist together: legal starts, no overlap, limits, compute and one media extension."""
    mask = compute = media = 0
    counts: dict[str, int] = {}
    for name, start in instances:
        profile = shape.profiles.get(name)
        if profile is None or start not in profile.starts:
            return False
        bits = ((1 << profile.memory_slices) - 1) << start
        counts[name] = counts.get(name, 0) + 1
        compute += profile.compute_slices
        media += name.endswith("+me")
        if mask & bits or counts[name] > profile.limit or compute > shape.compute_slices or media > 1:
            return False
        mask |= bits
    return True


def starts(shape: Geometry, instances: Iterable[Instance], name: str) -> list[int]:
    """Return every slot where an instance of the profile can start beside the given ones; raises MigError for an unknown profile."""
    profile = shape.profiles.get(name)
    if profile is None:
        raise MigError(f"{shape.product} has no MIG profile {name!r}; expected one of {', '.join(shape.profiles)}")
    return list(_starts(shape.product, frozenset(instances), name))


def best_start(shape: Geometry, instances: Iterable[Instance], name: str) -> int | None:
    """Return the start slot that leaves the most other placements possible (lowest slot on a tie), or None."""
    return _best_start(shape.product, frozenset(instances), name)


def layouts(shape: Geometry) -> list[tuple[Instance, ...]]:
    """Return all maximal layouts (nothing more fits), each sorted by start slot."""
    return [tuple(sorted(layout, key=lambda instance: instance[1])) for layout in _maximal(shape.product, frozenset())]


def extensions(shape: Geometry, instances: Iterable[Instance]) -> list[dict[str, int]]:
    """Return the Pareto-maximal counts by profile that can be created beside the given instances."""
    counts = {_counts(layout - frozenset(instances)) for layout in _maximal(shape.product, frozenset(instances))}
    return [dict(count) for count in sorted(counts)]


def resource_name(profile: str, single: bool = False) -> str:
    """Return the extended resource that NVIDIA's device plugin advertises for a profile under the mixed (or single) strategy."""
    return "nvidia.com/gpu" if single else "nvidia.com/mig-" + profile.replace("+", ".")


def profile_of(resource: str) -> str:
    """Return the profile of an extended resource name of the mixed strategy, or an empty string."""
    match = re.fullmatch(r"nvidia\.com/mig-(\d+g\.\d+gb)(\.me)?", resource)
    return match[1] + ("+me" if match[2] else "") if match else ""


@functools.lru_cache(maxsize=65536)
def _starts(product, instances, name):
    shape = GEOMETRIES[product]
    here = sorted(instances)
    return tuple(start for start in shape.profiles[name].starts if valid(shape, [*here, (name, start)]))


@functools.lru_cache(maxsize=65536)
def _best_start(product, instances, name):
    shape = GEOMETRIES[product]

    def room(start):
        after = instances | {(name, start)}
        return sum(shape.profiles[other].memory_slices * len(_starts(product, after, other)) for other in shape.profiles)
    return max(_starts(product, instances, name), key=lambda start: (room(start), -start), default=None)


@functools.lru_cache(maxsize=4096)
def _maximal(product, instances):
    found, seen, stack = set(), {instances}, [instances]
    while stack:
        layout = stack.pop()
        grown = [layout | {(name, start)} for name in GEOMETRIES[product].profiles for start in _starts(product, layout, name)]
        if not grown:
            found.add(layout)
        for bigger in grown:
            if bigger not in seen:
                seen.add(bigger)
                stack.append(bigger)
    return sorted(found, key=sorted)


def _counts(instances):
    counts: dict[str, int] = {}
    for name, _start in instances:
        counts[name] = counts.get(name, 0) + 1
    return tuple(sorted(counts.items()))
