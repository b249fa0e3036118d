# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A planned workload as the stanzas of its pod: affinity, tolerations, selector, requests."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.enforcement import pod_spec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.errors import PlacementError


def stanza(plan: Plan, demand: Demand, name: str, replica: int | None = None) -> dict:
    """Return affinity, nodeSelector, tolerations and topologySpreadConstraints of a workload's pods (one replica's, or all alike).

    Raises PlacementError for a workload that the plan has no place for.
    """
    placed = [one for one in plan.assignments if one.workload == name and replica in (None, one.replica)]
    workload = next((one for one in demand.workloads if one.name == name), None)
    if not placed or workload is None:
        raise PlacementError(f"the plan has no place for {name!r}; it places {', '.join(sorted({one.workload for one in plan.assignments})) or 'nothing'}")
    found = {**pod_spec(placed, plan.rules), "nodeSelector": dict(workload.node_selector)}
    return {key: value for key, value in found.items() if value}


def resources(plan: Plan, name: str) -> dict[str, str]:
    """Return the requests of one pod of a workload as Kubernetes quantities, its GPUs as extended resources among them."""
    one = next((one for one in plan.assignments if one.workload == name), None)
    if one is None:
        raise PlacementError(f"the plan has no place for {name!r}")
    names = {"cpu_milli": "cpu", "memory_bytes": "memory", "ephemeral_storage_bytes": "ephemeral-storage"}
    found = {names.get(key, key): f"{value}m" if key == "cpu_milli" else str(value) for key, value in sorted(one.requests.items())}
    if one.resource and "/" in one.resource:
        found[one.resource] = str(len(one.devices))
    return found
