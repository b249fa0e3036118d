# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether one workload fits one node as the cluster is now, without a plan."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.conflicts import Analysis
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.errors import PlacementError
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import normalise
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.state import State


def reasons(capacity: Capacity, demand: Demand, workload: str, node: str) -> list[str]:
    """Return what forbids a workload on a node, each as named constraints joined by +; empty when a shape fits. Raises PlacementError."""
    problem = normalise(capacity, demand)
    number = next((number for number, info in enumerate(problem.nodes) if info.name == node), None)
    wanted = next((one for one in demand.workloads if one.name == workload), None)
    if number is None or wanted is None:
        raise PlacementError(f"workload {workload!r} or node {node!r} is not in these documents")
    kind = next(item.type for item in problem.items if item.workload == workload)
    analysis = Analysis(State(problem), kind, wanted)
    clauses = min((analysis.clauses[number, option] for option in range(len(problem.types[kind].options))), key=len)
    return sorted(" + ".join(sorted(clause)) for clause in clauses)
