# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The GPUs of one node while a plan is made: mode, MIG layouts and shares, taken and given back by grants."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Gpu, Node
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import GpuRequest
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu import mig
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu.names import KINDS, matches

MODE_CHANGE_COST = 5
LAYOUT_CHANGE_COST = 1


class Use(NamedTuple):
    """One device of a grant: index on the node, MIG or vGPU profile, start slot, thousandths."""

    device: int
    profile: str = ""
    slot: int | None = None
    milli: int = 1000


class Grant(NamedTuple):
    """The devices for one workload and the mode that the node then has; companions are blocked without being used."""

    mode: str
    uses: tuple[Use, ...]
    companions: tuple[int, ...] = ()


@dataclass
class Device:
    """One GPU: what runs on it for good (busy, milli, whole), what idles (existing), and what this plan takes of it."""

    gpu: Gpu
    geometry: mig.Geometry | None
    idle: bool
    existing: frozenset = frozenset()
    busy: frozenset = frozenset()
    whole: int = 0
    milli: int = 0
    vgpu: str = ""
    vgpus: int = 0
    planned: set = field(default_factory=set)
    base: tuple[int, int, int] = (0, 0, 0)
    served: dict[GpuRequest, bool] = field(default_factory=dict)

    def serves(self, request: GpuRequest) -> bool:
        """Say whether product and size are right; remembered, as every construction asks many times."""
        if request not in self.served:
            self.served[request] = matches(request, self.gpu)
        return self.served[request]

    @property
    def untouched(self) -> bool:
        return not (self.whole or self.milli or self.vgpus or self.planned or self.busy)

    @property
    def relaid(self) -> bool:
        return (bool(self.existing) and self.whole > self.base[0]) or not self.planned <= self.existing

    @property
    def partial(self) -> bool:
        """Whether this plan is the first to use a part of the device."""
        return self.fresh and bool(self.planned or self.milli or self.vgpus)

    @property
    def fresh(self) -> bool:
        """Whether nothing that stays uses a part of the device."""
        return not (self.base[1] or self.base[2] or self.busy)


