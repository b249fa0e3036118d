# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bounds from GPUs: pools of requests that compete for the same devices, and what a pool alone forces on any placement."""
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import GpuRequest
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu.names import KINDS, matches
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import masks
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import ItemType, Option, Problem

COUNTED = ("full", "passthrough", "mig", "shared")


@dataclass
class Pool:
    """Requests of one GPU kind and the units (devices, MIG instances, thousandths) that serve any of them, as (node, units, in part used).

    `forced` is the weight that the pool has to leave out, as its units are too few.
    """

    kind: str
    members: list[tuple[ItemType, int]]
    devices: list[tuple[int, int, bool]] = field(default_factory=list)
    forced: int = 0

    @property
    def units(self) -> int:
        return sum(units for _unused, units, _unused in self.devices)

    def least(self, slack: int, members: list[tuple[ItemType, int]]) -> int:
        """Return the fewest units that these members take in a placement that lacks no more than `slack` of all weight."""
        if not members:
            return 0
        missing = slack // min(kind.weight for kind, _unused in members)
        return sum(count * need(kind) for kind, count in members) - missing * max(need(kind) for kind, _unused in members)


def need(kind: ItemType) -> int:
    """Return the fewest units that an item takes by any of its options."""
    return min(_units(option) for option in kind.options)


def _units(option: Option) -> int:
    return option.gpu.count * (option.gpu.milli if option.gpu.kind == "shared" else 1)


def pools(problem: Problem, families: list[tuple[ItemType, int]]) -> list[Pool]:
    """Return the pools of all families whose options all want one kind of GPU; with layouts that may change there are none of MIG."""
    classes = _classes(problem)
    pool_of: dict[tuple, Pool] = {}
    found: list[Pool] = []
    for kind, count in families:
        kinds = {option.gpu.kind if option.gpu is not None else "" for option in kind.options}
        asked = kinds.pop()
        if kinds or asked not in COUNTED or not kind.weight or (asked == "mig" and problem.demand.policy.allow_mode_changes):
            continue
        keys = [key for key in classes if key[0] == asked and any(_serves(option.gpu, key) for option in kind.options)]
        merged = Pool(asked, [(kind, count)])
        for pool in {id(pool_of[key]): pool_of[key] for key in keys if key in pool_of}.values():
            merged.members += pool.members
            found = [other for other in found if other is not pool]
            keys += [key for key, other in pool_of.items() if other is pool and key not in keys]
        for key in keys:
            pool_of[key] = merged
            merged.devices += classes[key]
        found.append(merged)
    return found


def _serves(request: GpuRequest, key: tuple) -> bool:
    _unused, profile, gpu = key
    return matches(request, gpu) and (request.kind != "mig" or request.profile == profile)


def _classes(problem):
    """Return the units of every node by kind, MIG profile and one GPU that stands for all of its product, size and resource."""
    found, known = defaultdict(list), {}
    for number, gpus in enumerate(problem.gpus()):
        for device in gpus.devices:
            gpu = known.setdefault((device.gpu.product, device.gpu.memory_bytes, device.gpu.resource), _Bare(device.gpu))
            served = {kind for mode in gpus.modes for kind in KINDS.get(mode, ())}
            whole = device.untouched and (not device.existing or len(gpus.modes) > 1 or (gpus.alterable and device.idle))
            for kind in served & {"full", "passthrough"}:
                if whole:
                    found[kind, "", gpu].append((number, 1, False))
            if "shared" in served and not device.whole:
                found["shared", "", gpu].append((number, 1000 - device.milli, not device.fresh))
            if "mig" in served:
                profiles = [profile for profile, _unused in device.existing]
                for profile in sorted(set(profiles)):
                    found["mig", profile, gpu].append((number, profiles.count(profile), not device.fresh))
    return found


class _Bare:
    """What `matches` reads of a GPU, hashed by identity."""

    def __init__(self, gpu):
        self.product, self.memory_bytes, self.resource, self.vgpu, self.mig = gpu.product, gpu.memory_bytes, gpu.resource, {}, {}


def lost(problem: Problem, found: list[Pool], slack: int) -> int:
    """Return restarts that are lost in any placement that lacks no more than `slack` of all weight: too few units are left over.

    What fails on one node has at most the units that nothing uses; so with w units to restart on n nodes, and s left over, w - n * s
    units lack a place.
    """
    total = 0
    for policy in problem.demand.policy.failover:
        if policy.topology_key != masks.HOSTNAME:
            continue
        for pool in found:
            rest = slack - sum(other.forced for other in found if other is not pool)
            covered = [(kind, count) for kind, count in pool.members if kind.restart and kind.priority >= policy.min_priority]
            if not covered:
                continue
            spare = max(0, pool.units - pool.least(rest, pool.members))
            lacking = pool.least(rest, covered) - spare * len({node for node, _unused, _unused in pool.devices})
            largest = max(_units(option) for kind, _unused in covered for option in kind.options)
            total += max(0, -(-lacking // largest))
    return total


def broken(found: list[Pool], slack: int) -> int:
    """Return the GPUs that have to be broken into in any placement that lacks no more than `slack` of all weight."""
    most = {"mig": 0, "shared": 0}
    for pool in found:
        if pool.kind not in most:
            continue
        rest = slack - sum(other.forced for other in found if other is not pool)
        wanted = pool.least(rest, pool.members) - sum(units for _unused, units, used in pool.devices if used)
        count = 0
        for units in sorted((units for _unused, units, used in pool.devices if not used), reverse=True):
            if wanted <= 0:
                break
            wanted -= units
            count += 1
        # Instances of two profiles can be on one device; devices that are shared belong to one pool.
        most[pool.kind] = max(most[pool.kind], count) if pool.kind == "mig" else most[pool.kind] + count
    return most["mig"] + most["shared"]
