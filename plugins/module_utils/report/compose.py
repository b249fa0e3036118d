# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Report from the documents of a run."""
from __future__ import annotations

from dataclasses import replace

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.codec import digest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Estate, Fate
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import Journal
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.verification import Check, Verification
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.sizing import Sizing

from .journey import migrations
from .maps import node_maps
from .model import Finding, Ledger, ModelRow, Moved, Place, Report, ReportError, label

SEVERITIES = ("block", "warn", "inform")


def compose(plan: Plan, capacity: Capacity, estate: Estate | None = None, journal: Journal | None = None, sizing: Sizing | None = None,
            verification: Verification | None = None, title: str = "Tandem report") -> Report:
    """Return the report; raises ReportError when plan and capacity don't belong together."""
    if plan.capacity_digest and plan.capacity_digest != digest(capacity):
        raise ReportError(f"the plan was made from capacity {plan.capacity_digest[:19]}, this capacity is {digest(capacity)[:19]}")
    moved = migrations(journal.events) if journal else []
    checks = verification.checks if verification else []
    outcomes = {one.vm: one.state for one in moved} | {check.subject: "serving" for check in checks if check.name == "completion" and check.ok}
    places = [_place(one, outcomes.get(one.workload, "planned")) for one in plan.assignments]
    times = [event.at for event in journal.events] if journal else []
    return Report(
        title=title, at=max([*times, *(check.at for check in checks)], default=""), plan_digest=digest(plan),
        capacity_digest=plan.capacity_digest, demand_digest=plan.demand_digest, engine=plan.engine, places=places,
        nodes=node_maps(capacity, plan, places), unplaced=plan.unplaced, levels=plan.levels, waves=plan.waves, failures=plan.failures,
        migrations=moved, models=_models(plan, sizing), findings=_findings(estate), ledgers=_ledgers(estate), checks=checks,
        stranded_gpu_before=plan.utilisation.stranded_gpu_before, stranded_gpu_after=plan.utilisation.stranded_gpu_after, notes=plan.notes)


def outcomes(report: Report) -> Report:
    """Return the report without what differs each time a check is made again: times, figures and sentences."""
    return replace(report, at="", checks=[Check(check.name, check.subject, check.ok, "") for check in report.checks])


def predicted(moved: Moved) -> str:
    """Return the downtime of a migration and its prediction as text."""
    if moved.downtime_seconds is None:
        return "" if moved.predicted_downtime_seconds is None else f"predicted {moved.predicted_downtime_seconds:.1f} s"
    text = f"{moved.downtime_seconds:.1f} s"
    return text if moved.predicted_downtime_seconds is None else f"{text} (predicted {moved.predicted_downtime_seconds:.1f} s)"


def _place(one: Assignment, outcome: str) -> Place:
    devices = [use.gpu + (f"/{use.profile}" if use.profile else "") + (f"@{use.slot}" if use.slot is not None else "") for use in one.devices]
    return Place(one.workload, "model" if one.kind == "model" else "vm", one.replica, one.node, one.shape, devices, one.wave, len(one.eligible),
                 one.reason, one.requests.get("cpu_milli", 0), one.requests.get("memory_bytes", 0), outcome)


def _models(plan, sizing):
    sized = {one.name: one for one in sizing.models} if sizing else {}
    rows = []
    for one in plan.assignments:
        if one.kind == "model" and one.workload in sized:
            found = sized[one.workload]
            need = found.needs.get(one.shape)
            if need:
                rows.append(ModelRow(label(one.workload, one.replica), found.model.architecture, found.model.parameters, one.shape, one.node,
                                     need.weights_bytes, need.cache_bytes, need.device_bytes, need.memory_request_bytes))
    return rows


def _findings(estate):
    found = [Finding(vm.target_name or vm.name, concern.severity.value, concern.id, concern.sentence, concern.remedy)
             for vm in (estate.vms if estate else []) for concern in vm.concerns]
    return sorted(found, key=lambda one: (SEVERITIES.index(one.severity), one.vm, one.id))


def _ledgers(estate):
    rows = []
    for vm in estate.vms if estate else []:
        counts = {fate: sum(line.fate is fate for line in vm.ledger) for fate in Fate}
        rows.append(Ledger(vm.target_name or vm.name, *(counts[fate] for fate in (Fate.MAPPED, Fate.CHANGED, Fate.DROPPED, Fate.UNKNOWN))))
    return rows
