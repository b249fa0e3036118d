# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capacity and Demand as a problem in integers: identical replicas grouped into types, nodes with what is free of them, rules by domain."""
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity, Node, Running
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import (
    Demand,
    GpuRequest,
    Shape,
    Workload,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import masks
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.gpus import NodeGpus
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.validate import validate

MAX_PRIORITY = 1_000_000
# Moves that a restart counts as, as it interrupts the service.
RESTART_COST = 3


@dataclass(frozen=True)
class Option:
    """One shape of a type: its requests by resource index, what one NUMA cell has to hold, and its GPUs."""

    name: str
    requests: tuple[tuple[int, int], ...]
    cell: tuple[tuple[str, int], ...] = ()
    gpu: GpuRequest | None = None
    cost: int = 0


@dataclass
class ItemType:
    """Replicas that are alike in everything but their present node; `wishes` is the missed preference by node.

    Types of one `family` differ only in required rules that keep workloads apart.
    """

    options: tuple[Option, ...]
    eligible: tuple[int, ...]
    rules: tuple[int, ...]
    weight: int
    priority: int
    restart: bool
    must: bool = False
    gang: int = -1
    wishes: dict[int, int] = field(default_factory=dict)
    items: list[int] = field(default_factory=list)
    size: float = 0.0

    nodes: frozenset[int] = frozenset()
    family: int = -1


@dataclass(frozen=True)
class Item:
    """One replica, or one running workload that may move; `current` is the index of its present node or -1, `held` what it takes there,
    `live` whether it moves without a restart."""

    workload: str
    replica: int
    type: int
    current: int = -1
    move_cost: int = 0
    running: Running | None = None
    held: tuple[tuple[int, int], ...] = ()
    live: bool = True


@dataclass(frozen=True)
class RuleInfo:
    """A rule over types: kind is apart, together, spread or license; `domains` gives each node's domain or -1 for none."""

    name: str
    kind: str
    domains: tuple[int, ...]
    limit: int = 1
    required: bool = True


@dataclass
class NodeInfo:
    """A node without the workloads that are placed anew: what is free by resource index, NUMA cells, whether something stays on it."""

    node: Node
    free: list[int]
    cells: list[dict[str, int]]
    occupied: bool

    @property
    def name(self) -> str:
        return self.node.name


@dataclass
class Problem:
    """Everything the search needs; `gpus()` returns fresh GPU states of all nodes."""

    capacity: Capacity
    demand: Demand
    resources: list[str]
    nodes: list[NodeInfo]
    types: list[ItemType]
    items: list[Item]
    rules: list[RuleInfo]
    adopted: frozenset[str]
    released: frozenset[str]

    def gpus(self) -> list[NodeGpus]:
        alterable = self.demand.policy.allow_mode_changes
        return [NodeGpus(info.node, alterable, self.adopted, self.released) for info in self.nodes]


def normalise(capacity: Capacity, demand: Demand, fixed: bool = False) -> Problem:
    """Return the problem; raises PlacementError for a contradiction. With `fixed` nothing that runs may move."""
    validate(capacity, demand)
    nodes = sorted(capacity.nodes, key=lambda node: node.name)
    index = {node.name: position for position, node in enumerate(nodes)}
    adopted = find_adopted(capacity, demand)
    resources = sorted({name for node in nodes for name in node.allocatable} | {"pods"})
    taken = {id(running) for runs in adopted.values() for running in runs}
    movable = [] if fixed else [running for running in capacity.running
                                if running.move != "fixed" and id(running) not in taken and not running.devices]
    free_ids = taken | {id(running) for running in movable}
    infos = [_node(node, resources, demand) for node in nodes]
    for running in capacity.running:
        if id(running) not in free_ids:
            info = infos[index[running.node]]
            info.occupied = True
            for position, resource in enumerate(resources):
                info.free[position] -= running.requests.get(resource, int(resource == "pods" and "pods" in info.node.allocatable))
    problem = Problem(capacity, demand, resources, infos, [], [], [],
                      frozenset(name for runs in adopted.values() for running in runs
                                for name in (running.name, running.owner, f"{running.namespace}/{running.name}") if name),
                      frozenset(device for runs in adopted.values() for running in runs for device in running.devices))
    _rules(problem)
    _items(problem, adopted, movable, fixed)
    total = [max(1, sum(info.free[resource] for info in infos)) for resource in range(len(resources))]
    for kind in problem.types:
        kind.size = _size(kind.options[0], total, len(infos))
    return problem


def _size(option: Option, total: list[int], nodes: int) -> float:
    """Return the largest share of a mean node that an option takes, GPUs counted as whole nodes' worth."""
    share = max((quantity * nodes / total[resource] for resource, quantity in option.requests), default=0.0)
    return share + (option.gpu.count * option.gpu.milli / 1000 if option.gpu else 0)


def find_adopted(capacity, demand):
    """Return what already runs of each workload of the demand, matched by namespace and owner or name."""
    wanted = {(workload.namespace, workload.name): workload for workload in demand.workloads}
    found: dict[str, list[Running]] = {}
    for running in sorted(capacity.running, key=lambda running: (running.namespace, running.name)):
        workload = wanted.get((running.namespace, running.owner)) or wanted.get((running.namespace, running.name))
        if workload is not None and len(found.setdefault(workload.name, [])) < workload.replicas:
            found[workload.name].append(running)
    return found


def _node(node, resources, demand):
    reserve = demand.policy.reserve_percent
    free = [node.allocatable.get(name, 0) * (100 - reserve.get(name, 0)) // 100 for name in resources]
    if "pods" not in node.allocatable:
        free[resources.index("pods")] = 1 << 30
    cells = [{"cpu_milli": cell.cpu_milli, "memory_bytes": cell.memory_bytes, **cell.hugepages} for cell in node.numa]
    return NodeInfo(node, free, cells, occupied=False)


def _rules(problem):
    nodes = [info.node for info in problem.nodes]
    domains = {key: _domains(nodes, key) for key in {rule.topology_key for rule in [*problem.demand.affinities, *problem.demand.spreads]}}
    for rule in problem.demand.affinities:
        problem.rules.append(RuleInfo(rule.name, "apart" if rule.apart else "together", domains[rule.topology_key], required=rule.required))
    for rule in problem.demand.spreads:
        problem.rules.append(RuleInfo(rule.name, "spread", domains[rule.topology_key], rule.max_skew))
    for rule in problem.demand.licenses:
        hosts = tuple(position if not rule.hosts or node.name in rule.hosts else -1 for position, node in enumerate(nodes))
        problem.rules.append(RuleInfo(rule.name, "license", hosts, rule.max_hosts))


def _domains(nodes, key):
    values = [masks.label(node, key) for node in nodes]
    order = {value: position for position, value in enumerate(sorted({value for value in values if value is not None}))}
    return tuple(order.get(value, -1) for value in values)


class _Types:
    """Adds items to a problem, each to its type. Equal sets of nodes and of wishes are kept once: there are many types and many nodes."""

    def __init__(self, problem: Problem):
        self.problem, self.index = problem, {info.name: position for position, info in enumerate(problem.nodes)}
        self.types: dict[tuple, int] = {}
        self.families: dict[tuple, int] = {}
        self.kept: dict[tuple, tuple[tuple[int, ...], dict[int, int]]] = {}
        self.sets: dict[int, frozenset[int]] = {}
        self.static: dict[tuple, tuple[tuple[int, ...], dict[int, int]]] = {}
        self.volumes = {f"{volume.namespace}/{volume.claim}": volume for volume in problem.capacity.volumes}
        self.cordoned = {info.name for info in problem.nodes if info.node.unschedulable}
        self.apart = {position for position, rule in enumerate(problem.rules) if rule.kind == "apart" and rule.required}

    def add(self, kind: ItemType, item: Item) -> None:
        kind.nodes = self.sets[id(kind.eligible)]
        alike = (kind.options, id(kind.eligible), kind.weight, kind.priority, kind.restart, kind.must, kind.gang, id(kind.wishes))
        if (alike, kind.rules) not in self.types:
            family = alike, tuple(rule for rule in kind.rules if rule not in self.apart)
            kind.family = self.families.setdefault(family, len(self.families))
            self.types[alike, kind.rules] = len(self.problem.types)
            self.problem.types.append(kind)
        number = self.types[alike, kind.rules]
        self.problem.types[number].items.append(len(self.problem.items))
        self.problem.items.append(replace(item, type=number))

    def keep(self, eligible: tuple[int, ...], wishes: dict[int, int] | None = None) -> tuple[tuple[int, ...], dict[int, int]]:
        """Return the one copy of a set of nodes, and of the wishes missed there."""
        eligible, _unused = self.kept.setdefault(("nodes", eligible), (eligible, {}))
        if id(eligible) not in self.sets:
            self.sets[id(eligible)] = frozenset(eligible)
        _unused, wishes = self.kept.setdefault(("wishes", *sorted((wishes or {}).items())), ((), wishes or {}))
        return eligible, wishes

    def masks(self, workload: Workload) -> tuple[tuple[int, ...], dict[int, int]]:
        """Return the nodes that may run a workload, and the weight of the missed wishes by node."""
        key = (workload.kind, *map(repr, (workload.node_selector, workload.required, workload.preferred, workload.tolerations, workload.zones)),
               tuple(workload.volumes), workload.namespace if workload.volumes else "",
               workload.current_node if workload.current_node in self.cordoned else "")
        if key not in self.static:
            nodes = self.problem.nodes
            eligible = tuple(position for position, info in enumerate(nodes)
                             if next(masks.blockers(workload, info.node, self.volumes), None) is None)
            self.static[key] = self.keep(eligible, {position: missed for position in eligible
                                                    if (missed := masks.wishes(workload, nodes[position].node))})
        return self.static[key]

    def movable(self, running: Running) -> tuple[tuple[int, ...], dict[int, int]]:
        """Return the nodes to which a running workload may move, and its own; it has no wishes."""
        here = self.index[running.node]
        key = tuple(running.eligible), running.kind == "VM"
        if key not in self.static:
            eligible = tuple(sorted(self.index[name] for name in running.eligible if name in self.index)) or tuple(
                position for position, info in enumerate(self.problem.nodes)
                if info.node.ready and not info.node.unschedulable and not info.node.taints and (info.node.runs_vms or running.kind != "VM"))
            self.static[key] = self.keep(eligible)
        eligible, wishes = self.static[key]
        return (eligible, wishes) if here in self.sets[id(eligible)] else self.keep(tuple(sorted((*eligible, here))))


def _items(problem, adopted, movable, fixed):
    types, concerned = _Types(problem), _concerned(problem)
    for number, workload in enumerate(sorted(problem.demand.workloads, key=lambda workload: workload.name)):
        runs = adopted.get(workload.name, [])
        eligible, wishes = types.masks(workload)
        rules = tuple(sorted({*concerned[workload.name], *(rule for product in workload.products for rule in concerned[None, product])}))
        options = tuple(_option(workload, shape, problem) for shape in workload.shapes)
        for replica in range(workload.replicas):
            current = types.index[runs[replica].node] if replica < len(runs) else types.index.get(workload.current_node, -1)
            restarts = problem.demand.policy.allow_restarts and workload.restart
            stuck = current >= 0 and (fixed or not (workload.live_migratable or restarts)) and replica < len(runs)
            cost = 1 if workload.live_migratable else RESTART_COST
            gang = number if workload.gang and workload.replicas > 1 else -1
            nodes, missed = types.keep((current,), {current: wishes[current]} if current in wishes else None) if stuck else (eligible, wishes)
            held = _requests(runs[replica].requests, problem.resources) if replica < len(runs) else ()
            # What runs keeps the shape in which it runs, if the demand still has it.
            same = tuple(option for option in options if option.requests == held)
            types.add(ItemType(same or options, nodes, rules, 1 + min(max(workload.priority, 0), MAX_PRIORITY), workload.priority,
                               workload.restart, gang=gang, wishes=missed),
                      Item(workload.name, replica, 0, current, cost * (runs[replica].move_cost if replica < len(runs) else 1),
                           held=held, live=workload.live_migratable))
    for running in sorted(movable, key=lambda running: (running.namespace, running.name)):
        option = Option("running", _requests(running.requests, problem.resources))
        eligible, wishes = types.movable(running)
        types.add(ItemType((option,), eligible, (), 0, running.priority, True, must=True, wishes=wishes),
                  Item(f"{running.namespace}/{running.name}", 0, 0, types.index[running.node], running.move_cost, running, option.requests,
                       running.move == "live"))


def _option(workload: Workload, shape: Shape, problem: Problem) -> Option:
    requests = dict(shape.requests)
    percent = problem.demand.policy.vm_cpu_overcommit_percent
    if workload.kind == "vm" and not workload.dedicated_cpus and percent > 100:
        requests["cpu_milli"] = -(-requests.get("cpu_milli", 0) * 100 // percent)
    return Option(shape.name, _requests(requests, problem.resources),
                  tuple(sorted(masks.cell_needs(workload, shape).items())), shape.gpu, shape.cost)


def _requests(requests, resources):
    wanted = {"pods": 1, **{name: quantity for name, quantity in requests.items() if quantity}}
    return tuple((position, wanted[name]) for position, name in enumerate(resources) if name in wanted)


def _concerned(problem):
    """Return the positions of the rules by the name of a workload, and of licenses by (None, product)."""
    found = defaultdict(list)
    demand = problem.demand
    for position, rule in enumerate([*demand.affinities, *demand.spreads]):
        for name in rule.workloads:
            found[name].append(position)
    for position, rule in enumerate(demand.licenses, len(demand.affinities) + len(demand.spreads)):
        found[None, rule.product].append(position)
    return found
