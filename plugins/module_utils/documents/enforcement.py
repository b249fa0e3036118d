# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a plan reaches kube-scheduler: node affinity, required to the eligible nodes and preferred to the planned ones, and the demand's
rules about other pods."""
from __future__ import annotations

from .codec import dump
from .plan import Assignment, PodRule

# The most that a preferred term can weigh; see docs/decisions/0004-enforcement.md for why it decides.
WEIGHT = 100
# kube-scheduler stops looking once it has found enough feasible nodes, at least this many (minFeasibleNodesToFind): with no more nodes
# allowed than that, it compares them all and never misses the preferred one.
MOST_NODES = 100
HOSTNAME = "kubernetes.io/hostname"
# More pods than any node holds. A constraint that always holds takes the place of kube-scheduler's default ones, which spread the pods of
# a Deployment or Service: with a dozen replicas they outvote the preference for the planned node.
ANY_SKEW = 10_000
# On the pods of every planned workload, whatever its kind; the rules select by it.
WORKLOAD_LABEL = "tandem.hybrid/workload"


def labels(workload: str) -> dict[str, str]:
    """Return the labels by which the rules of a plan know the pods of a workload."""
    return {WORKLOAD_LABEL: workload}


def pod_spec(placed: list[Assignment], rules: list[PodRule]) -> dict:
    """Return affinity, tolerations and topologySpreadConstraints of the pods of one workload, from its assignments and the plan's rules."""
    carried = [rule for rule in rules if all(rule.name in one.rules for one in placed)]
    name = placed[0].workload
    spreads = [rule for rule in carried if rule.kind == "spread"] or [PodRule("", "spread", [name], HOSTNAME, max_skew=ANY_SKEW)]
    found = {"affinity": {**node_affinity(placed), **_pod_affinity(name, carried)}, "tolerations": dump(placed[0].tolerations),
             "topologySpreadConstraints": [_spread(rule) for rule in spreads]}
    return {key: value for key, value in found.items() if value}


def node_affinity(placed: list[Assignment]) -> dict:
    """Return the nodeAffinity of the pods of one workload: the planned nodes alone where one is pinned, else all eligible ones with a
    preference for the planned."""
    planned = sorted({one.node for one in placed})
    others = sorted({node for one in placed for node in one.eligible} - set(planned))
    allowed = planned if any(one.pin for one in placed) else sorted([*planned, *others[:max(0, MOST_NODES - len(planned))]])
    stanza: dict = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_nodes(allowed)]}}
    if allowed != planned:
        stanza["preferredDuringSchedulingIgnoredDuringExecution"] = [{"weight": WEIGHT, "preference": _nodes(planned)}]
    return {"nodeAffinity": stanza}


def device_claim(one: Assignment) -> dict | None:
    """Return the spec of a ResourceClaimTemplate (resource.k8s.io/v1) where a DRA driver publishes the planned devices, else None."""
    if not one.device_class:
        return None
    driver, profile = one.device_class, one.devices[0].profile
    wanted = f'profile == "{profile}"' if profile else f'productName == "{one.product}"'
    return {"spec": {"devices": {"requests": [{"name": "gpu", "exactly": {
        "deviceClassName": driver.replace("gpu.", "mig.", 1) if profile else driver, "count": len(one.devices),
        "selectors": [{"cel": {"expression": f'device.attributes["{driver}"].{wanted}'}}]}}]}}}


def _pod_affinity(name, rules):
    found: dict[str, dict[str, list]] = {}
    for rule in rules:
        if rule.kind == "spread":
            continue
        # A single pod is not to be kept from itself: its successor in a live migration may be in the same zone.
        others = [one for one in rule.workloads if one != name or rule.kind == "together" or name in rule.replicated]
        if not others:
            continue
        term = {"topologyKey": rule.topology_key, "labelSelector": _selector(others)}
        if rule.namespaces == ["*"]:
            term["namespaceSelector"] = {}
        elif rule.namespaces:
            term["namespaces"] = rule.namespaces
        stanza = found.setdefault("podAntiAffinity" if rule.kind == "apart" else "podAffinity", {})
        if rule.required:
            stanza.setdefault("requiredDuringSchedulingIgnoredDuringExecution", []).append(term)
        else:
            stanza.setdefault("preferredDuringSchedulingIgnoredDuringExecution", []).append({"weight": WEIGHT, "podAffinityTerm": term})
    return found


def _spread(rule):
    # Domains whose nodes have failed or are closed do not count: else the pods that come back would wait for a zone that is gone.
    return {"maxSkew": rule.max_skew, "topologyKey": rule.topology_key, "whenUnsatisfiable": "DoNotSchedule",
            "nodeTaintsPolicy": "Honor", "labelSelector": _selector(rule.workloads)}


def _selector(workloads):
    return {"matchExpressions": [{"key": WORKLOAD_LABEL, "operator": "In", "values": sorted(workloads)}]}


def _nodes(names):
    return {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": names}]}
