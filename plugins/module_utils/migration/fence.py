# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may run: the lease of a run, the lease of a VM's disks, and the admission policy that keeps a fenced target down."""
from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError, Refused
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import Held, MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import LABELS, VmTask, kubernetes_name

API = "coordination.k8s.io/v1"
RUN_LEASE = "tandem-migration"
FENCED = "tandem.hybrid/fenced"
OWNER = "tandem.hybrid/owner"
POLICY = "tandem-migration-fence"


def identity() -> str:
    """Who we are: host, pid namespace, pid and its start time, so that a dead holder on the same host is known as dead."""
    namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    return f"{socket.gethostname()}/{namespace}/{os.getpid()}/{_start_ticks(os.getpid())}"


def _start_ticks(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _dead(holder: str) -> bool:
    parts, ours = holder.split("/"), identity().split("/")
    return len(parts) == 4 and parts[:2] == ours[:2] and parts[2].isdigit() and _start_ticks(int(parts[2])) != parts[3]


class RunLock:
    """The lease that one run holds while it works; renewed by a thread, `check` raises Held once it is lost."""

    def __init__(self, cluster: Cluster, namespace: str, seconds: int, name: str = RUN_LEASE, holder: str = "",
                 now: Callable[[], datetime] = lambda: datetime.now(UTC)):
        self._cluster, self._namespace, self._name, self._seconds, self._now = cluster, namespace, name, seconds, now
        self.holder = holder or identity()
        self._lease: dict = {}
        self._stop = threading.Event()
        self._lost = ""
        self._renewed = 0.0

    def __enter__(self) -> RunLock:
        self._acquire()
        self._thread = threading.Thread(target=self._renew_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exc) -> None:
        self._stop.set()
        self._thread.join()
        if not self._lost:
            self._lease["spec"].update(holderIdentity="", renewTime=_micro(self._now()))
            self._write()

    def check(self) -> None:
        """Raise Held when the lease was lost or could not be renewed in time: another run may have started."""
        if not self._lost and time.monotonic() - self._renewed > self._seconds:
            self._lost = f"the lease could not be renewed for {self._seconds} s"
        if self._lost:
            raise Held(f"this run stops: {self._lost}")

    def _acquire(self) -> None:
        found = self._cluster.get(API, "Lease", self._name, self._namespace)
        if found is None:
            spec = {"holderIdentity": "", "leaseTransitions": 0}
            found = {"apiVersion": API, "kind": "Lease", "spec": spec,
                     "metadata": {"name": self._name, "namespace": self._namespace, "labels": LABELS}}
        spec = found["spec"]
        holder = spec.get("holderIdentity", "")
        if holder and holder != self.holder and not _dead(holder):
            age = (self._now() - _time(spec["renewTime"])).total_seconds()
            if age < spec["leaseDurationSeconds"]:
                raise Held(f"another run holds the lease {self._namespace}/{self._name}: {holder} since {spec['acquireTime']}, renewed"
                           f" {age:.0f} s ago; wait for it to end, or {spec['leaseDurationSeconds']} s after it was killed")
        stamp = _micro(self._now())
        spec.update(holderIdentity=self.holder, leaseDurationSeconds=self._seconds, acquireTime=stamp, renewTime=stamp,
                    leaseTransitions=spec.get("leaseTransitions", 0) + 1)
        self._lease = found
        try:
            self._write()
        except Refused as error:
            if error.status == 409:
                raise Held(f"another run took the lease {self._namespace}/{self._name} at the same moment") from error
            raise

    def _write(self) -> None:
        started = time.monotonic()
        write = self._cluster.replace if "resourceVersion" in self._lease["metadata"] else self._cluster.create
        self._lease = write(self._lease)
        self._renewed = started

    def _renew_forever(self) -> None:
        while not self._stop.wait(self._seconds / 3):
            try:
                self._lease["spec"]["renewTime"] = _micro(self._now())
                self._write()
            except ClusterError as error:  # of an API server that is away, check() decides by the time since the last success
                with contextlib.suppress(ClusterError):
                    if isinstance(error, Refused) and error.status == 409:
                        self._resync()

    def _resync(self) -> None:
        found = self._cluster.get(API, "Lease", self._name, self._namespace)
        if not found or found["spec"].get("holderIdentity") != self.holder:
            self._lost = f"the lease {self._namespace}/{self._name} was taken by {found['spec'].get('holderIdentity') if found else 'a deletion'}"
            self._stop.set()
        else:
            self._lease = found


def owner(cluster: Cluster, task: VmTask) -> str:
    """Who owns the VM's disks now: source/... or target/...; empty before the migration."""
    lease = cluster.get(API, "Lease", _lease_name(task), task.settings.namespace)
    return lease["spec"].get("holderIdentity", "") if lease else ""


def source_identity(task: VmTask) -> str:
    return f"source/{task.vm.id}"


def target_identity(task: VmTask) -> str:
    return f"target/{task.settings.namespace}/{task.name}"


def hand_over(cluster: Cluster, task: VmTask, before: str, after: str) -> None:
    """Give the VM's lease from `before` to `after` by resourceVersion; raises MigrationError when someone else owns it. Idempotent."""
    lease = cluster.get(API, "Lease", _lease_name(task), task.settings.namespace)
    stamp = _micro(datetime.now(UTC))
    try:
        if lease is None:
            if before:
                raise MigrationError(f"{task.name}: its lease is gone; expected it held by {before}")
            cluster.create({"apiVersion": API, "kind": "Lease", "spec": {"holderIdentity": after, "acquireTime": stamp, "leaseTransitions": 0},
                            "metadata": {"name": _lease_name(task), "namespace": task.settings.namespace, "labels": LABELS}})
            return
        holder = lease["spec"].get("holderIdentity", "")
        if holder == after:
            return
        if holder != before:
            raise MigrationError(f"{task.name}: its lease is held by {holder or 'nobody'}, expected {before or 'nobody'}")
        lease["spec"].update(holderIdentity=after, acquireTime=stamp, leaseTransitions=lease["spec"].get("leaseTransitions", 0) + 1)
        cluster.replace(lease)
    except Refused as error:
        if error.status == 409:
            raise MigrationError(f"{task.name}: its lease was changed by someone else at the same moment; nothing was started") from error
        raise


def _lease_name(task: VmTask) -> str:
    return kubernetes_name(f"tandem-vm-{task.name}")


def policy() -> list[dict]:
    """The admission policy and its binding: a fenced VM stays Halted, its VMI is never created, and only an owner change lifts the fence."""
    fenced = f"has(object.metadata.labels) && '{FENCED}' in object.metadata.labels"
    was_fenced = f"oldObject != null && has(oldObject.metadata.labels) && '{FENCED}' in oldObject.metadata.labels"
    released = (f"has(object.metadata.annotations) && '{OWNER}' in object.metadata.annotations"
                f" && object.metadata.annotations['{OWNER}'] == 'target'")
    halted = "object.kind == 'VirtualMachine' && has(object.spec.runStrategy) && object.spec.runStrategy == 'Halted'"
    return [
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": POLICY, "labels": LABELS},
         "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [
             {"apiGroups": ["kubevirt.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["virtualmachines"]},
             {"apiGroups": ["kubevirt.io"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["virtualmachineinstances"]}]},
             "validations": [
                 {"expression": f"!({fenced}) || ({halted})",
                  "message": "tandem fence: the source still owns this machine, it can't be started here before its cutover"},
                 {"expression": f"!({was_fenced}) || ({fenced}) || ({released})",
                  "message": f"tandem fence: the label {FENCED} is lifted only together with the annotation {OWNER}=target"}]}},
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
         "metadata": {"name": POLICY, "labels": LABELS}, "spec": {"policyName": POLICY, "validationActions": ["Deny"]}}]


def prove_target_fence(cluster: Cluster, task: VmTask, timeout_seconds: float = 30) -> None:
    """Try to start the fenced VM (server dry run) until the API server refuses; raises MigrationError when it never does."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            cluster.patch("kubevirt.io/v1", "VirtualMachine", task.name, task.settings.namespace, {"spec": {"runStrategy": "Always"}}, dry_run=True)
        except Refused as error:
            if "tandem fence" in str(error):
                return
            raise
        if time.monotonic() > deadline:
            raise MigrationError(f"{task.name}: the API server would start the fenced VM; is the ValidatingAdmissionPolicy {POLICY} in force?")
        time.sleep(0.3)  # a new policy takes effect within a second or so


def _micro(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
