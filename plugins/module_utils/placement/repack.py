# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The batch engine on a placement: workloads that it can express are packed anew, thousands of rounds a second, to gain at the first level.

It can express a workload with one shape, no rule, gang, NUMA cell or preference, that does not run yet and wants no GPU, whole GPUs or a
share of one. Everything else stays where it is, and takes its room.
"""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Gpu
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu.names import KINDS
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.gpus import Grant, Use
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import ItemType
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import Place, State

ROUNDS = 300_000
MOST_CLASSES = 62
WHOLE = ("full", "passthrough")


def available() -> bool:
    """Say whether numba is there: without it the batch engine is slower than the search."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def repack(state: State) -> State | None:
    """Return a placement that may be better at the policy's first level, or None where the batch engine has nothing to pack."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.placement import batch

    problem = state.problem
    kinds = [number for number, kind in enumerate(problem.types) if _expressible(problem, kind)]
    if not any(item not in state.places for kind in kinds for item in problem.types[kind].items):
        return None
    rest = State(problem)
    chosen = set(kinds)
    for item, place in state.places.items():
        if problem.items[item].type not in chosen:
            rest.put(item, place)
    fleet = _Fleet(rest, kinds)
    if len(fleet.classes) > MOST_CLASSES:
        return None
    policy = problem.demand.policy
    packing = batch.repack(*fleet.arrays(state), policy.objectives[0], policy.iterations and ROUNDS, policy.seed)
    waiting = {number: iter(problem.types[kind].items) for number, kind in enumerate(kinds)}
    for node, count in enumerate(packing.count):
        for kind, mask in zip(packing.kinds[node, :count], packing.devices[node, :count], strict=True):
            rest.put(next(waiting[int(kind)]), fleet.place(int(kind), node, int(mask)))
    return rest


def _expressible(problem, kind: ItemType) -> bool:
    gpu = kind.options[0].gpu
    return (len(kind.options) == 1 and not (kind.must or kind.rules or kind.wishes or kind.options[0].cell or kind.gang >= 0)
            and all(problem.items[item].current < 0 for item in kind.items)
            and (gpu is None or gpu.kind in WHOLE or (gpu.kind == "shared" and gpu.count == 1)))


class _Fleet:
    """Nodes by number with their free GPUs, all alike; a class of nodes is the set of types (by position) that it may run."""

    def __init__(self, rest: State, kinds: list[int]):
        self.rest, self.problem, self.kinds = rest, rest.problem, [rest.problem.types[kind] for kind in kinds]
        cpu = self.problem.resources.index("cpu_milli") if "cpu_milli" in self.problem.resources else 0
        self.resources = sorted(range(len(self.problem.resources)), key=lambda resource: resource != cpu)
        self.gpus = [self._usable(node) for node in range(len(self.problem.nodes))]
        self.classes: dict[tuple, int] = {}
        known: dict[tuple, int] = {}
        families = {id(kind.eligible): kind.nodes for kind in self.kinds}
        self.class_of = []
        for node in range(len(self.problem.nodes)):
            gpus = rest.gpus[node]
            sample = gpus.devices[self.gpus[node][0]].gpu if self.gpus[node] else Gpu("")
            key = (tuple(node in nodes for nodes in families.values()), gpus.mode, sample.product, sample.memory_bytes, sample.resource,
                   bool(self.gpus[node]))
            if key not in known:
                allowed = tuple(node in kind.nodes and self._serves(kind, node) for kind in self.kinds)
                known[key] = self.classes.setdefault(allowed, len(self.classes))
            self.class_of.append(known[key])

    def _usable(self, node):
        """Return the untouched GPUs of a node if they are alike and none takes others with it, else none."""
        gpus = self.rest.gpus[node]
        free = [index for index, device in enumerate(gpus.devices) if device.untouched and not device.existing]
        alike = {(device.product, device.memory_bytes, device.resource) for device in (gpus.devices[index].gpu for index in free)}
        return free if len(alike) == 1 and not any(gpus.companions) else []

    def _serves(self, kind, node):
        gpu, gpus = kind.options[0].gpu, self.rest.gpus[node]
        return gpu is None or (bool(self.gpus[node]) and gpu.kind in KINDS.get(gpus.mode, ()) and gpus.devices[self.gpus[node][0]].serves(gpu))

    def arrays(self, state):
        """Return nodes, types, the present packing and the weight of each type, as the batch engine has them."""
        import numpy

        from ansible_collections.tandem.hybrid.plugins.module_utils.placement.batch import Packing
        nodes = numpy.array([[len(self.gpus[node]), self.class_of[node], *(max(0, self.rest.free[node][one]) for one in self.resources)]
                             for node in range(len(self.class_of))])
        types = numpy.array([self._row(number, kind) for number, kind in enumerate(self.kinds)])
        index = {id(kind): number for number, kind in enumerate(self.kinds)}
        here = [[(index[id(kind)], place) for item in sorted(items) if id(kind := self.problem.types[self.problem.items[item].type]) in index
                 for place in [state.places[item]]] for items in state.on]
        most = max(map(len, here))
        start = Packing(numpy.zeros(len(nodes), numpy.int64), *(numpy.zeros((len(nodes), most), numpy.int64) for _unused in range(2)),
                        numpy.array([sum(item not in state.places for item in kind.items) for kind in self.kinds]))
        left = []
        for node, entries in enumerate(here):
            for number, place in entries:
                used = [use.device for use in place.grant.uses] if place.grant else []
                if not set(used) <= set(self.gpus[node]):
                    left.append(number)
                    continue
                at = start.count[node]
                start.kinds[node, at] = number
                start.devices[node, at] = sum(1 << self.gpus[node].index(device) for device in used)
                start.count[node] += 1
        for number in left:
            start.left[number] += 1
        return nodes, types, start, numpy.array([kind.weight for kind in self.kinds])

    def _row(self, number, kind):
        gpu, requests = kind.options[0].gpu, dict(kind.options[0].requests)
        mask = sum(1 << at for allowed, at in self.classes.items() if allowed[number])
        share = (0, 0) if gpu is None else (gpu.count, 1000 if gpu.kind in WHOLE else gpu.milli)
        return [*share, mask, *(requests.get(resource, 0) for resource in self.resources)]

    def place(self, number, node, mask):
        """Return the place of a type on a node with the GPUs of a mask."""
        gpu = self.kinds[number].options[0].gpu
        if gpu is None:
            return Place(node, 0)
        milli = 1000 if gpu.kind in WHOLE else gpu.milli
        uses = tuple(Use(device, milli=milli) for at, device in enumerate(self.gpus[node]) if mask >> at & 1)
        return Place(node, 0, -1, Grant(self.rest.gpus[node].mode, uses))
