# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployment and Service of a planned model server."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.enforcement import device_claim, labels as workload_labels, pod_spec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import GpuRequest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan

from .memory import MIB
from .model import SizingError
from .service import Need
from .sizing import ServedModel, Sizing

PORT = 8080
MODEL_LABEL = "tandem.hybrid/model"
SHAPE_ANNOTATION = "tandem.hybrid/shape"
USER = 65532
PROBE_SECONDS = 2


def manifests(entries: list[ServedModel], sizing: Sizing, plan: Plan, namespace: str) -> list[dict]:
    """Return the objects of all entries in the plan's shapes; raises SizingError for a model that the plan doesn't place."""
    sized = {one.name: one for one in sizing.models}
    unplaced = {one.workload: one.sentence for one in plan.unplaced}
    objects = []
    for entry in entries:
        placed = sorted((one for one in plan.assignments if one.workload == entry.name and one.kind == "model"), key=lambda one: one.replica)
        if entry.name not in sized:
            raise SizingError(f"model {entry.name!r} is not in the sizing; size it and plan again")
        if not placed:
            raise SizingError(f"model {entry.name!r} has no place in the plan: {unplaced.get(entry.name, 'plan again')}")
        shapes = {shape.name: shape for shape in sized[entry.name].shapes}
        names = sorted({one.shape for one in placed})
        for number, name in enumerate(names):
            group = [one for one in placed if one.shape == name]
            own_name = entry.name if len(names) == 1 else f"{entry.name}-{number + 1}"
            if name not in shapes:
                raise SizingError(f"model {entry.name!r}: the plan's shape {name!r} is not in the sizing; size it and plan again")
            if claim := device_claim(group[0]):
                objects.append(_claim_template(own_name, entry, claim, entry.namespace or namespace))
            objects.append(_deployment(own_name, entry, group, sized[entry.name].needs[name], shapes[name].gpu, entry.namespace or namespace,
                                       pod_spec(group, plan.rules)))
        objects.append(_service(entry, entry.namespace or namespace))
    return objects


def _deployment(name, entry, placed, need, gpu, namespace, planned):
    labels = {"app.kubernetes.io/name": name, MODEL_LABEL: entry.name}
    pod = {
        "automountServiceAccountToken": False, "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(entry, need, gpu, placed[0])],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    }
    if need.shared_memory_bytes:
        pod["volumes"].append({"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": _mebibytes(need.shared_memory_bytes)}})
    if entry.claim:
        pod["volumes"].append({"name": "models", "persistentVolumeClaim": {"claimName": entry.claim, "readOnly": True}})
    if entry.node_selector:
        pod["nodeSelector"] = entry.node_selector
    if placed[0].device_class:
        pod["resourceClaims"] = [{"name": "gpu", "resourceClaimTemplateName": name}]
    pod |= planned
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": len(placed), "selector": {"matchLabels": labels}, "progressDeadlineSeconds": need.startup_seconds + 300,
            # A device that is in use can't be had twice: the old pod goes first.
            "strategy": {"type": "Recreate"} if gpu else {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": labels | workload_labels(entry.name), "annotations": {
                SHAPE_ANNOTATION: placed[0].shape, "prometheus.io/scrape": "true", "prometheus.io/port": str(PORT)}}, "spec": pod}}}


def _claim_template(name, entry, claim, namespace):
    return {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate",
            "metadata": {"name": name, "namespace": namespace, "labels": {MODEL_LABEL: entry.name}}, "spec": claim}


def _container(entry: ServedModel, need: Need, gpu: GpuRequest | None, placed: Assignment) -> dict:
    threads = max(1, need.cpu_milli // 1000)
    limits = {"cpu": str(threads), "memory": _mebibytes(need.memory_limit_bytes)}
    if gpu and not placed.device_class:
        if not placed.resource:
            raise SizingError(f"model {entry.name!r}: the plan names no resource for its {gpu.kind} GPU; plan again")
        limits[placed.resource] = str(gpu.count)
    mounts = [{"name": "scratch", "mountPath": "/tmp"}]  # noqa: S108
    if need.shared_memory_bytes:
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108
    if entry.claim:
        mounts.append({"name": "models", "mountPath": "/models", "readOnly": True})
    ready = "/health" if entry.engine == "llama" else "/v1/models"  # vLLM's /health says only that the process lives
    container = {
        "name": "server", "image": entry.image, "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": f"{need.cpu_milli}m", "memory": _mebibytes(need.memory_request_bytes)}, "limits": limits},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "startupProbe": _probe(ready, PROBE_SECONDS, -(-need.startup_seconds // PROBE_SECONDS)),
        "readinessProbe": _probe(ready, 5, 3), "livenessProbe": _probe("/health", 10, 6), "volumeMounts": mounts}
    if placed.device_class:
        container["resources"]["claims"] = [{"name": "gpu"}]
    return container | (_llama(entry, threads) if entry.engine == "llama" else _vllm(entry, gpu))


def _llama(entry, threads):
    # As many threads as the limit has processors: with more, ggml's barriers spin on throttled ones.
    flags = ["-m", entry.path, "--alias", entry.name, "--host", "0.0.0.0", "--port", str(PORT), "--metrics",  # noqa: S104
             "-c", str(entry.context * entry.parallel), "-np", str(entry.parallel), "-t", str(threads), "-tb", str(threads)]
    if entry.cache_type != "f16":
        flags += ["-ctk", entry.cache_type, "-ctv", entry.cache_type, "-fa", "on"]
    return {"args": [*flags, "-kvu" if entry.unified else "-no-kvu", *entry.arguments]}


def _vllm(entry, gpu):
    flags = [entry.path, "--served-model-name", entry.name, "--host", "0.0.0.0", "--port", str(PORT),  # noqa: S104
             "--max-model-len", str(entry.context), "--max-num-seqs", str(entry.parallel), "--tensor-parallel-size", str(gpu.count),
             "--gpu-memory-utilization", str(entry.utilisation_percent / 100)]
    if entry.cache_type not in ("f16", "bf16"):
        flags += ["--kv-cache-dtype", entry.cache_type]
    return {"command": ["vllm", "serve"], "args": [*flags, *entry.arguments],
            "env": [{"name": "HOME", "value": "/tmp"}, {"name": "HF_HUB_OFFLINE", "value": "1" if entry.claim else "0"}]}  # noqa: S108


def _service(entry, namespace):
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": entry.name, "namespace": namespace, "labels": {MODEL_LABEL: entry.name}},
            "spec": {"selector": {MODEL_LABEL: entry.name}, "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]}}


def _probe(path, period, failures):
    return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures}


def _mebibytes(size):
    return f"{-(-size // MIB)}Mi"
