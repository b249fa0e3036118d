# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live migration of a VM to another node and back while a client in the cluster keeps writing."""
from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster

from .jobs import LABELS, Running, Script, VerificationError

API, POLL_SECONDS = "kubevirt.io/v1", 0.5


def move_under_load(cluster: Cluster, script: Script, vm: str, hops: int, timeout_seconds: int, home: str = "") -> dict:
    """Move the VM `hops` times while `script` writes; returns the client's counts, the nodes and the seconds of every hop.

    A run that was killed between two hops has left the VM away from `home`, its planned node: it makes one hop more.
    """
    _settle(cluster, script.namespace, vm, time.monotonic() + timeout_seconds, time.sleep)
    nodes, seconds = [instance(cluster, script.namespace, vm)["status"]["nodeName"]], []
    if home and nodes[0] != home and hops % 2 == 0:
        hops += 1
    with Running(cluster, script) as client:
        client.started()
        for _hop in range(hops):
            hop = time.monotonic()
            migrate(cluster, script.namespace, vm, timeout_seconds)
            seconds.append(round(time.monotonic() - hop, 1))
            nodes.append(instance(cluster, script.namespace, vm)["status"]["nodeName"])
            launchers_ended(cluster, script.namespace, vm, timeout_seconds)  # a move back to a node that still cleans up is now and then overlooked
        if covered := not client.over():
            client.end()
        counts = client.result()
    stayed = [before for before, after in itertools.pairwise(nodes) if before == after]
    good = bool(counts.get("ok")) and not stayed and covered
    sentence = f"{' to '.join(nodes)} in {' and '.join(f'{one:g}' for one in seconds)} s; {counts.get('sentence', 'no counts')}"
    if not covered:
        sentence += "; the client ended before the moves did, let it write longer"
    return {**counts, "ok": good, "nodes": nodes, "hop_seconds": seconds, "sentence": sentence}


def migrate(cluster: Cluster, namespace: str, vm: str, timeout_seconds: int, sleep: Callable[[float], None] = time.sleep) -> None:
    """Live-migrate a VM and wait for the end; raises VerificationError with KubeVirt's reason.

    A migration that is under way, such as one of a run that was killed, is waited for: KubeVirt refuses a second one.
    """
    name = f"tandem-{uuid.uuid4().hex[:10]}"
    _settle(cluster, namespace, vm, time.monotonic() + timeout_seconds, sleep)
    move = cluster.create({"apiVersion": API, "kind": "VirtualMachineInstanceMigration",
                           "metadata": {"name": name, "namespace": namespace, "labels": LABELS}, "spec": {"vmiName": vm}})
    try:
        deadline, phase = time.monotonic() + timeout_seconds, ""
        while time.monotonic() < deadline:
            status = (cluster.get(API, "VirtualMachineInstanceMigration", name, namespace) or {}).get("status") or {}
            phase = status.get("phase", "")
            if phase == "Succeeded":
                return
            if phase == "Failed":
                why = (status.get("migrationState") or {}).get("failureReason") or "KubeVirt gives no reason"
                raise VerificationError(f"live migration of {namespace}/{vm} failed: {why}")
            sleep(POLL_SECONDS)
        why = _unscheduled(cluster, namespace, move["metadata"]["uid"])
        raise VerificationError(f"live migration of {namespace}/{vm}: still {phase or 'not begun'} after {timeout_seconds} s{why}")
    finally:
        cluster.delete(API, "VirtualMachineInstanceMigration", name, namespace)


def _unscheduled(cluster: Cluster, namespace: str, uid: str) -> str:
    """What the scheduler says of the migration's target pod, to be appended to a sentence; empty when it has a node."""
    pods = cluster.list("v1", "Pod", namespace, label_selector=f"kubevirt.io/migrationJobUID={uid}")
    conditions = [one for pod in pods for one in pod["status"].get("conditions") or []]
    return "".join(f"; its target pod has no node: {one.get('message', one.get('reason', ''))}" for one in conditions
                   if (one["type"], one["status"]) == ("PodScheduled", "False"))


def _settle(cluster: Cluster, namespace: str, vm: str, deadline: float, sleep: Callable[[float], None]) -> None:
    while moves := [one for one in cluster.list(API, "VirtualMachineInstanceMigration", namespace)
                    if one["spec"].get("vmiName") == vm and (one.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]:
        if time.monotonic() > deadline:
            raise VerificationError(f"{namespace}/{vm} is still being migrated by {moves[0]['metadata']['name']}")
        sleep(POLL_SECONDS)


def launchers_ended(cluster: Cluster, namespace: str, vm: str, timeout_seconds: int, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until the launchers that a moved VM has left have ended, for they hold its room on their nodes; raises VerificationError."""
    selector, deadline = f"kubevirt.io/created-by={instance(cluster, namespace, vm)['metadata']['uid']}", time.monotonic() + timeout_seconds
    while len(names := [pod["metadata"]["name"] for pod in cluster.list("v1", "Pod", namespace, label_selector=selector)
                        if pod["status"].get("phase") not in ("Succeeded", "Failed")]) > 1:
        if time.monotonic() > deadline:
            raise VerificationError(f"{namespace}/{vm} has moved, but still has the launchers {', '.join(names)}")
        sleep(POLL_SECONDS)


def instance(cluster: Cluster, namespace: str, vm: str) -> dict:
    """Return the running, live-migratable VirtualMachineInstance; raises VerificationError."""
    found = cluster.get(API, "VirtualMachineInstance", vm, namespace)
    phase = (found or {}).get("status", {}).get("phase", "not there")
    if found is None or phase != "Running":
        raise VerificationError(f"{namespace}/{vm} is {phase}; expected a running virtual machine")
    conditions = {one["type"]: one for one in found["status"].get("conditions") or []}
    able = conditions.get("LiveMigratable", {})
    if able.get("status") != "True":
        raise VerificationError(f"{namespace}/{vm} can't be migrated live: {able.get('message') or able.get('reason') or 'KubeVirt says no'}")
    return found
