# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes and GPUs before and after a plan."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity, Gpu, Node
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu import mig

from .model import GpuMap, NodeMap, Piece, Place, label


def node_maps(capacity: Capacity, plan: Plan, places: list[Place]) -> list[NodeMap]:
    """Return the nodes by name, those that get something or have GPUs first."""
    moves = {move.workload: move.target for wave in plan.waves for move in wave.moves}
    settings = {setting.node: setting for setting in plan.settings}
    assigned: dict[str, list[Assignment]] = {}
    for one in plan.assignments:
        assigned.setdefault(one.node, []).append(one)
    before: dict[str, list] = {}
    after: dict[str, list] = {}
    for run in capacity.running:
        before.setdefault(run.node, []).append(run)
        after.setdefault(moves.get(run.name, run.node), []).append(run)
    here: dict[str, list[Place]] = {}
    for place in places:
        here.setdefault(place.node, []).append(place)
    maps = []
    for node in capacity.nodes:
        was, stays, comes = before.get(node.name, []), after.get(node.name, []), assigned.get(node.name, [])
        setting = settings.get(node.name)
        maps.append(NodeMap(
            node.name, node.zone, node.gpu_mode, setting.gpu_mode if setting and setting.gpu_mode else node.gpu_mode,
            _share(node, "cpu_milli", was), _share(node, "cpu_milli", [*stays, *comes]), _share(node, "memory_bytes", was),
            _share(node, "memory_bytes", [*stays, *comes]), sorted(run.name for run in was), here.get(node.name, []),
            [_gpu_map(gpu, node, comes, setting.mig.get(gpu.id) if setting else None, capacity) for gpu in node.gpus]))
    return sorted(maps, key=lambda one: (not one.after, not one.gpus, one.name))


def _share(node: Node, resource: str, users) -> int:
    total = node.allocatable.get(resource, 0)
    return sum(user.requests.get(resource, 0) for user in users) * 1000 // total if total else 0


def _gpu_map(gpu: Gpu, node: Node, comes: list[Assignment], layout: list[str] | None, capacity: Capacity) -> GpuMap:
    geometry = mig.geometry(gpu.product, gpu.memory_bytes)
    users = [(use, label(one.workload, one.replica), "model" if one.kind == "model" else "vm") for one in comes for use in one.devices if use.gpu == gpu.id]
    cut = bool(gpu.mig) or any(use.profile for use, _owner, _kind in users) or any("@" in one for one in layout or [])
    if not geometry or not cut:
        held = [name for name in gpu.used_by if name] or (["in use"] if gpu.used_slots else [])
        was = [Piece(0, 1, "", ", ".join(held), "other" if held else "free")]
        now = [Piece(0, 1, _share_label(use), owner, kind) for use, owner, kind in users][:1] or was
        return GpuMap(gpu.id, gpu.product, gpu.memory_bytes, 1, was, now)
    taken = _holders(gpu, node, capacity)
    existing = [(profile, start) for profile, starts in gpu.mig.items() for start in starts]
    was = [_piece(geometry, profile, start, taken.get((profile, start), "in use" if start in gpu.used_slots else ""), "other")
           for profile, start in existing]
    planned = [tuple(one.split("@")) for one in layout] if layout else [(profile, str(start)) for profile, start in existing]
    owners = {(use.profile, use.slot): (owner, kind) for use, owner, kind in users}
    keys = {(profile, int(start)) for profile, start in planned} | {key for key in owners if key[1] is not None}
    now = []
    for profile, start in sorted(keys, key=lambda key: key[1]):
        owner, kind = owners.get((profile, start), (taken.get((profile, start), ""), "other"))
        now.append(_piece(geometry, profile, start, owner, kind))
    return GpuMap(gpu.id, gpu.product, gpu.memory_bytes, geometry.memory_slices, sorted(was, key=lambda piece: piece.start), now)


def _share_label(use):
    return use.profile or ("" if use.milli == 1000 else f"{use.milli / 10:g} %")


def _holders(gpu, node, capacity):
    found = {}
    for run in capacity.running:
        if run.node != node.name:
            continue
        for device in run.devices:
            name, _unused, instance = device.partition("/")
            profile, _unused, start = instance.partition("@")
            if name == gpu.id and start.isdigit():
                found[profile, int(start)] = run.name
    return found


def _piece(geometry, profile, start, owner, kind):
    known = geometry.profiles.get(profile)
    return Piece(start, known.memory_slices if known else 1, profile, owner, kind if owner else "free")
