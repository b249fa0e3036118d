# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects a migration creates around a VM: claims, Jobs, the Secret of the movers, the Service."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import LABELS, VM_LABEL, DiskTask, VmTask, kubernetes_name

QEMU_ID = 107
NOT_WORTH_RETRYING = [2, 42]
SECRET = "tandem-mover-tls"  # noqa: S105 - the Secret's name
DISK_LABEL = "tandem.hybrid/disk"
GENERATION_LABEL = "tandem.hybrid/generation"


def labels(task: VmTask) -> dict[str, str]:
    return {**LABELS, VM_LABEL: task.name}


def state_claim(task: VmTask) -> str:
    """Name of the small claim that holds the movers' journals."""
    return kubernetes_name(f"{task.name[:50]}-tandem-state")


def state_volume(task: VmTask, disk_claim: dict) -> dict:
    """The small claim for the movers' journals and manifests; it stays, so that they can be checked later."""
    return file_system_claim(task, disk_claim, state_claim(task), "64Mi")


def file_system_claim(task: VmTask, disk_claim: dict, name: str, storage: str) -> dict:
    """A claim for files about the disks, in their class and as reachable as they are."""
    spec = {"accessModes": disk_claim["spec"]["accessModes"], "volumeMode": "Filesystem", "resources": {"requests": {"storage": storage}}}
    if "storageClassName" in disk_claim["spec"]:
        spec["storageClassName"] = disk_claim["spec"]["storageClassName"]
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": task.settings.namespace, "labels": labels(task)}, "spec": spec}


def job_name(task: VmTask, disk: DiskTask, generation: str) -> str:
    """Name of the Job that copies one disk in one generation."""
    return kubernetes_name(f"{generation}-{task.name}-{disk.id}")


def mover_job(task: VmTask, disk: DiskTask, generation: str, arguments: list[str]) -> dict:
    """The Job that runs the mover for one disk on the planned node."""
    container = {
        "name": "mover", "image": task.settings.mover_image, "args": arguments,
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": True}, {"name": "state", "mountPath": "/state"}],
    }
    if disk.block:
        container["volumeDevices"] = [{"name": "disk", "devicePath": "/dev/target"}]
    else:
        container["volumeMounts"].append({"name": "disk", "mountPath": "/disk"})
    volumes = [{"name": "disk", "persistentVolumeClaim": {"claimName": disk.claim}},
               {"name": "tls", "secret": {"secretName": SECRET, "defaultMode": 0o440}},
               {"name": "state", "persistentVolumeClaim": {"claimName": state_claim(task)}}]
    return pinned_job(task, job_name(task, disk, generation), {DISK_LABEL: disk.id, GENERATION_LABEL: generation}, [container], volumes)


def pinned_job(task: VmTask, name: str, marks: dict[str, str], containers: list[dict], volumes: list[dict]) -> dict:
    """A Job whose containers run one after the other on the planned node, as KubeVirt's user and with no right that they do not need."""
    hardened = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    containers = [{"imagePullPolicy": "IfNotPresent", "securityContext": hardened, **container} for container in containers]
    pod_labels = {**labels(task), **marks}
    return {
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": task.settings.namespace, "labels": pod_labels},
        "spec": {
            "backoffLimit": 6, "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": [
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": NOT_WORTH_RETRYING}},
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
            "template": {"metadata": {"labels": pod_labels}, "spec": {
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "automountServiceAccountToken": False,
                "enableServiceLinks": False, "nodeSelector": {"kubernetes.io/hostname": task.node},
                "securityContext": {"runAsNonRoot": True, "runAsUser": QEMU_ID, "runAsGroup": QEMU_ID, "fsGroup": QEMU_ID,
                                    "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}},
                **({"initContainers": containers[:-1]} if containers[1:] else {}), "containers": containers[-1:], "volumes": volumes}}}}


def service(task: VmTask) -> dict | None:
    """The Service by which clients reach the VM; None when no port is asked for."""
    if not task.settings.ports:
        return None
    ports = [{"name": f"port-{port}", "port": port, "targetPort": port, "protocol": "TCP"} for port in task.settings.ports]
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": task.name, "namespace": task.settings.namespace, "labels": labels(task)},
            "spec": {"selector": {VM_LABEL: task.name}, "ports": ports}}
