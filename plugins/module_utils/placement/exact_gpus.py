# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPUs in the exact model: node modes, MIG layouts and device uses are chosen together with the placement."""
from __future__ import annotations

from collections import Counter, defaultdict

from ansible_collections.tandem.hybrid.plugins.module_utils.gpu import mig
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu.names import KINDS
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.gpus import LAYOUT_CHANGE_COST, MODE_CHANGE_COST, Grant, Use

WHOLE = ("full", "passthrough")


class GpuModel:
    """Variables of all nodes with GPUs that a request could use: y[node, device, request] counts uses of a device."""

    def __init__(self, built):
        self.built, self.model = built, built.model
        self.y, self.modes, self.layouts = {}, {}, {}
        costs, partials = [], []
        for node, gpus in enumerate(built.reference.gpus):
            wanted = defaultdict(list)
            for kind, option, variable in built.by_node.get(node, ()):
                request = built.problem.types[kind].options[option].gpu
                if request is not None:
                    wanted[request].append(variable)
            if wanted:
                self._node(node, gpus, wanted, costs, partials)
        self.cost, self.partial = sum(costs), sum(partials)

    def variables(self):
        yield from self.y.values()
        for flags in self.modes.values():
            yield from flags.values()
        for entries in self.layouts.values():
            for flag, _instances, _new in entries:
                yield flag

    def _node(self, node, gpus, wanted, costs, partials):
        flags = {mode: self.model.NewBoolVar("") for mode in gpus.modes}
        self.modes[node] = flags
        self.model.AddExactlyOne(flags.values())
        base = flags[gpus.base_mode]
        for mode, flag in flags.items():
            if mode != gpus.base_mode:
                costs.append(MODE_CHANGE_COST * flag)
        for index, device in enumerate(gpus.devices):
            self._device(node, index, device, gpus, wanted, base, costs, partials)
        for request, variables in wanted.items():
            uses = [self.y[node, index, request] for index in range(len(gpus.devices)) if (node, index, request) in self.y]
            self.model.Add(sum(uses) == request.count * sum(variables))
            allowed = [flag for mode, flag in flags.items() if request.kind in KINDS.get(mode, ())]
            for use in uses:
                self.model.Add(use <= 8 * sum(allowed))
            if request.kind == "shared" and request.count > 1:
                for use in uses:
                    self.model.Add(use <= sum(variables))
        for index, mates in enumerate(gpus.companions):
            for mate in mates:
                for request in wanted:
                    if request.kind == "passthrough" and (node, index, request) in self.y:
                        others = [self.y[node, mate, other] for other in wanted if (node, mate, other) in self.y
                                  and (other != request or request.count == 1)]
                        self.model.Add(sum(others) == 0).OnlyEnforceIf(self._flag(self.y[node, index, request]))

    def _flag(self, variable):
        flag = self.model.NewBoolVar("")
        self.model.Add(variable == 0).OnlyEnforceIf(flag.Not())
        return flag

    def _device(self, node, index, device, gpus, wanted, base, costs, partials):
        served = [request for request in wanted if device.serves(request)]
        for request in served:
            limit = 1 if request.kind in WHOLE else {"mig": 8, "shared": 1000 // request.milli, "vgpu": 64}[request.kind]
            self.y[node, index, request] = self.model.NewIntVar(0, limit, "")
        use = {request: self.y[node, index, request] for request in served}
        whole = sum(use[request] for request in served if request.kind in WHOLE)
        slices = self._slices(node, index, device, gpus, use, base, costs)
        shared = sum(request.milli * use[request] for request in served if request.kind == "shared")
        vgpu = self._vgpu(device, use)
        if not device.untouched:
            self.model.Add(whole == 0)
        self.model.Add(whole + sum(slices) + sum(vgpu) <= 1)
        if not isinstance(shared, int):
            room = 0 if device.whole else 1000 - device.milli
            self.model.Add(shared <= room)
            self.model.Add(shared <= 1000 - 1000 * whole)
        if device.existing and not isinstance(whole, int):
            if gpus.alterable and device.idle:
                relaid = self.model.NewBoolVar("")
                self.model.Add(relaid >= whole + base - 1)
                costs.append(LAYOUT_CHANGE_COST * relaid)
            else:
                self.model.Add(whole + base <= 1)
        fresh = not (device.base[1] or device.base[2] or device.busy)
        parts = [use[request] for request in served if request.kind in ("mig", "vgpu") or (request.kind == "shared" and request.milli < 1000)]
        if fresh and parts:
            touched = self.model.NewBoolVar("")
            for part in parts:
                self.model.Add(part == 0).OnlyEnforceIf(touched.Not())
            partials.append(touched)

    def _slices(self, node, index, device, gpus, use, base, costs):
        wanted = {request.profile for request in use if request.kind == "mig"}
        if not wanted:
            return []
        entries = []
        if device.existing and not device.whole:
            keep = self.model.NewBoolVar("")
            self.model.Add(keep <= base)
            entries.append((keep, sorted(device.existing), False))
        if gpus.alterable and device.idle and device.geometry is not None:
            for layout in _layouts(device.geometry, wanted):
                flag = self.model.NewBoolVar("")
                entries.append((flag, layout, True))
                costs.append(LAYOUT_CHANGE_COST * flag)
        for profile in wanted:
            uses = sum(variable for request, variable in use.items() if request.kind == "mig" and request.profile == profile)
            self.model.Add(uses <= sum(Counter(name for name, _unused in layout)[profile] * flag for flag, layout, _unused in entries))
        self.layouts[node, index] = entries
        return [flag for flag, _unused, _unused in entries]

    def _vgpu(self, device, use):
        profiles = {request.profile for request in use if request.kind == "vgpu"}
        flags = []
        for profile in sorted(profiles):
            flag = self.model.NewBoolVar("")
            room = device.gpu.vgpu.get(profile, 0) - device.vgpus if device.vgpu in ("", profile) and not device.whole else 0
            self.model.Add(sum(variable for request, variable in use.items() if request.kind == "vgpu" and request.profile == profile)
                           <= max(0, room) * flag)
            flags.append(flag)
        return flags

    def grants(self, value):
        """Return a function that hands out the grants of the solution, one per call of (node, request)."""
        free = {}
        for (node, index), entries in self.layouts.items():
            chosen = next((layout for flag, layout, _unused in entries if value(flag)), [])
            free[node, index] = sorted(chosen, key=lambda instance: instance[1])
        left = {key: value(variable) for key, variable in self.y.items()}

        def grant(node, request):
            gpus = self.built.reference.gpus[node]
            mode = next(mode for mode, flag in self.modes[node].items() if value(flag))
            uses, bound = [], set()
            for _unused in range(request.count):
                options = [index for index in range(len(gpus.devices)) if left.get((node, index, request), 0)
                           and not (request.kind == "shared" and any(use.device == index for use in uses))]
                index = max(options, key=lambda index: (left[node, index, request], -index))
                left[node, index, request] -= 1
                if request.kind == "mig":
                    instance = next(one for one in free[node, index] if one[0] == request.profile)
                    free[node, index].remove(instance)
                    uses.append(Use(index, *instance))
                else:
                    uses.append(Use(index, request.profile if request.kind == "vgpu" else "",
                                    milli=request.milli if request.kind == "shared" else 1000))
                if request.kind == "passthrough":
                    bound.update(gpus.companions[index])
            return Grant(mode, tuple(uses), tuple(sorted(bound - {use.device for use in uses})))
        return grant


def _layouts(geometry, wanted):
    """Return one layout per Pareto-maximal count of the wanted profiles."""
    found = {}
    for layout in mig.layouts(geometry):
        kept = tuple(instance for instance in layout if instance[0] in wanted)
        found.setdefault(tuple(sorted(Counter(name for name, _unused in kept).items())), list(kept))
    counts = [Counter(dict(key)) for key in found]
    return [layout for key, layout in sorted(found.items())
            if not any(Counter(dict(key)) != other and all(other[name] >= count for name, count in key) for other in counts)]
