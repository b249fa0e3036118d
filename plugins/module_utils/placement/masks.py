# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What forbids a workload on a node whatever else runs: named reasons, as kube-scheduler's filters would give them."""
from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Node, Volume
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import (
    Expression,
    Shape,
    Workload,
)

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


def label(node: Node, key: str) -> str | None:
    """Return a label of a node; hostname and zone fall back to the node's name and zone, as kubelet sets them."""
    if key in node.labels:
        return node.labels[key]
    return {HOSTNAME: node.name, ZONE: node.zone or None}.get(key)


def matches(node: Node, expression: Expression) -> bool:
    """Evaluate one node selector expression as Kubernetes does (NotIn and DoesNotExist hold for an absent label)."""
    value = label(node, expression.key)
    if expression.operator == "In":
        return value in expression.values
    if expression.operator == "NotIn":
        return value not in expression.values
    if expression.operator == "Exists":
        return value is not None
    if expression.operator == "DoesNotExist":
        return value is None
    if value is None or not value.lstrip("-").isdigit():
        return False
    return int(value) > int(expression.values[0]) if expression.operator == "Gt" else int(value) < int(expression.values[0])


def tolerates(workload: Workload, node: Node) -> bool:
    """Say whether every NoSchedule and NoExecute taint of the node is tolerated."""
    return all(any(_tolerated(taint, toleration) for toleration in workload.tolerations)
               for taint in node.taints if taint.effect in ("NoSchedule", "NoExecute"))


def blockers(workload: Workload, node: Node, volumes: dict[str, Volume]) -> Iterator[str]:
    """Yield the name of each constraint that forbids the workload on the node, in a fixed order."""
    if not node.ready:
        yield "node ready"
    if node.unschedulable and node.name != workload.current_node:
        yield "node schedulable"
    if workload.kind == "vm" and not node.runs_vms:
        yield "node runs VMs"
    if not tolerates(workload, node):
        yield "taints"
    if any(label(node, key) != value for key, value in workload.node_selector.items()):
        yield "node selector"
    if not all(matches(node, expression) for expression in workload.required):
        yield "node affinity"
    zone = label(node, ZONE) or ""
    if workload.zones and zone not in workload.zones:
        yield "zones"
    for claim in workload.volumes:
        volume = volumes.get(f"{workload.namespace}/{claim}")
        if volume and ((volume.zones and zone not in volume.zones) or (volume.nodes and node.name not in volume.nodes)):
            yield f"volume {claim}"


def wishes(workload: Workload, node: Node) -> int:
    """Return the summed weight of the preferred terms that the node misses."""
    return sum(wish.weight for wish in workload.preferred
               if not all(matches(node, expression) for expression in wish.expressions))


def cell_needs(workload: Workload, shape: Shape) -> dict[str, int]:
    """Return what one NUMA cell has to hold (cpu_milli, memory_bytes, hugepages), empty where the guest need not sit in one cell."""
    if not workload.single_numa:
        return {}
    needs = {"cpu_milli": 1000 * workload.dedicated_cpus or shape.requests.get("cpu_milli", 0),
             "memory_bytes": shape.requests.get("memory_bytes", 0)}
    needs.update({name: size for name, size in shape.requests.items() if name.startswith("hugepages-")})
    return needs


def _tolerated(taint, toleration):
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.operator == "Exists":
        return toleration.key in ("", taint.key)
    return toleration.key == taint.key and toleration.value == taint.value
