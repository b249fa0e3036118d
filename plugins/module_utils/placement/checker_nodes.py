# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker's view of single nodes: what forbids a workload on one."""
from __future__ import annotations


def forbidden(facts, workload, node):
    """Return the first reason that forbids a workload on a node, or an empty string."""
    if not node.ready:
        return "node is not ready"
    if node.unschedulable and workload.current_node != node.name:
        return "node is unschedulable"
    if workload.kind == "vm" and not node.runs_vms:
        return "node runs no VMs"
    for taint in node.taints:
        if taint.effect != "PreferNoSchedule" and not any(_tolerates(one, taint) for one in workload.tolerations):
            return f"taint {taint.key}={taint.value}:{taint.effect}"
    for key, value in workload.node_selector.items():
        if facts.label(node, key) != value:
            return f"node selector {key}={value}"
    for expression in workload.required:
        if not holds(expression, facts.label(node, expression.key)):
            return f"node affinity {expression.key} {expression.operator} {expression.values}"
    zone = facts.label(node, "topology.kubernetes.io/zone") or ""
    if workload.zones and zone not in workload.zones:
        return f"zone {zone or 'unknown'}"
    for claim in workload.volumes:
        for volume in facts.volumes[workload.namespace, claim]:
            if (volume.zones and zone not in volume.zones) or (volume.nodes and node.name not in volume.nodes):
                return f"volume {volume.claim} can't be reached"
    return ""


def constraints(workload):
    """Return what `forbidden` reads of a workload, to ask once for workloads that are alike."""
    return repr((workload.kind, workload.current_node, workload.tolerations, workload.node_selector, workload.required, workload.zones,
                 workload.volumes, workload.namespace if workload.volumes else ""))


def _tolerates(toleration, taint):
    if toleration.effect not in ("", taint.effect):
        return False
    if toleration.operator == "Exists":
        return not toleration.key or toleration.key == taint.key
    return (toleration.key, toleration.value) == (taint.key, taint.value)


def holds(expression, value):
    """Evaluate one node selector expression for the value of its label, None where the node has none."""
    match expression.operator:
        case "In":
            return value is not None and value in expression.values
        case "NotIn":
            return value is None or value not in expression.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    try:
        number, limit = int(value or "x"), int(expression.values[0])
    except ValueError:
        return False
    return number > limit if expression.operator == "Gt" else number < limit
