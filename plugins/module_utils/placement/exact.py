# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exact model of a small problem in OR-Tools' CP-SAT, level after level of the objective; the library is imported only here."""
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from ansible_collections.tandem.hybrid.plugins.module_utils.placement import exact_failover, exact_gpus
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.objective import SENSES, SOFT_RULE_COST, gpu_share
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import Problem
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import Place, State

MAX_VARIABLES = 15_000
WORK_PER_LEVEL = 1.5


@dataclass(frozen=True)
class Proof:
    """What CP-SAT proved of one level."""

    value: int
    bound: int
    optimal: bool


def available() -> bool:
    """Say whether OR-Tools can be imported."""
    try:
        import ortools.sat.python.cp_model  # noqa: F401
    except ImportError:
        return False
    return True


def variables(problem: Problem) -> int:
    """Return about how many variables the model would have: places, again for every failure, devices and MIG layouts."""
    placements = sum(len(kind.eligible) * len(kind.options) for kind in problem.types)
    covered = sum(len(kind.eligible) * len(kind.options) for kind in problem.types for policy in problem.demand.policy.failover
                  if kind.restart and kind.priority >= policy.min_priority)
    requests = {option.gpu for kind in problem.types for option in kind.options if option.gpu is not None}
    layouts = 20 if problem.demand.policy.allow_mode_changes else 1
    return placements + covered * len(problem.nodes) + sum(len(info.node.gpus) for info in problem.nodes) * len(requests) * layouts


