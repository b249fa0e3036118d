# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python script as a short-lived Job in the cluster, and the JSON object that it leaves in its termination message."""
from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster import pods
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError

LABELS = {"app.kubernetes.io/managed-by": "tandem", "tandem.hybrid/component": "verification"}
CHECK, RUN = "tandem.hybrid/check", "tandem.hybrid/check-run"
USER = 65532
KEEP_SECONDS = 600
GRACE_SECONDS = 90  # for a script that is told to end: it finishes what it does, and counts
POLL_SECONDS = 0.5


class VerificationError(ClusterError):
    """A check couldn't be made; the text says which and why."""


@dataclass(frozen=True)
class Script:
    """What to run: Python text, its arguments, an image that has python3, how long it may take, and what it looks at."""

    name: str
    namespace: str
    image: str
    text: str
    arguments: list[str] = field(default_factory=list)
    timeout_seconds: int = 180
    subject: str = ""

    @property
    def check(self) -> str:
        """The check that this is a run of, as a label's value: the same for the same name and subject."""
        return hashlib.sha256(json.dumps([self.name, self.subject]).encode()).hexdigest()[:16]


def read_script(path: str) -> str:
    """Return the text of a script; raises VerificationError naming the path."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise VerificationError(f"{path}: {getattr(error, 'strerror', None) or 'not text'}; expected a Python script") from None


def job(script: Script, name: str) -> dict:
    """Return the Job: not root, nothing writable, no token, one attempt."""
    container = {
        "name": "check", "image": script.image, "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/check/check.py"], "args": script.arguments,
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [{"name": "script", "mountPath": "/check", "readOnly": True}]}
    pod = {"restartPolicy": "Never", "automountServiceAccountToken": False, "enableServiceLinks": False, "terminationGracePeriodSeconds": GRACE_SECONDS,
           "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"}},
           "containers": [container], "volumes": [{"name": "script", "configMap": {"name": name}}]}
    return {"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "namespace": script.namespace, "labels": {**LABELS, CHECK: script.check}},
            "spec": {"backoffLimit": 0, "activeDeadlineSeconds": script.timeout_seconds, "ttlSecondsAfterFinished": KEEP_SECONDS,
                     "template": {"metadata": {"labels": {**LABELS, RUN: name}}, "spec": pod}}}


class Running:
    """A started script; the Job owns its ConfigMap, and takes the place of what a killed run of the same check has left."""

    def __init__(self, cluster: Cluster, script: Script, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], None] = time.sleep):
        self._cluster, self._script, self._clock, self._sleep = cluster, script, clock, sleep
        self._name = f"{script.name[:50].rstrip('-')}-{uuid.uuid4().hex[:8]}"
        for left in cluster.list("batch/v1", "Job", script.namespace, label_selector=f"{CHECK}={script.check}"):
            cluster.delete("batch/v1", "Job", left["metadata"]["name"], script.namespace)
        created = cluster.create(job(script, self._name))
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": self._name, "uid": created["metadata"]["uid"]}
        cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "data": {"check.py": script.text},
                        "metadata": {"name": self._name, "namespace": script.namespace, "labels": LABELS, "ownerReferences": [owner]}})

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_exception) -> None:
        self._cluster.delete("batch/v1", "Job", self._name, self._script.namespace)

    def started(self) -> None:
        """Wait until the script's container runs or has ended."""
        self._poll(lambda status: "running" in status or "terminated" in status)

    def over(self) -> bool:
        """Say whether the script has ended already."""
        return any("terminated" in (one.get("state") or {}) for one in _statuses(self._pod()))

    def end(self) -> None:
        """Tell the script to end (SIGTERM): unlike a deletion, a deadline that has passed leaves the pod, and with it the result."""
        if pod := self._pod():  # without one, there is nobody to tell, and `result` says so
            self._cluster.patch("v1", "Pod", pod["metadata"]["name"], self._script.namespace, {"spec": {"activeDeadlineSeconds": 1}})

    def result(self) -> dict:
        """Wait for the end and return the script's JSON object; raises VerificationError if there is none."""
        ended = self._poll(lambda status: "terminated" in status)["terminated"]
        try:
            found = json.loads(ended.get("message") or "")
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise VerificationError(f"check {self._script.name}: its container ended with status {ended.get('exitCode')} and left no result: "
                                    f"{(ended.get('message') or ended.get('reason') or 'no message')[-400:]}")
        return found

    def _poll(self, enough: Callable[[dict], bool]) -> dict:
        deadline = self._clock() + self._script.timeout_seconds
        pod: dict = {}
        while self._clock() < deadline:
            pod = self._pod()
            statuses = _statuses(pod)
            if statuses and enough(statuses[0].get("state") or {}):
                return statuses[0]["state"]
            self._sleep(POLL_SECONDS)
        why = (pods.problem(pod) if pod else None) or f"its pod is {pod.get('status', {}).get('phase', 'not there')}"
        raise VerificationError(f"check {self._script.name}: no result after {self._script.timeout_seconds} s: {why}")

    def _pod(self) -> dict:
        found = self._cluster.list("v1", "Pod", self._script.namespace, label_selector=f"{RUN}={self._name}")
        return found[0] if found else {}


def _statuses(pod: dict) -> list[dict]:
    return pod.get("status", {}).get("containerStatuses") or []


def run(cluster: Cluster, script: Script) -> dict:
    """Run a script to its end, remove it, and return its result."""
    with Running(cluster, script) as running:
        return running.result()
