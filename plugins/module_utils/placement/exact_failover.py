# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""N+1 in the exact model: for every failure, restarts that fit beside what survives, or a count of what is lost."""
from __future__ import annotations

from collections import Counter, defaultdict

from ansible_collections.tandem.hybrid.plugins.module_utils.gpu.names import KINDS
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import failover


def add(built):
    """Add all failures of the policy; returns the expression of all restarts that are lost."""
    lost = []
    for _domain, nodes, lowest in failover.domains(built.reference):
        lost += _failure(built, set(nodes), lowest)
    return sum(lost)


def _failure(built, dead, lowest):
    problem, model = built.problem, built.model
    restarts, lost = {}, []
    for number, kind in enumerate(problem.types):
        if not kind.restart or kind.priority < lowest or not any(node in dead for node, _unused, _unused in built.by_type[number]):
            continue
        for node, option, _unused in built.by_type[number]:
            if node not in dead:
                restarts[number, node, option] = model.NewIntVar(0, len(kind.items), "")
        for option in range(len(kind.options)):
            missing = model.NewIntVar(0, len(kind.items), "")
            model.Add(sum(variable for key, variable in restarts.items() if (key[0], key[2]) == (number, option)) + missing
                      == sum(variable for node, other, variable in built.by_type[number] if node in dead and other == option))
            lost.append(missing)
    if lost:
        _room(built, restarts)
        _cells(built, restarts)
        _gpus(built, restarts)
        _rules(built, restarts, dead)
    return lost


def _room(built, restarts):
    problem = built.problem
    for node in {node for _unused, node, _unused in restarts}:
        terms = defaultdict(list)
        for kind, option, variable in built.by_node[node]:
            for resource, quantity in problem.types[kind].options[option].requests:
                terms[resource].append(quantity * variable)
        for (kind, other, option), variable in restarts.items():
            if other == node:
                for resource, quantity in problem.types[kind].options[option].requests:
                    terms[resource].append(quantity * variable)
        for resource, parts in terms.items():
            built.model.Add(sum(parts) <= max(0, problem.nodes[node].free[resource]))


def _cells(built, restarts):
    problem, model = built.problem, built.model
    needs = defaultdict(list)
    for (kind, node, option), variable in restarts.items():
        cell = problem.types[kind].options[option].cell
        count = len(problem.nodes[node].cells)
        if cell and count:
            parts = [model.NewIntVar(0, len(problem.types[kind].items), "") for _unused in range(count)]
            model.Add(variable == sum(parts))
            for number, part in enumerate(parts):
                for name, quantity in cell:
                    needs[node, number, name].append(quantity * part)
    for (kind, node, option, number), part in built.cells.items():
        for name, quantity in problem.types[kind].options[option].cell:
            if (node, number, name) in needs:
                needs[node, number, name].append(quantity * part)
    for (node, number, name), parts in needs.items():
        model.Add(sum(parts) <= problem.nodes[node].cells[number].get(name, 0))