class Model:
    """The CP-SAT model: x[type, node, option] counts items."""

    def __init__(self, problem: Problem):
        from ortools.sat.python import cp_model
        self.cp, self.problem, self.model = cp_model, problem, cp_model.CpModel()
        self.reference = State(problem)
        self.x = {}
        for number, kind in enumerate(problem.types):
            for node in kind.eligible:
                for option, shape in enumerate(kind.options):
                    limit = self._most(shape, node, len(kind.items))
                    if limit:
                        self.x[number, node, option] = self.model.NewIntVar(0, limit, "")
        self.by_node = defaultdict(list)
        self.by_type = defaultdict(list)
        for (kind, node, option), variable in self.x.items():
            self.by_node[node].append((kind, option, variable))
            self.by_type[kind].append((node, option, variable))
        self.hosts: dict[int, dict[int, object]] = {}
        self.cells = {}
        for add in (self._counts, self._room, self._cells, self._rules):
            add()
        self.gpus = exact_gpus.GpuModel(self)
        self.levels = self._levels()

    def _most(self, shape, node, count):
        free = self.problem.nodes[node].free
        for resource, quantity in shape.requests:
            count = min(count, max(0, free[resource]) // quantity)
        if shape.gpu is not None and self.reference.gpus[node].find(shape.gpu) is None:
            return 0
        return count

    def on(self, kind, node):
        """Return the sum of a type's items on a node."""
        return sum(self.x[kind, node, option] for option in range(len(self.problem.types[kind].options)) if (kind, node, option) in self.x)

    def total(self, kind):
        return sum(variable for _unused, _unused, variable in self.by_type[kind])

    def _counts(self):
        gangs = defaultdict(list)
        for number, kind in enumerate(self.problem.types):
            self.model.Add(self.total(number) <= len(kind.items))
            if kind.must:
                self.model.Add(self.total(number) == len(kind.items))
            if kind.gang >= 0:
                gangs[kind.gang].append(number)
        for kinds in gangs.values():
            whole = self.model.NewBoolVar("")
            for number in kinds:
                self.model.Add(self.total(number) == len(self.problem.types[number].items) * whole)

    def _room(self):
        for node, entries in self.by_node.items():
            free = self.problem.nodes[node].free
            terms = defaultdict(list)
            for kind, option, variable in entries:
                for resource, quantity in self.problem.types[kind].options[option].requests:
                    terms[resource].append(quantity * variable)
            for resource, parts in terms.items():
                self.model.Add(sum(parts) <= max(0, free[resource]))

    def _cells(self):
        needs = defaultdict(list)
        for (kind, node, option), variable in self.x.items():
            cell = self.problem.types[kind].options[option].cell
            if not cell or not self.problem.nodes[node].cells:
                continue
            for number in range(len(self.problem.nodes[node].cells)):
                self.cells[kind, node, option, number] = part = self.model.NewIntVar(0, len(self.problem.types[kind].items), "")
                for name, quantity in cell:
                    needs[node, number, name].append(quantity * part)
            self.model.Add(variable == sum(self.cells[kind, node, option, number] for number in range(len(self.problem.nodes[node].cells))))
        for (node, number, name), parts in needs.items():
            self.model.Add(sum(parts) <= self.problem.nodes[node].cells[number].get(name, 0))

    def members(self, rule):
        """Return domain to the (node, variable) pairs of the types that a rule concerns."""
        found = defaultdict(list)
        for (kind, node, _option), variable in self.x.items():
            if rule in self.problem.types[kind].rules:
                found[self.problem.rules[rule].domains[node]].append((node, variable))
        return found

    def _rules(self):
        self.soft = []
        for number, rule in enumerate(self.problem.rules):
            domains = self.members(number)
            size = sum(len(kind.items) for kind in self.problem.types if number in kind.rules)
            sums = {domain: sum(variable for _unused, variable in pairs) for domain, pairs in domains.items()}
            if rule.kind == "apart":
                self._apart(rule, sums, size)
            elif rule.kind == "together":
                self._together(rule, sums, size)
            elif rule.kind == "license":
                self._license(number, rule, domains, size)
            else:
                self._spread(number, rule, sums, size)

    def _apart(self, rule, sums, size):
        for domain, total in sums.items():
            if domain < 0:
                continue
            if rule.required:
                self.model.Add(total <= 1)
            else:
                excess = self.model.NewIntVar(0, size, "")
                self.model.Add(excess >= total - 1)
                self.soft.append(excess)

    def _together(self, rule, sums, size):
        used = []
        for domain, total in sums.items():
            if domain < 0 and rule.required:
                self.model.Add(total == 0)
                continue
            used.append(self.model.NewBoolVar(""))
            self.model.Add(total <= size * used[-1])
        if rule.required:
            self.model.Add(sum(used) <= 1)
        elif used:
            excess = self.model.NewIntVar(0, len(used), "")
            self.model.Add(excess >= sum(used) - 1)
            self.soft.append(excess)

    def _license(self, number, rule, domains, size):
        hosts = {}
        for domain, pairs in domains.items():
            total = sum(variable for _unused, variable in pairs)
            if domain < 0:
                self.model.Add(total == 0)
                continue
            hosts[domain] = self.model.NewBoolVar("")
            self.model.Add(total <= size * hosts[domain])
        self.model.Add(sum(hosts.values()) <= rule.limit)
        self.hosts[number] = hosts

    def _spread(self, number, rule, sums, size):
        least = self.model.NewIntVar(0, size, "")
        for domain in self.reference.spread_domains.get(number, ()):
            total = sums.get(domain, 0)
            self.model.Add(total >= least)
            self.model.Add(total <= least + rule.limit)
        if -1 in sums:
            self.model.Add(sums[-1] == 0)

    def _levels(self):
        problem = self.problem
        stays, cost = [], 0
        for number, kind in enumerate(problem.types):
            here = defaultdict(list)
            for item in kind.items:
                if problem.items[item].current >= 0:
                    here[problem.items[item].current].append(item)
                    cost += problem.items[item].move_cost
            for node, items in here.items():
                flags = {item: self.model.NewBoolVar("") for item in items}
                self.model.Add(sum(flags.values()) <= self.on(number, node))
                stays += [problem.items[item].move_cost * flag for item, flag in flags.items()]
                self.moved = [*getattr(self, "moved", []), *flags.values()]
        if problem.demand.policy.max_moves is not None and stays:
            self.model.Add(len(self.moved) - sum(self.moved) <= problem.demand.policy.max_moves)
        shares, wishes, fragments = [], [], []
        for (kind, node, option), variable in self.x.items():
            shape = problem.types[kind].options[option]
            shares += [share * variable] if (share := gpu_share(shape)) else []
            price = problem.types[kind].wishes.get(node, 0) + shape.cost
            if price:
                wishes.append(price * variable)
            if shape.gpu is None and problem.nodes[node].node.gpus:
                fragments.append(variable)
        opened = []
        for node, entries in self.by_node.items():
            if not problem.nodes[node].occupied:
                flag = self.model.NewBoolVar("")
                for _unused, _unused, variable in entries:
                    self.model.Add(variable == 0).OnlyEnforceIf(flag.Not())
                opened.append(flag)
        lost = exact_failover.add(self) if "failover" in problem.demand.policy.objectives else 0
        return {"placed": sum(problem.types[kind].weight * variable for (kind, _unused, _unused), variable in self.x.items()),
                "gpu_share": sum(shares), "failover": lost, "moves": cost - sum(stays) + self.gpus.cost,
                "preferences": sum(wishes) + SOFT_RULE_COST * sum(self.soft), "fragmentation": sum(fragments) + self.gpus.partial,
                "nodes": sum(opened)}


def solve(problem: Problem, hint: State) -> tuple[State, dict[str, Proof]] | None:
    """Solve level after level, each with the earlier ones held; returns the best placement and what was proven, or None without one."""
    built = Model(problem)
    cp, model = built.cp, built.model
    for (kind, node, option), variable in built.x.items():
        model.AddHint(variable, sum(problem.items[item].type == kind and hint.places[item].option == option for item in hint.on[node]))
    proofs: dict[str, Proof] = {}
    best = None
    for name in problem.demand.policy.objectives:
        expression = built.levels[name]
        if isinstance(expression, int):
            proofs[name] = Proof(expression, expression, True)
            continue
        solver = cp.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = problem.demand.policy.seed
        solver.parameters.max_deterministic_time = WORK_PER_LEVEL
        (model.Maximize if SENSES[name] == "max" else model.Minimize)(expression)
        status = solver.Solve(model)
        if status not in (cp.OPTIMAL, cp.FEASIBLE):
            break
        value, bound = round(solver.ObjectiveValue()), solver.BestObjectiveBound()
        rounded = int(bound + 1e-6) if SENSES[name] == "max" else -int(-bound + 1e-6)
        proofs[name] = Proof(value, value if status == cp.OPTIMAL else rounded, status == cp.OPTIMAL)
        best = {variable.Index(): solver.Value(variable) for variable in _all(built)}
        if status != cp.OPTIMAL:
            break  # the levels below are left to the search, which is quicker at what can't be proven in time
        model.Add(expression >= value if SENSES[name] == "max" else expression <= value)
        model.ClearHints()
        for variable in _all(built):
            model.AddHint(variable, best[variable.Index()])
    if best is None:
        return None
    return _rebuild(built, lambda variable: best[variable.Index()]), proofs


def _all(built):
    yield from built.x.values()
    yield from built.cells.values()
    for hosts in built.hosts.values():
        yield from hosts.values()
    yield from built.gpus.variables()


def _rebuild(built, value):
    problem = built.problem
    state = State(problem)
    grants = built.gpus.grants(value)
    state.chosen_hosts = {number: {node for node, flag in hosts.items() if value(flag)} for number, hosts in built.hosts.items()}
    for kind, entries in built.by_type.items():
        slots = []
        for node, option, variable in entries:
            cells = [number for number in range(len(problem.nodes[node].cells)) if (kind, node, option, number) in built.cells
                     for _unused in range(value(built.cells[kind, node, option, number]))]
            slots += [(node, option, cells[count] if cells else -1) for count in range(value(variable))]
        waiting, chosen = list(problem.types[kind].items), []
        for item in sorted(waiting, key=lambda item: (-problem.items[item].move_cost, item)):
            slot = next((slot for slot in slots if slot[0] == problem.items[item].current), None)
            if slot is not None:
                slots.remove(slot)
                waiting.remove(item)
                chosen.append((item, slot))
        chosen += zip(waiting, slots, strict=False)
        for item, (node, option, cell) in sorted(chosen):
            gpu = problem.types[kind].options[option].gpu
            state.put(item, Place(node, option, cell, grants(node, gpu) if gpu is not None else None))
    return state
