# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Plan back into a State, for questions about it."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.errors import PlacementError
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.gpus import Grant, Use
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import Problem
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import Place, State


def restore(problem: Problem, plan: Plan) -> State:
    """Return the state that a plan describes; raises PlacementError for a plan of other documents."""
    state = State(problem)
    nodes = {info.name: number for number, info in enumerate(problem.nodes)}
    modes = {setting.node: setting.gpu_mode for setting in plan.settings}
    targets = {move.workload: move.target for wave in plan.waves for move in wave.moves}
    planned = {(one.workload, one.replica): one for one in plan.assignments}
    for number, item in enumerate(problem.items):
        if item.running is not None:
            state.put(number, Place(nodes[targets.get(item.workload, item.running.node)], 0))
        elif (item.workload, item.replica) in planned:
            state.put(number, _place(state, number, planned[item.workload, item.replica], nodes, modes))
    return state


def _place(state: State, number: int, one: Assignment, nodes: dict[str, int], modes: dict[str, str]) -> Place:
    problem = state.problem
    options = problem.types[problem.items[number].type].options
    option = next((index for index, option in enumerate(options) if option.name == one.shape), None)
    node = nodes.get(one.node)
    if node is None or option is None:
        raise PlacementError(f"the plan puts {one.workload}/{one.replica} as {one.shape!r} on {one.node!r}, which these documents do not have")
    ids = {device.gpu.id: index for index, device in enumerate(state.gpus[node].devices)}
    grant = None
    if one.devices:
        uses = tuple(Use(ids[use.gpu], use.profile, use.slot, use.milli) for use in one.devices)
        companions = {mate for use in uses for mate in state.gpus[node].companions[use.device]} if options[option].gpu.kind == "passthrough" else set()
        grant = Grant(modes.get(one.node, state.gpus[node].mode), uses, tuple(sorted(companions - {use.device for use in uses})))
    cells = [cell.id for cell in problem.nodes[node].node.numa]
    return Place(node, option, cells.index(one.numa) if one.numa is not None else -1, grant)
