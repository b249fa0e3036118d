# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers to \"why\": for one workload, node by node; for one node, who is there and what happens without it."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import explain
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.errors import PlacementError
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import normalise
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.restore import restore


def why(capacity: Capacity, demand: Demand, plan: Plan, name: str) -> list[str]:
    """Return the answer as lines; raises PlacementError for a name that is neither a workload nor a node."""
    known(capacity, demand, name)
    if any(workload.name == name for workload in demand.workloads):
        return _workload(capacity, demand, plan, name)
    return _node(plan, name)


def known(capacity: Capacity, demand: Demand, name: str) -> None:
    """Raise PlacementError for a name that is neither a workload nor a node."""
    workloads, nodes = {workload.name for workload in demand.workloads}, {node.name for node in capacity.nodes}
    if name not in workloads | nodes:
        raise PlacementError(f"{name!r} is neither a workload of the demand ({_some(workloads)}) nor a node of the capacity ({_some(nodes)})")


def _some(names: set[str], most: int = 20) -> str:
    return ", ".join(sorted(names)[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _workload(capacity, demand, plan, name):
    lines = [f"{one.workload}/{one.replica} is on {one.node} as {one.shape}, wave {one.wave}: {one.reason}"
             for one in plan.assignments if one.workload == name]
    for one in plan.unplaced:
        if one.workload == name:
            lines += [one.sentence, f"cheapest way out: {one.relaxation}"]
    for failure in plan.failures:
        for item, node in failure.restarts.items():
            if item.rpartition("/")[0] == name:
                lines.append(f"if {failure.domain} fails, {item} restarts on {node}")
        lines += [f"if {failure.domain} fails, {item} is lost" for item in failure.lost if item.rpartition("/")[0] == name]
    problem = normalise(capacity, demand)
    state = restore(problem, plan)
    kind = next(item.type for item in problem.items if item.workload == name)
    for number, item in enumerate(problem.items):
        if item.workload == name and number in state.places:
            state.drop(number)
    lines.append(f"without {name} the nodes are:")
    workload = next(workload for workload in demand.workloads if workload.name == name)
    return lines + [f"  {line}" for line in explain.why(state, kind, workload)]


def _node(plan, name):
    lines = [f"{one.workload}/{one.replica} as {one.shape}: {one.reason}" for one in plan.assignments if one.node == name]
    lines = lines or ["nothing is planned here"]
    for setting in plan.settings:
        if setting.node == name:
            lines.append(f"GPU mode {setting.gpu_mode}{', changes' if setting.changed else ''}")
            lines += [f"{gpu}: {' '.join(instances)}" for gpu, instances in sorted(setting.mig.items())]
    for failure in plan.failures:
        if name in failure.nodes:
            lines += [f"if {failure.domain} fails, {item} restarts on {node}" for item, node in sorted(failure.restarts.items())]
            lines += [f"if {failure.domain} fails, {item} is lost" for item in failure.lost]
    return lines
