# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM in the cluster: created fenced and halted, started by the cutover, checked, stopped by a rollback."""
from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.apply import Options, apply
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import devices, fence, jobs
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import VmTask

API = "kubevirt.io/v1"


def machine(task: VmTask, chosen: str = devices.PLANNED) -> dict:
    """The rendered VirtualMachine with the chosen devices, and the fence on it and on what it would start."""
    vm = devices.fitted(task.rendered.virtual_machine, chosen)
    vm["spec"]["runStrategy"] = "Halted"
    for metadata in (vm["metadata"], vm["spec"]["template"].setdefault("metadata", {})):
        metadata["labels"] = {**metadata.get("labels", {}), **jobs.labels(task), fence.FENCED: "true"}
    return vm


def objects(task: VmTask) -> list[dict]:
    """Everything that `prepare` creates for a VM, in the order of creation."""
    claims = task.rendered.claims
    service = jobs.service(task)
    return [*fence.policy(), *claims, jobs.state_volume(task, claims[0]), machine(task), *([service] if service else [])]


def prepare(cluster: Cluster, task: VmTask) -> None:
    """Create claims, fence, VM and Service. A VM of that name that is no longer ours to fence is refused."""
    namespace = task.settings.namespace
    found = cluster.get(API, "VirtualMachine", task.name, namespace)
    if found and found["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") != "tandem":
        raise MigrationError(f"{task.name}: a VirtualMachine of this name exists in {namespace} and is not Tandem's; rename one of them")
    if found and fence.FENCED not in found["metadata"].get("labels", {}):
        raise MigrationError(f"{task.name}: the VirtualMachine in {namespace} is not fenced although its migration is not done; roll back first")
    apply(cluster, objects(task), Options(component="migration", namespace=namespace))
    fence.prove_target_fence(cluster, task)


def refit(cluster: Cluster, task: VmTask, chosen: str) -> None:
    """Give the halted, fenced VM the chosen devices. Idempotent."""
    apply(cluster, [machine(task, chosen)], Options(component="migration", namespace=task.settings.namespace))


def start(cluster: Cluster, task: VmTask) -> None:
    """Lift the fence and start the VM, unless it is wanted halted, in one request. Idempotent."""
    cluster.patch(API, "VirtualMachine", task.name, task.settings.namespace, {
        "metadata": {"labels": {fence.FENCED: None}, "annotations": {fence.OWNER: "target"}},
        "spec": {"runStrategy": "Always" if task.settings.start else "Halted", "template": {"metadata": {"labels": {fence.FENCED: None}}}}})


def stop(cluster: Cluster, task: VmTask, timeout_seconds: float) -> None:
    """Halt the VM, put its fence back and wait until nothing of it runs."""
    namespace = task.settings.namespace
    if cluster.get(API, "VirtualMachine", task.name, namespace) is not None:
        cluster.patch(API, "VirtualMachine", task.name, namespace, {
            "metadata": {"labels": {fence.FENCED: "true"}, "annotations": {fence.OWNER: None}},
            "spec": {"runStrategy": "Halted", "template": {"metadata": {"labels": {fence.FENCED: "true"}}}}})
    deadline = time.monotonic() + timeout_seconds
    while (vmi := instance(cluster, task)) is not None and vmi.get("status", {}).get("phase") not in ("Failed", "Succeeded"):
        if time.monotonic() > deadline:
            raise MigrationError(f"{task.name}: its instance in the cluster did not stop within {timeout_seconds:.0f} s; the source stays off")
        time.sleep(0.5)


def instance(cluster: Cluster, task: VmTask) -> dict | None:
    return cluster.get(API, "VirtualMachineInstance", task.name, task.settings.namespace)


