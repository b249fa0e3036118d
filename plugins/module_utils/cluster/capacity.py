# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes objects as a Capacity document. Pure: lists of dictionaries in, a document out."""

from __future__ import annotations

import math
from collections import defaultdict

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster import capacity_gpus
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.quantity import quantity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity, Gpu, Node, NumaNode, Running, Taint, Volume

ZONE = "topology.kubernetes.io/zone"
HOSTNAME = "kubernetes.io/hostname"
WORKLOAD_LABELS = ("tandem.hybrid/workload", "tandem.hybrid/model", "tandem.hybrid/vm")
# These taints repeat what the fields ready and unschedulable say.
SAID_OTHERWISE = {f"node.kubernetes.io/{name}" for name in ("unschedulable", "not-ready", "unreachable")}
# Hundreds of labels a node that say what its CPU can do.
LEFT_OUT = ("cpu-feature.node.kubevirt.io/", "hyperv.node.kubevirt.io/", "cpu-model-migration.node.kubevirt.io/")
NAMES = {"cpu": "cpu_milli", "memory": "memory_bytes", "ephemeral-storage": "ephemeral_storage_bytes"}


def build(objects: dict[str, list[dict]], kubernetes_version: str = "", kubevirt_version: str = "") -> Capacity:
    """Return the Capacity of a cluster; `objects` maps Node, Pod, VirtualMachineInstance, PersistentVolumeClaim, PersistentVolume,
    ResourceSlice, ResourceClaim, ClusterPolicy and NodeResourceTopology to their lists."""
    vmis = {(vmi["metadata"]["namespace"], vmi["metadata"]["name"]): vmi for vmi in objects.get("VirtualMachineInstance", [])}
    claims = _claims(objects)
    by_node = defaultdict(list)
    for pod in sorted(objects.get("Pod", []), key=lambda pod: (pod["metadata"]["namespace"], pod["metadata"]["name"])):
        if pod["spec"].get("nodeName") and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            by_node[pod["spec"]["nodeName"]].append(pod)
    kubevirt = any("kubevirt.io/schedulable" in _labels(node) for node in objects.get("Node", []))
    nodes, running = [], []
    listed = sorted(objects.get("Node", []), key=lambda node: node["metadata"]["name"])
    for raw in listed:
        node, runs = _node(raw, by_node[raw["metadata"]["name"]], vmis, objects, kubevirt, claims, listed)
        nodes.append(node)
        running += runs
    return Capacity(nodes, sorted(running, key=lambda run: (run.namespace, run.name)), _volumes(objects), kubernetes_version, kubevirt_version)


def requests(pod: dict) -> dict[str, int]:
    """Return what a pod requests as the scheduler counts it: the larger of all containers and the init phase, plus overhead."""
    spec = pod["spec"]
    running, peak, sidecars = defaultdict(int), defaultdict(int), defaultdict(int)
    for container in spec.get("initContainers") or []:
        own = _quantities((container.get("resources") or {}).get("requests"))
        if container.get("restartPolicy") == "Always":
            for name, value in own.items():
                sidecars[name] += value
            own = {}
        for name in own.keys() | sidecars.keys():
            peak[name] = max(peak[name], own.get(name, 0) + sidecars[name])
    for container in spec.get("containers") or []:
        for name, value in _quantities((container.get("resources") or {}).get("requests")).items():
            running[name] += value
    level = _quantities((spec.get("resources") or {}).get("requests"))
    total = {name: max(running[name] + sidecars[name], peak[name]) for name in running.keys() | sidecars.keys() | peak.keys()}
    total.update(level)
    for name, value in _quantities(spec.get("overhead")).items():
        total[name] = total.get(name, 0) + value
    return {name: total[name] for name in sorted(total) if total[name]}


def _node(raw, pods, vmis, objects, kubevirt, claims, listed):
    name, labels, spec = raw["metadata"]["name"], _labels(raw), raw.get("spec", {})
    allocatable = _quantities(raw.get("status", {}).get("allocatable"))
    counts = {resource: count for resource, count in allocatable.items() if capacity_gpus.is_gpu(resource) and count}
    mode = capacity_gpus.mode(labels, counts)
    gpus = capacity_gpus.devices(labels, counts, mode)
    if not gpus and (published := capacity_gpus.from_slices(objects.get("ResourceSlice", []), name)):
        mode, gpus = "container", published
        held = claims.get(name, {})
        gpus = [Gpu(gpu.id, gpu.product, gpu.vendor, gpu.memory_bytes, used_by=held.get(gpu.id, []), device_class=gpu.device_class) for gpu in gpus]
    runs = []
    for pod in pods:
        run = _running(pod, vmis, listed)
        wanted = {resource: count for resource, count in run.requests.items() if capacity_gpus.is_gpu(resource)}
        for resource, count in wanted.items():
            gpus = capacity_gpus.hold(gpus, mode, resource, count, run.owner or run.name)
        runs.append(run)
    conditions = {condition["type"]: condition["status"] for condition in raw.get("status", {}).get("conditions") or []}
    return Node(
        name,
        {resource: value for resource, value in allocatable.items() if not capacity_gpus.is_gpu(resource)},
        {key: value for key, value in labels.items() if not key.startswith(LEFT_OUT)},
        [Taint(taint["key"], taint.get("value", ""), taint["effect"]) for taint in spec.get("taints") or [] if taint["key"] not in SAID_OTHERWISE],
        bool(spec.get("unschedulable")),
        conditions.get("Ready") == "True",
        labels.get("kubevirt.io/schedulable") == "true" if kubevirt else True,
        labels.get(ZONE, ""),
        _cells(objects.get("NodeResourceTopology", []), name),
        mode,
        _modes(mode, gpus, objects.get("ClusterPolicy", [])),
        gpus,
    ), runs