def _gpus(built, restarts):
    """Devices that idle beside the placement; modes and layouts stay as the plan has them."""
    problem, model, gpu_model = built.problem, built.model, built.gpus
    wanted = defaultdict(list)
    for (kind, node, option), variable in restarts.items():
        request = problem.types[kind].options[option].gpu
        if request is not None:
            wanted[node, request].append(variable)
    uses = {}
    for (node, request), variables in wanted.items():
        gpus = built.reference.gpus[node]
        flags = gpu_model.modes[node]
        allowed = sum(flag for mode, flag in flags.items() if request.kind in KINDS.get(mode, ()))
        for index, device in enumerate(gpus.devices):
            if device.serves(request) and (node, index, request) in gpu_model.y:
                uses[node, index, request] = use = model.NewIntVar(0, 8 if request.kind != "shared" else 1000 // request.milli, "")
                model.Add(use <= 1000 * allowed)
        model.Add(sum(use for (other, _unused, one), use in uses.items() if (other, one) == (node, request)) == request.count * sum(variables))
    for node, index in {(node, index) for node, index, _unused in uses}:
        _device(built, node, index, {request: use for (other, place, request), use in uses.items() if (other, place) == (node, index)})


def _device(built, node, index, uses):
    model, gpu_model = built.model, built.gpus
    device = built.reference.gpus[node].devices[index]
    base = gpu_model.modes[node][built.reference.gpus[node].base_mode]
    planned = {request: variable for (other, place, request), variable in gpu_model.y.items() if (other, place) == (node, index)}
    keep = [(flag, layout) for flag, layout, new in gpu_model.layouts.get((node, index), []) if not new]
    new = [flag for flag, _unused, fresh in gpu_model.layouts.get((node, index), []) if fresh]
    whole = sum(use for request, use in uses.items() if request.kind in ("full", "passthrough"))
    partial = [variable for request, variable in planned.items() if request.kind not in ("full", "passthrough")]
    if not isinstance(whole, int):
        model.Add(whole + sum(variable for request, variable in planned.items() if request.kind in ("full", "passthrough")) <= 1)
        taken = model.NewBoolVar("")
        model.Add(whole <= 1 - taken)
        for variable in partial:
            model.Add(variable == 0).OnlyEnforceIf(taken.Not())
        if device.existing:
            model.Add(whole + base <= 1)
        if new:
            model.Add(whole + sum(new) <= 1)
        if not device.untouched:
            model.Add(whole == 0)
    for profile in {request.profile for request in uses if request.kind == "mig"}:
        total = sum(use for group in (uses, planned) for request, use in group.items() if request.kind == "mig" and request.profile == profile)
        restarted = sum(use for request, use in uses.items() if request.kind == "mig" and request.profile == profile)
        room = sum(Counter(name for name, _unused in layout)[profile] * flag for flag, layout in keep)
        model.Add(total <= room + 8 * sum(new))
        # A layout that this plan makes has no instance to spare.
        model.Add(restarted <= room)
    shared = sum(request.milli * use for request, use in uses.items() if request.kind == "shared")
    if not isinstance(shared, int):
        both = shared + sum(request.milli * use for request, use in planned.items() if request.kind == "shared")
        model.Add(both <= 1000 - device.milli)
        model.Add(shared <= 1000 - 1000 * sum(use for request, use in planned.items() if request.kind in ("full", "passthrough")))
    for profile in {request.profile for request in uses if request.kind == "vgpu"}:
        total = sum(use for group in (uses, planned) for request, use in group.items() if request.kind == "vgpu")
        model.Add(total <= max(0, device.gpu.vgpu.get(profile, 0) - device.vgpus))


def _rules(built, restarts, dead):
    problem, model = built.problem, built.model
    for number, rule in enumerate(problem.rules):
        concerned = [(kind, node, variable) for (kind, node, _unused), variable in restarts.items() if number in problem.types[kind].rules]
        if not concerned or not rule.required:
            continue
        size = sum(len(kind.items) for kind in problem.types if number in kind.rules)
        before, after = defaultdict(list), defaultdict(list)
        for domain, pairs in built.members(number).items():
            before[domain] += [variable for node, variable in pairs if node not in dead]
        for _unused, node, variable in concerned:
            after[rule.domains[node]].append(variable)
        if rule.kind == "apart":
            for domain, parts in after.items():
                if domain >= 0:
                    model.Add(sum(parts) + sum(before[domain]) <= 1)
        elif rule.kind == "together":
            flags = {domain: model.NewBoolVar("") for domain in {*before, *after}}
            for domain, flag in flags.items():
                model.Add(sum(before[domain]) + sum(after[domain]) <= (size * flag if domain >= 0 else 0))
            model.Add(sum(flags.values()) <= 1)
        elif rule.kind == "license":
            for domain, parts in after.items():
                model.Add(sum(parts) <= (size * built.hosts[number][domain] if domain >= 0 else 0))
        else:
            _spread(built, number, rule, before, after, size)


def _spread(built, number, rule, before, after, size):
    model = built.model
    least = model.NewIntVar(0, size, "")
    domains = built.reference.spread_domains.get(number, set())
    for domain in domains:
        model.Add(least <= sum(before[domain]) + sum(after[domain]))
    for domain, parts in after.items():
        if domain < 0:
            model.Add(sum(parts) == 0)
            continue
        grows = model.NewBoolVar("")
        model.Add(sum(parts) <= size * grows)
        model.Add(sum(before[domain]) + sum(parts) <= least + rule.limit).OnlyEnforceIf(grows)