def wait_running(cluster: Cluster, task: VmTask, check: Callable[[], None], say: Callable[..., None]) -> dict:
    """Wait until the instance runs; returns it. Raises MigrationError with KubeVirt's own reason."""
    deadline, reason = time.monotonic() + task.settings.start_timeout_seconds, ""
    while True:
        check()
        vmi = instance(cluster, task)
        if vmi and vmi.get("status", {}).get("phase") == "Running":
            return vmi
        text = why_not_running(vmi)
        if text != reason:
            reason = text
            say(message=reason)
        if (vmi or {}).get("status", {}).get("phase") == "Failed" or time.monotonic() > deadline:
            raise MigrationError(f"{task.name}: does not run on the cluster after {task.settings.start_timeout_seconds} s: {reason}")
        time.sleep(0.3)


def why_not_running(vmi: dict | None) -> str:
    """KubeVirt's words for what an instance waits for."""
    if vmi is None:
        return "KubeVirt has not created its instance yet"
    status = vmi.get("status", {})
    bad = [item["message"] for item in status.get("conditions", []) if item.get("status") == "False" and item.get("message")]
    return f"{status.get('phase', 'Pending')}{': ' + '; '.join(bad) if bad else ''}"


def differences(task: VmTask, vmi: dict, chosen: str = devices.PLANNED) -> list[str]:
    """What of the running instance is not as plan, source and chosen devices say: node, UUID, MACs, disks, serials and models. Pure."""
    found = []

    def compare(what: str, actual: object, expected: object) -> None:
        if actual != expected:
            found.append(f"{what} is {actual}, expected {expected}")

    domain = vmi["spec"]["domain"]
    wanted = machine(task, chosen)["spec"]["template"]["spec"]["domain"]
    compare("node", vmi["status"].get("nodeName"), task.node)
    compare("UUID", domain.get("firmware", {}).get("uuid"), wanted.get("firmware", {}).get("uuid"))
    compare("serials of the disks", _serials(domain), _serials(wanted))
    actual = _devices(domain)
    for name, kind in _devices(wanted).items():
        compare(f"device {name}", actual.get(name, kind), kind)  # one that is missing shows above
    macs = sorted(item["mac"].lower() for item in vmi["status"].get("interfaces", []) if item.get("mac"))
    expected = sorted(item["macAddress"].lower() for item in wanted["devices"].get("interfaces", []) if item.get("macAddress"))
    if expected:
        compare("MAC addresses", macs, expected)
    return found


def _serials(domain: dict) -> list[str]:
    return [disk.get("serial", "") for disk in domain["devices"].get("disks", []) if "disk" in disk or "lun" in disk]


def _devices(domain: dict) -> dict[str, str]:
    """Bus of each disk and model of each network interface, by name."""
    disks = ((disk["name"], (disk.get("disk") or disk.get("lun") or {}).get("bus")) for disk in domain["devices"].get("disks", []))
    interfaces = ((nic["name"], nic.get("model")) for nic in domain["devices"].get("interfaces", []))
    return {name: kind for name, kind in (*disks, *interfaces) if kind}


def probe(cluster: Cluster, task: VmTask, say: Callable[..., None]) -> str:
    """Ask the service until it answers; returns what was asked. Raises MigrationError after the probe's time."""
    wanted = task.settings.probe
    host = wanted.host or _service_address(cluster, task)
    deadline = time.monotonic() + wanted.timeout_seconds
    what = f"http://{host}:{wanted.port}{wanted.path}" if wanted.path else f"{host}:{wanted.port}"
    while True:
        try:
            if wanted.path:
                urllib.request.build_opener().open(what, timeout=2).close()
            else:
                socket.create_connection((host, wanted.port), timeout=2).close()
            return what
        except (urllib.error.URLError, OSError) as error:
            say(message=f"{what}: {getattr(error, 'reason', error)}")
            if time.monotonic() > deadline:
                raise MigrationError(f"{task.name}: {what} does not answer within {wanted.timeout_seconds} s: {error}") from error
        time.sleep(0.2)


def _service_address(cluster: Cluster, task: VmTask) -> str:
    service = cluster.get("v1", "Service", task.name, task.settings.namespace)
    if not service:
        raise MigrationError(f"{task.name}: a probe without host needs the VM's Service; give ports")
    return service["spec"]["clusterIP"]
