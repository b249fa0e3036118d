# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest converted by virt-v2v on the planned node: on overlays, which are committed into its disks once virt-v2v has succeeded.

The journal knows how far it is. Begun: whatever is in the overlays is made anew, the disks are the verified copy. Committing: the overlays
are committed, again after a kill. Committed: they are of no use any more, and go when the VM is accepted.
"""
from __future__ import annotations

import time

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import Refused
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import conversion_jobs as parts
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.movers import Movers, condition
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.plan_steps import BEGUN, COMMITTED, COMMITTING

TRY_SECONDS, COMMIT_SECONDS, SPEAK_SECONDS, GRACE_SECONDS = 600, 3600, 10, 60
NO_VIRTIO = "does not have virtio drivers installed"


class Conversion:
    """The conversion of one VM's context (see phases.Context)."""

    def __init__(self, context):
        self.context, self.task = context, context.task

    def rehearse(self) -> None:
        """Have the image on the planned node while the source still runs; raises MigrationError where it can't be had."""
        job = parts.try_job(self.task, self._attempt, kvm(self.context.cluster, self.task.node))
        self._run(parts.TRY, job, TRY_SECONDS, "looking for virt-v2v")
        self._movers(parts.TRY).remove()

    def end_earlier(self) -> None:
        """Wait until nothing commits for an attempt that was rolled back; its node may have been away. Raises MigrationError when that does not end."""
        if self._attempt:
            Movers(self.context.cluster, self.task, parts.generation(parts.COMMIT, self._attempt - 1)).stop()

    def run(self) -> None:
        """Convert and commit, or what of it is left. Raises MigrationError with the last words of what failed."""
        stage = self.context.state().conversion.get("stage")
        if stage is None:
            self._note(stage=BEGUN, image=self.task.settings.conversion_image)
        if stage in (None, BEGUN):
            self.context.cluster.apply(parts.overlay_claim(self.task, self._attempt))
            job = parts.convert_job(self.task, self._attempt, kvm(self.context.cluster, self.task.node))
            said, seconds = self._run(parts.CONVERT, job, self.task.settings.conversion_timeout_seconds + GRACE_SECONDS, "converting")
            if NO_VIRTIO in said:
                self._movers(parts.CONVERT).stop()
                raise MigrationError(f"{self.task.name}: virt-v2v has no virtio drivers for this guest (for Windows the image needs"
                                     " /usr/share/virtio-win); its disks are still the copy")
            self._note(stage=COMMITTING, version=said.partition("\n")[0], seconds=seconds)
        if self.context.state().conversion["stage"] == COMMITTING:
            _said, seconds = self._run(parts.COMMIT, parts.commit_job(self.task, self._attempt), COMMIT_SECONDS, "committing the conversion")
            self._note(stage=COMMITTED, seconds=round(self.context.state().conversion["seconds"] + seconds, 2))

    @property
    def _attempt(self) -> int:
        return self.context.state().attempt

    def _movers(self, step: str) -> Movers:
        return Movers(self.context.cluster, self.task, parts.generation(step, self._attempt))

    def _note(self, **data) -> None:
        self.context.note("cutover", "conversion", **data)
        self.context.say(phase="cutover", event="conversion", message=", ".join(f"{name} {value}" for name, value in data.items()))

    def _run(self, step: str, job: dict, timeout_seconds: float, what: str) -> tuple[str, float]:
        """Have a Job run to its end; returns what its last container said and the seconds it was waited for."""
        movers, started, spoken = self._movers(step), time.monotonic(), 0.0
        movers.ensure(job)
        while True:
            pods, seconds = movers.pods(), time.monotonic() - started
            done = [found["message"] for pod in pods for found in _terminated(pod, "containerStatuses") if found["exitCode"] == 0]
            if done:
                return done[0], round(seconds, 2)
            self._refuse_failed(movers, job, pods, what)
            self.context.check()
            movers.refuse_dead_node()
            waits = next((text for pod in pods if (text := waits_for(pod))), "")
            if seconds > timeout_seconds:
                movers.stop()
                raise MigrationError(f"{self.task.name}: {what} did not end within {timeout_seconds:.0f} s{': ' + waits if waits else ''}")
            if seconds - spoken >= SPEAK_SECONDS:
                spoken = seconds
                self.context.say(event="converting", message=f"{what}, {seconds:.0f} s{', waits: ' + waits if waits else ''}")
            time.sleep(1)

    def _refuse_failed(self, movers: Movers, job: dict, pods: list[dict], what: str) -> None:
        found = self.context.cluster.get("batch/v1", "Job", job["metadata"]["name"], self.task.settings.namespace)
        failed = condition(found or {}, "Failed")
        if failed:
            raise MigrationError(f"{self.task.name}: {what} failed: {last_words(pods) or failed}")


def remove_overlays(context) -> None:
    """Take the overlays of a conversion away, once its Jobs are gone."""
    state = context.state()
    if state.conversion:
        claim = parts.overlay_claim(context.task, state.attempt)["metadata"]
        context.cluster.delete("v1", "PersistentVolumeClaim", claim["name"], claim["namespace"])


def kvm(cluster: Cluster, node: str) -> bool:
    """Whether a conversion may have KVM: the node offers KubeVirt's device, and KubeVirt itself does not emulate. Else it works too, but slowly."""
    try:
        offered = ((cluster.get("v1", "Node", node) or {}).get("status", {}).get("allocatable") or {}).get(parts.KVM, "0")
        installed = cluster.list("kubevirt.io/v1", "KubeVirt") if offered != "0" else []
    except Refused:
        return False
    return any(not one["spec"].get("configuration", {}).get("developerConfiguration", {}).get("useEmulation") for one in installed)


def waits_for(pod: dict) -> str:
    """Why no container of a pod runs yet, in the cluster's words; empty when one runs. Pure."""
    unscheduled = [item.get("message") for item in pod["status"].get("conditions", []) if item["type"] == "PodScheduled" and item["status"] != "True"]
    waiting = [found.get("message") for kind in ("initContainerStatuses", "containerStatuses") for item in pod["status"].get(kind, [])
               if (found := item["state"].get("waiting"))]
    return next((text for text in (*unscheduled, *waiting) if text), "")


def last_words(pods: list[dict]) -> str:
    """The error of the container that failed, else its last lines. Pure."""
    said = [found.get("message") or found.get("reason") or "" for pod in pods for kind in ("initContainerStatuses", "containerStatuses")
            for found in _terminated(pod, kind) if found["exitCode"] != 0]
    text = said[-1].partition("If reporting bugs")[0] if said else ""  # what virt-v2v's own advice begins with
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    error = next((number for number in reversed(range(len(lines))) if "error:" in lines[number]), len(lines) - 3)
    return " / ".join(lines[max(error, 0):][:3])[:600]


def _terminated(pod: dict, kind: str) -> list[dict]:
    return [{"message": "", **item["state"]["terminated"]} for item in pod["status"].get(kind, []) if "terminated" in item["state"]]
