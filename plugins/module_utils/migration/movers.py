# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run mover Jobs for one generation and wait for their results."""
from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError, Refused
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import jobs
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError, SourceChanged
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import VM_LABEL, DiskTask, VmTask

_REREAD = {"bitmap_missing", "other_generation", "manifest_missing", "manifest_damaged", "journal_damaged"}
_POLL_SECONDS = 0.3


@dataclass(frozen=True)
class Copied:
    """What the movers of one generation did together: bytes, and the longest disk's seconds."""

    results: dict[str, dict]

    @property
    def bytes(self) -> int:
        return sum(int(item["copied_bytes"]) for item in self.results.values())

    def longest(self, field: str) -> float:
        return max(float(item.get(field) or 0) for item in self.results.values())

    def roots(self) -> dict[str, str]:
        """Disk to the digest of its manifest."""
        return {disk: str(item["root"]) for disk, item in self.results.items()}


class Movers:
    """The Jobs of one VM and generation, one for each disk."""

    def __init__(self, cluster: Cluster, task: VmTask, generation: str):
        self._cluster, self._task, self._generation = cluster, task, generation

    @property
    def _namespace(self) -> str:
        return self._task.settings.namespace

    def start(self, disk: DiskTask, arguments: list[str]) -> None:
        """Have the Job of a disk run."""
        self.ensure(jobs.mover_job(self._task, disk, self._generation, arguments))

    def ensure(self, job: dict) -> None:
        """Create a Job; one that exists goes on, one that gave up is replaced."""
        found = self._cluster.get("batch/v1", "Job", job["metadata"]["name"], self._namespace)
        if found and not condition(found, "Failed"):
            return
        if found:
            self._cluster.delete("batch/v1", "Job", job["metadata"]["name"], self._namespace, propagation="Foreground")
            self._until(lambda: self._cluster.get("batch/v1", "Job", job["metadata"]["name"], self._namespace) is None, 60)
        self._cluster.create(job)

    def wait_started(self, timeout_seconds: float) -> bool:
        """Wait until every mover's container runs; False when it takes longer (the copy then just starts later).

        Raises MigrationError when their node is away.
        """
        started = self._until(lambda: self._running() >= len(self._task.disks), timeout_seconds)
        if not started:
            self.refuse_dead_node()
        return started

    def _running(self) -> int:
        return sum(any("running" in item["state"] for item in pod["status"].get("containerStatuses", [])) for pod in self.pods())

    def wait(self, timeout_seconds: float, watch: Callable[[], None], say: Callable[..., None]) -> Copied:
        """Wait for all disks; `watch` is called about once a second and may raise, `say` gets the progress.

        Raises SourceChanged when only a comparing copy helps, MigrationError when a mover gave up, their node is away or the time is over.
        """
        deadline, spoken = time.monotonic() + timeout_seconds, 0.0
        while True:
            pods = self.pods()
            results = _results(pods)
            if len(results) == len(self._task.disks):
                return Copied(results)
            self._refuse_failed(pods)
            if time.monotonic() - spoken >= 1:
                spoken = time.monotonic()
                watch()
                self.refuse_dead_node()
                self._speak(pods, results, say)
            if spoken > deadline:
                raise MigrationError(f"{self._task.name}: the copy did not end within {timeout_seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def _speak(self, pods: list[dict], results: dict, say: Callable[..., None]) -> None:
        done = total = rate = 0
        for pod in pods:
            disk = pod["metadata"]["labels"][jobs.DISK_LABEL]
            line = results.get(disk) or self._last_line(pod)
            done += int(line.get("done_bytes") or line.get("copied_bytes") or 0)
            total += int(line.get("total_bytes") or line.get("planned_bytes") or 0)
            rate += int(line.get("rate_bytes_per_second") or 0)
        if total:
            say(done_bytes=done, total_bytes=total, rate_bytes_per_second=rate, eta_seconds=round((total - done) / rate) if rate else None)

    def _last_line(self, pod: dict) -> dict:
        name = pod["metadata"]["name"]
        try:
            found = self._cluster.request("GET", f"/api/v1/namespaces/{self._namespace}/pods/{name}/log", query=[("tailLines", 1)])
        except ClusterError:
            return {}  # a pod that is only starting has no log; progress is a courtesy
        if isinstance(found, (bytes, str)):
            try:
                found = json.loads(found)
            except ValueError:
                return {}
        return found if isinstance(found, dict) and found.get("event") == "progress" else {}

    def _refuse_failed(self, pods: list[dict]) -> None:
        for job in self._cluster.list("batch/v1", "Job", self._namespace, label_selector=self._selector()):
            if condition(job, "Failed"):
                disk = job["metadata"]["labels"][jobs.DISK_LABEL]
                last = _last_message(pods, disk)
                sentence = f"{self._task.name}: the mover of disk {disk} gave up: {last.get('message') or condition(job, 'Failed')}"
                raise (SourceChanged if last.get("reason") in _REREAD else MigrationError)(sentence)

    def refuse_dead_node(self) -> None:
        """Nothing waits for a node that may never come back, least of all a VM that is off meanwhile."""
        try:
            node = self._cluster.get("v1", "Node", self._task.node)
        except Refused:
            return  # who may not look at nodes waits for the Jobs' own word
        ready = next((item for item in (node or {}).get("status", {}).get("conditions", []) if item["type"] == "Ready"), {})
        if ready.get("status") != "True":
            raise MigrationError(f"{self._task.name}: its node {self._task.node} is {'not ready: ' + ready.get('message', '') if node else 'gone'};"
                                 " migrate again when it is back, or plan again without it")

    def remove(self) -> None:
        """Delete the Jobs and their pods."""
        for job in self._cluster.list("batch/v1", "Job", self._namespace, label_selector=self._selector()):
            self._cluster.delete("batch/v1", "Job", job["metadata"]["name"], self._namespace)

    def stop(self) -> None:
        """Delete the Jobs and wait until no pod of theirs can write any more."""
        self.remove()
        if not self._until(lambda: not self.pods(), 60):
            raise MigrationError(f"{self._task.name}: movers of {self._generation} do not go away")

    def pods(self) -> list[dict]:
        """The pods of this generation."""
        return self._cluster.list("v1", "Pod", self._namespace, label_selector=self._selector())

    def _selector(self) -> str:
        return f"{VM_LABEL}={self._task.name},{jobs.GENERATION_LABEL}={self._generation}"

    @staticmethod
    def _until(ready: Callable[[], bool], timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True


def remove_all(cluster: Cluster, task: VmTask) -> None:
    """Delete every mover Job of a VM."""
    namespace = task.settings.namespace
    for job in cluster.list("batch/v1", "Job", namespace, label_selector=f"{VM_LABEL}={task.name},{jobs.GENERATION_LABEL}"):
        cluster.delete("batch/v1", "Job", job["metadata"]["name"], namespace)


def _terminated(pod: dict) -> dict:
    for item in pod["status"].get("containerStatuses", []):
        if "terminated" in item["state"]:
            return item["state"]["terminated"]
    return {}


def _message(terminated: dict) -> dict:
    try:
        found = json.loads(terminated.get("message") or "{}")
    except ValueError:
        return {"message": terminated.get("message")}
    return found if isinstance(found, dict) else {}


def _results(pods: list[dict]) -> dict[str, dict]:
    """Disk to the result of the mover that completed it; the container's own word comes seconds before the Job's."""
    found = {}
    for pod in pods:
        terminated = _terminated(pod)
        if terminated and terminated.get("exitCode") == 0:
            found[pod["metadata"]["labels"][jobs.DISK_LABEL]] = _message(terminated)
    return found


def _last_message(pods: list[dict], disk: str) -> dict:
    own = [pod for pod in pods if pod["metadata"]["labels"][jobs.DISK_LABEL] == disk and _terminated(pod)]
    own.sort(key=lambda pod: _terminated(pod).get("finishedAt") or "")
    return _message(_terminated(own[-1])) if own else {}


def condition(job: dict, kind: str) -> str:
    for item in job.get("status", {}).get("conditions", []):
        if item["type"] == kind and item["status"] == "True":
            return item.get("message") or item.get("reason") or kind
    return ""