class NodeGpus:
    """Grants devices of one node; `alterable` allows another mode (no GPU user now) and other MIG layouts of idle devices."""

    def __init__(self, node: Node, alterable: bool, adopted: frozenset[str] = frozenset(), released: frozenset[str] = frozenset()):
        self.mode = self.base_mode = node.gpu_mode
        self.alterable = alterable
        self.modes = [node.gpu_mode]
        self.devices = [device(gpu, node.gpu_mode, adopted, released) for gpu in node.gpus]
        if alterable and all(item.idle for item in self.devices):
            self.modes += [mode for mode in node.gpu_modes_possible if mode not in (node.gpu_mode, "mig-single")]
        self.granted = 0
        ids = {gpu.id: index for index, gpu in enumerate(node.gpus)}
        self.companions = [tuple(sorted(ids[other] for other in gpu.companions if other in ids)) for gpu in node.gpus]

    @property
    def cost(self) -> int:
        """Return what the changes of this node's GPUs cost."""
        if self.granted and self.mode != self.base_mode:
            return MODE_CHANGE_COST + LAYOUT_CHANGE_COST * sum(bool(device.planned) for device in self.devices)
        return LAYOUT_CHANGE_COST * sum(device.relaid for device in self.devices)

    @property
    def partial(self) -> int:
        return sum(device.partial for device in self.devices)

    def find(self, request: GpuRequest, frozen: bool = False) -> Grant | None:
        """Return the cheapest grant for a request, or None; `frozen` takes modes and layouts as they are now."""
        for mode in [self.mode] if self.granted or frozen else self.modes:
            if request.kind in KINDS.get(mode, ()):
                grant = self._find(mode, request, self.alterable and not frozen)
                if grant is not None:
                    return grant
        return None

    def take(self, grant: Grant) -> None:
        self.granted += 1
        self.mode = grant.mode
        self._apply(grant, 1)

    def give(self, grant: Grant) -> None:
        self.granted -= 1
        self._apply(grant, -1)
        if not self.granted:
            self.mode = self.base_mode

    def _apply(self, grant, sign):
        for index in grant.companions:
            self.devices[index].whole += sign
        for use in grant.uses:
            device = self.devices[use.device]
            if use.slot is not None:
                (device.planned.add if sign > 0 else device.planned.discard)((use.profile, use.slot))
            elif use.profile:
                device.vgpus += sign
                device.vgpu = use.profile if device.vgpus else ""
            elif use.milli < 1000:
                device.milli += sign * use.milli
            else:
                device.whole += sign

    def _find(self, mode, request, alterable):
        usable = [index for index, device in enumerate(self.devices) if device.serves(request)]
        changed = mode != self.base_mode
        if request.kind in ("full", "passthrough"):
            return self._whole(mode, request, usable, changed, alterable)
        uses: list[Use] = []
        for _unused in range(request.count):
            if request.kind == "mig":
                use = self._slice(request, usable, uses, changed, alterable)
            else:
                use = (self._share if request.kind == "shared" else self._vgpu)(request, usable, uses)
            if use is None:
                return None
            uses.append(use)
        return Grant(mode, tuple(uses))

    def _whole(self, mode, request, usable, changed, alterable):
        free = [index for index in usable if self.devices[index].untouched
                and (changed or not self.devices[index].existing or (alterable and self.devices[index].idle))]
        groups: dict[object, list[int]] = {}
        for index in free:
            groups.setdefault(self.devices[index].gpu.numa, []).append(index)
        fitting = [group for group in groups.values() if len(group) >= request.count]
        pool = min(fitting, key=len) if fitting else free
        pool = sorted(pool, key=lambda index: (bool(self.devices[index].existing) and not changed, len(self.companions[index]), index))
        taken: list[int] = []
        bound: set[int] = set()
        for index in pool:
            mates = self.companions[index] if request.kind == "passthrough" else ()
            if len(taken) < request.count and all(self.devices[mate].untouched for mate in mates):
                taken.append(index)
                bound.update(mates)
        if len(taken) < request.count:
            return None
        return Grant(mode, tuple(Use(index) for index in taken), tuple(sorted(bound - set(taken))))

    def _slice(self, request, usable, uses, changed, alterable):
        best = None
        for index in usable:
            device = self.devices[index]
            if device.whole or device.milli or device.vgpus:
                continue
            planned = frozenset(device.planned) | {(use.profile, use.slot) for use in uses if use.device == index}
            existing = frozenset() if changed else device.existing
            idle = sorted(slot for name, slot in existing - planned if name == request.profile)
            fixed = not changed and (planned <= existing)
            if fixed and idle:
                rank = (0, not (planned or device.busy), index, idle[0])
            elif alterable and (changed or device.idle) and device.geometry is not None:
                slot = mig.best_start(device.geometry, planned, request.profile)
                if slot is None:
                    continue
                rank = (1 if fixed else 0, not planned, index, slot)
            else:
                continue
            if best is None or rank < best:
                best = rank
        return None if best is None else Use(best[2], request.profile, best[3])

    def _share(self, request, usable, uses):
        best = None
        taken = {use.device for use in uses}
        for index in usable:
            device = self.devices[index]
            if index not in taken and not device.whole and device.milli + request.milli <= 1000:
                if request.milli == 1000 and device.milli:
                    continue
                rank = (1000 - device.milli, index)
                best = rank if best is None or rank < best else best
        return None if best is None else Use(best[1], milli=request.milli)

    def _vgpu(self, request, usable, uses):
        best = None
        for index in usable:
            device = self.devices[index]
            here = device.vgpus + sum(use.device == index for use in uses)
            if device.whole or (device.vgpus and device.vgpu != request.profile) or here >= device.gpu.vgpu[request.profile]:
                continue
            rank = (not here, index)
            best = rank if best is None or rank < best else best
        return None if best is None else Use(best[1], request.profile)


def device(gpu: Gpu, mode: str, adopted: frozenset[str], released: frozenset[str]) -> Device:
    """Return the device without the workloads that this plan places anew (`adopted` by name, `released` by device and slot)."""
    existing = {(profile, slot) for profile, slots in gpu.mig.items() for slot in slots}
    holders = [name for name in gpu.used_by if name not in adopted]
    gone = {item for item in existing if f"{gpu.id}/{item[0]}@{item[1]}" in released}
    busy = frozenset(item for item in existing - gone if item[1] in gpu.used_slots) if holders or not gpu.used_by else frozenset()
    held = bool(holders) and not existing
    whole = int(held and not gpu.used_milli and mode != "vm-vgpu")
    vgpus = len(holders) if held and mode == "vm-vgpu" else 0
    idle = not (gpu.used_by or gpu.used_slots or gpu.used_milli)
    milli = gpu.used_milli if holders or not gpu.used_by else 0
    return Device(gpu, mig.geometry(gpu.product, gpu.memory_bytes), idle, frozenset(existing) - busy, busy, whole, milli,
                  min(gpu.vgpu, default="") if vgpus else "", vgpus, base=(whole, milli, vgpus))
