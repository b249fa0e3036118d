# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for a node and for KubeVirt on a real control plane: movers are real processes on this machine, a started VM is only said to run.

The API server, scheduler, Job and volume controllers are the real ones, as are movers, exporters, libvirt and QEMU of the tests that use it.
"""
from __future__ import annotations

import base64
import contextlib
import os
import pathlib
import re
import shlex
import subprocess
import sys
import threading
import traceback
import warnings
from datetime import UTC, datetime

ROOT = pathlib.Path(__file__).resolve().parents[3]
MOVER = "ansible_collections.tandem.hybrid.plugins.module_utils.transfer.cli"
KUBEVIRT = "kubevirt.io/v1"
POLL_SECONDS, HEARTBEAT_SECONDS = 0.2, 10


class StandInNode:
    """A Ready node of the name `name`; what it stores lies in `directory`. Programs in its folder `tools` come before those of this machine."""

    def __init__(self, cluster, name, directory):
        self.cluster, self.name, self.directory, self.tools = cluster, name, directory, directory / "tools"
        self.tools.mkdir()
        self._movers: dict[str, tuple[subprocess.Popen, pathlib.Path]] = {}
        self._stop, self._dead = threading.Event(), threading.Event()
        self._beat_at = 0.0
        self._told: set[str] = set()

    def __enter__(self):
        resources = {"cpu": "16", "memory": "64Gi", "pods": "200"}
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux"}
        self.cluster.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": labels},
                             "spec": {}, "status": {"capacity": resources, "allocatable": resources}})
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_unused):
        self._stop.set()
        self._thread.join()
        for mover, _result in self._movers.values():
            mover.kill()
            mover.wait()
        self.cluster.delete("v1", "Node", self.name)

    @contextlib.contextmanager
    def dead(self):
        """The node without power: its movers are gone and nobody reports; it comes back at the end of the block."""
        self._dead.set()
        for mover, _result in list(self._movers.values()):
            mover.kill()
        try:
            yield
        finally:
            self._beat_at = 0.0
            self._dead.clear()

    def _run(self):
        while not self._stop.wait(POLL_SECONDS):
            for duty in () if self._dead.is_set() else (self._beat, self._volumes, self._pods, self._machines):
                self._try(duty)

    def _try(self, duty, *arguments):
        """Do something that is tried again soon, as a node does: one object that it can't handle must not silence it for the others."""
        from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError

        try:
            duty(*arguments)
        except ClusterError:
            pass  # the API server is away, or an object changed meanwhile
        except Exception:
            trouble = traceback.format_exc()
            if trouble not in self._told:
                self._told.add(trouble)
                warnings.warn(trouble, stacklevel=2)

    def _beat(self):
        now = datetime.now(UTC)
        if now.timestamp() - self._beat_at < HEARTBEAT_SECONDS:
            return
        ready = {"type": "Ready", "status": "True", "reason": "StandIn", "message": "", "lastHeartbeatTime": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        self.cluster.patch("v1", "Node", self.name, None, {"status": {"conditions": [ready]}}, subresource="status")
        self._beat_at = now.timestamp()

    def _volumes(self):
        """Give every claim a directory."""
        for claim in self.cluster.list("v1", "PersistentVolumeClaim"):
            if not claim["spec"].get("volumeName") and "deletionTimestamp" not in claim["metadata"]:
                self._try(self._volume, claim)

    def _volume(self, claim):
        namespace, name, spec = claim["metadata"]["namespace"], claim["metadata"]["name"], claim["spec"]
        volume = f"{namespace}-{name}"
        if self.cluster.get("v1", "PersistentVolume", volume) is None:
            (self.directory / volume).mkdir(exist_ok=True)
            self.cluster.create({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
                "spec": {"capacity": spec["resources"]["requests"], "accessModes": spec["accessModes"], "volumeMode": spec["volumeMode"],
                         "storageClassName": spec.get("storageClassName", ""), "persistentVolumeReclaimPolicy": "Retain",
                         "claimRef": {"namespace": namespace, "name": name}, "hostPath": {"path": str(self.directory / volume)}}})

    def _pods(self):
        pods = {pod["metadata"]["uid"]: pod for pod in self.cluster.list("v1", "Pod", field_selector=f"spec.nodeName={self.name}")}
        for uid, pod in pods.items():
            self._try(self._pod, uid, pod)
        for uid in set(self._movers) - set(pods):
            self._end(uid)

    def _pod(self, uid, pod):
        if "deletionTimestamp" in pod["metadata"]:
            self._end(uid)
            path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
            self.cluster.request("DELETE", path, body={"gracePeriodSeconds": 0})
        elif uid in self._movers:
            self._report(pod, *self._movers[uid])
        elif pod["status"].get("phase") == "Pending" and len(pod["spec"]["containers"]) == 1:  # others are of tests that have no node
            self._start(uid, pod)

    def _end(self, uid):
        mover, _result = self._movers.pop(uid, (None, None))
        if mover:
            mover.kill()
            mover.wait()

    def _start(self, uid, pod):
        """Run a pod as soon as its Secrets are there."""
        volumes = (volume for volume in pod["spec"]["volumes"] if "secret" in volume)
        secrets = {volume["name"]: self.cluster.get("v1", "Secret", volume["secret"]["secretName"], pod["metadata"]["namespace"]) for volume in volumes}
        if None not in secrets.values():
            self._movers[uid] = self._process(pod, secrets)
            self._report(pod, *self._movers[uid])

    def _process(self, pod, secrets):
        """The mover with the pod's arguments, or its containers' own commands; the paths of its volumes become those of this machine."""
        folder = self.directory / pod["metadata"]["uid"]
        folder.mkdir(exist_ok=True)
        paths = self._mounts(pod, folder, secrets)
        (container,) = pod["spec"]["containers"]
        if "command" in container:
            return self._commands(pod, paths | {"/dev/termination-log": folder / "result"}), folder / "result"
        arguments = [str(paths.get(argument, argument)) for argument in container["args"]]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "collections"), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen([sys.executable, "-m", MOVER, *arguments, "--result", str(folder / "result")], env=environment,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), folder / "result"

    def _mounts(self, pod, folder, secrets):
        """Mount paths of all containers to those of this machine."""
        paths = {}
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for mount in (mount for container in (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]) for mount in container.get("volumeMounts", [])):
            volume = volumes[mount["name"]]
            if mount["mountPath"] in paths:
                continue
            if "downwardAPI" in volume or "emptyDir" in volume:
                paths[mount["mountPath"]] = folder / mount["name"]
                (folder / mount["name"]).mkdir(exist_ok=True)
            elif "secret" in volume:
                paths[mount["mountPath"]] = folder / mount["name"]
                (folder / mount["name"]).mkdir(mode=0o700, exist_ok=True)
                for name, text in secrets[mount["name"]]["data"].items():
                    (folder / mount["name"] / name).write_bytes(base64.b64decode(text))
            else:
                paths[mount["mountPath"]] = self.directory / f"{pod['metadata']['namespace']}-{volume['persistentVolumeClaim']['claimName']}"
        return paths

    def _commands(self, pod, paths):
        """Run the containers one after the other in a PID namespace, so that all of them end with the process that is returned."""
        pattern = re.compile("|".join(rf"(?<![\w/]){re.escape(path)}(?![\w-])" for path in sorted(paths, key=len, reverse=True)))

        def here(text):
            return pattern.sub(lambda found: str(paths[found[0]]), text)

        for volume in pod["spec"]["volumes"]:
            for item in volume.get("downwardAPI", {}).get("items", []):
                (annotation,) = pod["metadata"]["annotations"].values()
                (self.directory / pod["metadata"]["uid"] / volume["name"] / item["path"]).write_text(here(annotation))
        script = []
        for container in (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]):
            variables = {item["name"]: here(item["value"]) for item in container.get("env", [])}
            variables["PATH"] = f"{self.tools}:{variables.get('PATH', os.environ['PATH'])}"
            command = [here(word) for word in (*container["command"], *container.get("args", []))]
            words = ["env", "-C", here(container.get("workingDir", "/")), *(f"{name}={value}" for name, value in variables.items()), *command]
            script.append(f"{shlex.join(words)} || exit $?")
        return subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "\n".join(script)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _report(self, pod, mover, result):
        phase = pod["status"].get("phase")
        if phase == "Pending":
            self._status(pod, "Running", {"running": {"startedAt": _now()}})
        if mover.poll() is None or phase != "Running":
            return
        code = mover.returncode if mover.returncode >= 0 else 128 - mover.returncode
        message = result.read_text() if result.exists() else ""
        self._status(pod, "Failed" if code else "Succeeded", {"terminated": {"exitCode": code, "message": message, "startedAt": _now(), "finishedAt": _now()}})

    def _status(self, pod, phase, state):
        (container,) = pod["spec"]["containers"]
        status = {"phase": phase, "startTime": pod["status"].get("startTime") or _now(), "containerStatuses": [
            {"name": container["name"], "image": container["image"], "imageID": "", "ready": phase == "Running", "restartCount": 0, "state": state}]}
        self.cluster.patch("v1", "Pod", pod["metadata"]["name"], pod["metadata"]["namespace"], {"status": status}, subresource="status")

    def _machines(self):
        """What KubeVirt would do: an instance for every VM that shall run, none for the others."""
        instances = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in self.cluster.list(KUBEVIRT, "VirtualMachineInstance")}
        for machine in self.cluster.list(KUBEVIRT, "VirtualMachine"):
            self._try(self._machine, machine, (machine["metadata"]["namespace"], machine["metadata"]["name"]) in instances)

    def _machine(self, machine, instantiated):
        namespace, name, runs = machine["metadata"]["namespace"], machine["metadata"]["name"], machine["spec"].get("runStrategy") == "Always"
        if runs and not instantiated and "deletionTimestamp" not in machine["metadata"]:
            template = machine["spec"]["template"]
            macs = [{"mac": nic["macAddress"]} for nic in template["spec"]["domain"]["devices"].get("interfaces", []) if "macAddress" in nic]
            self.cluster.create({"apiVersion": KUBEVIRT, "kind": "VirtualMachineInstance", "spec": template["spec"],
                                 "metadata": {"namespace": namespace, "name": name, "labels": template.get("metadata", {}).get("labels", {})},
                                 "status": {"phase": "Running", "nodeName": self.name, "interfaces": macs}})
        elif instantiated and not runs:
            self.cluster.delete(KUBEVIRT, "VirtualMachineInstance", name, namespace)


def _now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
