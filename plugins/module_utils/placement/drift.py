# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changed between the documents that a plan was made for and those of today."""
from __future__ import annotations

import dataclasses

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.codec import digest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan


def drift(capacity: Capacity, demand: Demand, plan: Plan, planned: Capacity | None = None) -> list[str]:
    """Return one sentence per difference; `planned` is the capacity of the plan's time, where it was kept."""
    found = []
    if digest(demand) != plan.demand_digest:
        found.append("the demand is not the one that the plan was made for")
    if digest(capacity) != plan.capacity_digest:
        found.append("the capacity is not the one that the plan was made for")
    if planned is None:
        return found
    if digest(planned) != plan.capacity_digest:
        found.append("the kept capacity is not the one that the plan was made for either")
    found += _differences("node", {node.name: node for node in planned.nodes}, {node.name: node for node in capacity.nodes})
    found += _differences("running", {f"{run.namespace}/{run.name}": run for run in planned.running},
                          {f"{run.namespace}/{run.name}": run for run in capacity.running})
    return found


def _differences(what, before, after):
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"{what} {name} is gone"
        elif name not in before:
            yield f"{what} {name} is new"
        elif before[name] != after[name]:
            fields = [field.name for field in dataclasses.fields(before[name])
                      if getattr(before[name], field.name) != getattr(after[name], field.name)]
            yield f"{what} {name}: {', '.join(fields)} changed"
