# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of this room do with paths: read documents, compute, verify, write."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, files
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Estate
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.overhead import vm_requests
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import from_estate, questions, render
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker import check
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.drift import drift
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.errors import PlacementError
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.solve import solve
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.validate import validate


def plan(capacity_src: str, demand_src: str, dest: str, engine: str = "auto", require_all: bool = False, why: str = "",
         check_mode: bool = False) -> dict:
    """Compute, verify and write a plan; raises TandemError with one sentence, and then writes nothing."""
    capacity, demand = files.read(Capacity, capacity_src), files.read(Demand, demand_src)
    if why:
        questions.known(capacity, demand, why)
    made = solve(capacity, demand, engine)
    violations = check(capacity, demand, made)
    if violations and engine == "auto":
        # Two ways to plan, one checker: what the one gets wrong the other may get right.
        made = solve(capacity, demand, "core")
        violations = check(capacity, demand, made)
    if violations:
        raise PlacementError(f"the checker rejects the plan, so it is not written: {violations[0]}"
                             + (f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""))
    if require_all and made.unplaced:
        raise PlacementError(f"{made.unplaced[0].sentence}; {made.unplaced[0].relaxation} would place it")
    lost = [(failure.domain, name) for failure in made.failures for name in failure.lost]
    if require_all and lost:
        raise PlacementError(f"{lost[0][1]} can't restart anywhere when {lost[0][0]} fails")
    before = render.lines(files.read(Plan, dest)) if _is_plan(dest) else []
    changed = files.write(dest, codec.pretty(made), check_mode)
    text = render.lines(made)
    return {"changed": changed, "summary": render.summary(made), "lines": text, "dest": dest,
            "why": questions.why(capacity, demand, made, why) if why else [],
            "diff": {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in text),
                     "before_header": dest, "after_header": dest}}


def verify(capacity_src: str, demand_src: str, plan_src: str, planned_capacity_src: str | None = None, fail: bool = True) -> dict:
    """Check a plan on a capacity; raises PlacementError when it does not hold and `fail` is set."""
    capacity, demand, made = files.read(Capacity, capacity_src), files.read(Demand, demand_src), files.read(Plan, plan_src)
    validate(capacity, demand)
    planned = files.read(Capacity, planned_capacity_src) if planned_capacity_src else None
    violations, drifted = check(capacity, demand, made), drift(capacity, demand, made, planned)
    if violations and fail:
        raise PlacementError(f"{plan_src} does not hold: {violations[0]}"
                             + (f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""))
    return {"changed": False, "holds": not violations, "violations": violations, "drift": drifted}


def _launcher_requests(vm):
    # KubeVirt's own devices (kvm, tun) come a thousand a node and are not there before it is installed: they place nothing.
    return {name: quantity for name, quantity in vm_requests(vm).items() if not name.startswith("devices.kubevirt.io/")}


def _is_plan(path):
    try:
        files.read(Plan, path)
    except codec.DocumentError:
        return False
    return True


def write_demand(estate_src: str | None, models_src: list[str], policy: dict, namespace: str, dest: str, check_mode: bool = False) -> dict:
    """Build and write a Demand; raises TandemError with one sentence, and then writes nothing."""
    estate = files.read(Estate, estate_src) if estate_src else None
    models = [files.read(Demand, path) for path in models_src]
    demand, left_out = from_estate.build(estate, models, from_estate.settings(policy), namespace, _launcher_requests)
    untold = [rule.name for rule in from_estate.host_rules(estate)] if estate else []
    changed = files.write(dest, codec.pretty(demand), check_mode)
    return {"changed": changed, "workloads": [workload.name for workload in demand.workloads], "left_out": left_out,
            "host_rules": untold, "digest": codec.digest(demand), "dest": dest}