def _running(pod, vmis, listed):
    meta, labels = pod["metadata"], _labels(pod)
    owner = next((labels[key] for key in WORKLOAD_LABELS if key in labels), "")
    references = meta.get("ownerReferences") or []
    reference = next((item for item in references if item.get("controller")), {})
    vmi = vmis.get((meta["namespace"], reference.get("name"))) if reference.get("kind") == "VirtualMachineInstance" else None
    wanted = requests(pod)
    priority = pod["spec"].get("priority") or 0
    if vmi is None:
        return Running(meta["name"], meta["namespace"], pod["spec"]["nodeName"], wanted, "Pod", owner or reference.get("name", ""), priority=priority)
    conditions = {item["type"]: item["status"] for item in vmi.get("status", {}).get("conditions") or []}
    live = conditions.get("LiveMigratable") == "True" and not any(capacity_gpus.is_gpu(name) for name in wanted)
    # A VM on its way has two launcher pods: each keeps its room, and nothing is to be done to either.
    moving = vmi.get("status", {}).get("nodeName") != pod["spec"]["nodeName"]
    name = reference["name"] if not moving else meta["name"]
    return Running(
        name,
        meta["namespace"],
        pod["spec"]["nodeName"],
        wanted,
        "VM",
        owner or reference["name"],
        {},
        priority,
        "live" if live and not moving else "fixed",
        eligible=_eligible(pod, listed) if live else [],
    )


def _eligible(pod, listed):
    spec = pod["spec"]
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = affinity.get("nodeSelectorTerms") or [{}]
    selector = {key: value for key, value in (spec.get("nodeSelector") or {}).items() if key != HOSTNAME}
    found = []
    for node in listed:
        labels = _labels(node)
        taints = [taint for taint in node.get("spec", {}).get("taints") or [] if taint["effect"] != "PreferNoSchedule"]
        if (
            not node.get("spec", {}).get("unschedulable")
            and all(labels.get(key) == value for key, value in selector.items())
            and any(all(_holds(one, labels) for one in term.get("matchExpressions") or []) for term in terms)
            and all(any(_tolerates(one, taint) for one in spec.get("tolerations") or []) for taint in taints)
        ):
            found.append(node["metadata"]["name"])
    return found


def _holds(expression, labels):
    value, values = labels.get(expression["key"]), expression.get("values") or []
    operator = expression["operator"]
    if operator in ("In", "NotIn"):
        return (value in values) == (operator == "In")
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) == (operator == "Exists")
    return value is not None and value.isdigit() and (int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0]))


def _tolerates(toleration, taint):
    return (
        toleration.get("effect") in (None, "", taint["effect"])
        and toleration.get("key") in (None, "", taint["key"])
        and (toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", ""))
    )


def _modes(mode, gpus, policies):
    """Return the modes that the cluster's ClusterPolicy lets a node have."""
    if not gpus or not policies or any(gpu.vendor != "nvidia" for gpu in gpus):
        return [mode] if mode else []
    spec = policies[0].get("spec", {})
    found = {mode, "container"}
    if spec.get("mig", {}).get("strategy") == "mixed":
        found.add("mig-mixed")
    if (spec.get("sandboxWorkloads") or {}).get("enabled"):
        found.add("vm-passthrough")
    return sorted(found)


def _volumes(objects):
    disks = {volume["metadata"]["name"]: volume for volume in objects.get("PersistentVolume", [])}
    found = []
    for claim in objects.get("PersistentVolumeClaim", []):
        volume = disks.get(claim["spec"].get("volumeName", ""))
        zones, nodes = _reach(volume) if volume else ([], [])
        found.append(
            Volume(
                claim["metadata"]["name"],
                claim["metadata"]["namespace"],
                claim["spec"].get("storageClassName") or "",
                claim["spec"].get("accessModes") or [],
                zones,
                nodes,
            )
        )
    return sorted(found, key=lambda volume: (volume.namespace, volume.claim))


def _reach(volume):
    required = ((volume["spec"].get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or []
    values = {ZONE: set(), HOSTNAME: set()}
    for term in required:
        for expression in term.get("matchExpressions") or []:
            if expression["key"] in values and expression["operator"] == "In":
                values[expression["key"]].update(expression.get("values") or [])
    return sorted(values[ZONE]), sorted(values[HOSTNAME])


def _cells(topologies, node):
    found = []
    for topology in topologies:
        if topology["metadata"]["name"] != node:
            continue
        for number, zone in enumerate(zone for zone in topology.get("zones") or [] if zone.get("type") == "Node"):
            free = _quantities({item["name"]: item["available"] for item in zone.get("resources") or []})
            found.append(
                NumaNode(
                    number,
                    free.get("cpu_milli", 0),
                    free.get("memory_bytes", 0),
                    {name: value for name, value in free.items() if name.startswith("hugepages-")},
                )
            )
    return found


def _claims(objects):
    """Return node to device to holders of the allocated ResourceClaims."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for claim in objects.get("ResourceClaim", []):
        status = claim.get("status") or {}
        for result in ((status.get("allocation") or {}).get("devices") or {}).get("results") or []:
            found[result["pool"]][result["device"]] += sorted(item["name"] for item in status.get("reservedFor") or [{"name": "reserved"}])
    return found


def _labels(obj):
    return obj["metadata"].get("labels") or {}


def _quantities(values):
    found = {}
    for name, text in (values or {}).items():
        value = quantity(text)
        found[NAMES.get(name, name)] = math.ceil(value * 1000) if name == "cpu" else math.ceil(value)
    return found
