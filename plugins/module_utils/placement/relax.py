# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The constraints that bear on one workload, by name, and the documents without some of them: what if this were given up?"""
from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand, Toleration, Workload
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import masks
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.conflicts import GANG, MODES, RESERVE, RUNNING
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.problem import find_adopted

OWN, NUMA, GPU, WORKLOAD = "its other replicas", "NUMA cell", "GPU", "workload "


@dataclass(frozen=True)
class Question:
    """Why has `subject`, with as many replicas as are to be placed, no room beside the others, each with the replicas that have a place?"""

    capacity: Capacity
    demand: Demand
    subject: Workload
    others: dict[str, int]


def names(question: Question) -> list[str]:
    """Return the names of all constraints that can be given up."""
    subject, demand = question.subject, question.demand
    volumes = {f"{volume.namespace}/{volume.claim}": volume for volume in question.capacity.volumes}
    found = {name for node in question.capacity.nodes for name in masks.blockers(subject, node, volumes)}
    found |= {name for shape in subject.shapes for name, quantity in shape.requests.items() if quantity and name != "pods"}
    wanted = {subject.name, *question.others}
    workloads = [workload for workload in demand.workloads if workload.name in wanted]
    found |= {rule.name for rule in demand.affinities if rule.required and wanted & set(rule.workloads)}
    found |= {rule.name for rule in demand.spreads if wanted & set(rule.workloads)}
    found |= {rule.name for rule in demand.licenses if any(rule.product in workload.products for workload in workloads)}
    found |= {WORKLOAD + name for name in question.others}
    adopted = {id(running) for runs in find_adopted(question.capacity, demand).values() for running in runs}
    asks = any(shape.gpu is not None for workload in workloads for shape in workload.shapes)
    for name, holds in (
            (GANG if subject.gang else OWN, subject.replicas > 1), (GPU, any(shape.gpu is not None for shape in subject.shapes)),
            (NUMA, subject.single_numa), (RESERVE, any(demand.policy.reserve_percent.values())), (MODES, asks and not demand.policy.allow_mode_changes),
            (RUNNING, any(id(running) not in adopted for running in question.capacity.running))):
        if holds:
            found.add(name)
    return sorted(found)


def without(question: Question, dropped: frozenset[str]) -> tuple[Capacity, Demand]:
    """Return the documents with the subject and the others, and without the named constraints."""
    demand = question.demand
    workloads = [replace(workload, after=[], group="", replicas=question.others[workload.name]) for workload in demand.workloads
                 if workload.name in question.others and WORKLOAD + workload.name not in dropped]
    workloads.append(_subject(question.subject, dropped))
    present = {workload.name: workload.replicas for workload in workloads}

    def rules(all_rules):
        found = [replace(rule, workloads=[name for name in rule.workloads if name in present]) for rule in all_rules if rule.name not in dropped]
        return [rule for rule in found if rule.workloads]
    gone = {rule.product for rule in demand.licenses if rule.name in dropped}
    policy = replace(demand.policy, objectives=["placed"], failover=[], max_moves=None,
                     reserve_percent={} if RESERVE in dropped else demand.policy.reserve_percent,
                     allow_mode_changes=demand.policy.allow_mode_changes or MODES in dropped)
    workloads = [replace(workload, products=[product for product in workload.products if product not in gone]) for workload in workloads]
    return _capacity(question, dropped, present), Demand(
        sorted(workloads, key=lambda workload: workload.name), rules(demand.affinities), rules(demand.spreads),
        [rule for rule in demand.licenses if rule.name not in dropped], policy)


def _subject(subject, dropped):
    shapes = [replace(shape, requests={name: quantity for name, quantity in shape.requests.items() if name not in dropped},
                      gpu=None if GPU in dropped else shape.gpu) for shape in subject.shapes]
    edits = {
        OWN: {"replicas": 1}, GANG: {"replicas": 1}, NUMA: {"single_numa": False}, "cpu_milli": {"dedicated_cpus": 0},
        "taints": {"tolerations": [Toleration(operator="Exists")]}, "node selector": {"node_selector": {}}, "node affinity": {"required": []},
        "zones": {"zones": []}}
    fields = {"shapes": shapes, "after": [], "group": "", "volumes": [claim for claim in subject.volumes if f"volume {claim}" not in dropped]}
    for name, edit in edits.items():
        fields |= edit if name in dropped else {}
    return replace(subject, **fields)


def _capacity(question, dropped, present):
    """Return the capacity as it would be: without what runs of workloads that are left out, or without anything else that runs."""
    adopted = find_adopted(question.capacity, question.demand)
    leaves = {id(running) for name, runs in adopted.items() for running in runs[present.get(name, 0):]}
    ours = {id(running) for runs in adopted.values() for running in runs}
    gone = [running for running in question.capacity.running
            if id(running) in leaves or (RUNNING in dropped and id(running) not in ours)]
    stays = [running for running in question.capacity.running if all(running is not other for other in gone)]
    holders = {name for running in gone for name in (running.name, running.owner, f"{running.namespace}/{running.name}") if name}
    devices = {device for running in gone for device in running.devices}
    nodes = [replace(node, gpus=[_gpu(gpu, holders, devices, RUNNING in dropped) for gpu in node.gpus],
                     ready=node.ready or "node ready" in dropped, unschedulable=node.unschedulable and "node schedulable" not in dropped,
                     runs_vms=node.runs_vms or "node runs VMs" in dropped) for node in question.capacity.nodes]
    return replace(question.capacity, nodes=nodes, running=stays)


def _gpu(gpu, holders, devices, nothing_runs):
    users = [] if nothing_runs else [name for name in gpu.used_by if name not in holders]
    slots = [slot for slot in gpu.used_slots if not any(device.startswith(f"{gpu.id}/") and device.endswith(f"@{slot}") for device in devices)]
    idle = nothing_runs or (bool(gpu.used_by) and not users)
    return replace(gpu, used_by=users, used_slots=[] if idle else slots, used_milli=0 if idle else gpu.used_milli)
