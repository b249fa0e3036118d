# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role lab on a real machine, beside whatever runs there: it comes up, survives kills and leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest
from killing import kill_ansible

pytestmark = [pytest.mark.root, pytest.mark.lab]
ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(sys.executable).parent
ID = 9
NAME = f"tandem{ID}"


class Lab:
    """A small lab of its own number: one node, no image but pause."""

    def __init__(self, directory):
        self.directory = directory

    def start(self, state="present", *arguments):
        variables = {"lab_directory": str(self.directory), "lab_id": ID, "lab_nodes": 1, "lab_images": ["pause-image"],
                     "lab_artifacts": [], "lab_source": False, "lab_state": state}
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true"}
        return subprocess.Popen(
            [BIN / "ansible-playbook", "-i", "localhost,", ROOT / "playbooks" / "lab.yml", "-e", json.dumps(variables), *arguments],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
            start_new_session=True)

    def run(self, state="present", *arguments):
        """The recap line of a run that must succeed."""
        process = self.start(state, *arguments)
        output = process.communicate(timeout=600)[0]
        assert process.returncode == 0, output[-5000:]
        return next(line for line in output.splitlines() if line.startswith("localhost ") and "changed=" in line)

    def kubectl(self, *arguments, stdin=None):
        command = [self.directory / "bin" / "kubectl", "--kubeconfig", self.directory / "pki" / "admin.kubeconfig", *arguments]
        return subprocess.run(command, input=stdin, check=True, capture_output=True, text=True, timeout=120).stdout

    def pid(self, name):
        """The recorded pid of a daemon, None before its start."""
        try:
            return json.loads((self.directory / "run" / f"{name}.json").read_text())["pid"]
        except (FileNotFoundError, ValueError):
            return None

    def processes(self):
        """Command lines of everything that has to do with the lab, by pid."""
        found = {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                groups = (folder / "cgroup").read_text()
            except OSError:
                continue
            if f"/{NAME}/" in groups or str(self.directory) in " ".join(words):
                found[int(folder.name)] = words
        return found


def machine():
    """What a lab makes on a machine, as far as it can be seen."""
    def lines(*command):
        return sorted(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines())

    groups = [str(path) for pattern in (NAME, f"*/{NAME}") for path in pathlib.Path("/sys/fs/cgroup").glob(pattern)]
    rules = [line for line in lines("iptables-save") if line.startswith(("-A", ":"))]
    return {
        "mounts": [line.split()[4] for line in sorted(pathlib.Path("/proc/self/mountinfo").read_text().splitlines())],
        "links": [line.split(":")[1] for line in lines("ip", "-o", "link")],
        "routes": lines("ip", "route"),
        "namespaces": sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else [],
        "control groups": groups,
        "rules": [rule.split("[")[0] for rule in rules],
        "claims": sorted(os.listdir("/run/tandem")) if os.path.isdir("/run/tandem") else [],
        "state": [name for name in ("kubelet", "containerd", "cni") if os.path.exists(f"/var/lib/{name}")],
    }


@pytest.fixture
def lab(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("the full lab needs root")
    lab = Lab(tmp_path / "lab")
    yield lab
    lab.run("absent")


def test_down_leaves_the_machine_as_it_was(lab):
    before = machine()
    lab.run("built")
    assert machine() == before and not lab.directory.exists(), "what was only to be built was started"
    assert "changed=0" in lab.run("built")
    assert "changed=0" not in lab.run()
    assert NAME in machine()["namespaces"]
    assert "changed=0" in lab.run(), "a second run changed something"
    lab.kubectl("apply", "-f", "-", stdin=WORKLOAD)
    lab.kubectl("wait", "--for=condition=Ready", "pod/holder", "--timeout=120s")
    assert resolve("kubernetes.default.svc.cluster.local", f"10.{90 + ID}.0.10") == f"10.{90 + ID}.0.1"
    assert lab.kubectl("get", "pvc", "-o", "jsonpath={.items[*].status.phase}") == "Bound Bound"
    assert lab.processes()
    assert "changed=1" in lab.run("absent", "--check"), "the check says what absent would do"
    assert "changed=1" in lab.run("absent")
    after = machine()
    assert {key: after[key] for key in before} == before
    end = time.monotonic() + 15
    while lab.processes() and time.monotonic() < end:  # dead ones wait for the machine's process 1
        time.sleep(0.5)
    assert lab.processes() == {}
    assert not lab.directory.exists()
    assert "changed=0" in lab.run("absent")


def test_a_killed_run_is_finished_by_the_next(lab):
    for name in ("etcd", "node-1", "containerd-1"):
        process = lab.start()
        end = time.monotonic() + 120
        while lab.pid(name) is None and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        kill_ansible(process.pid)
        process.communicate()
        assert lab.pid(name), f"the run was not killed after the start of {name}"
    lab.run()
    started = [words[0].rsplit("/", 1)[-1] + " " + words[1] for words in lab.processes().values() if words[0].endswith("labkube")]
    assert sorted(started) == sorted(set(started)), "something runs twice"
    assert "True" in ready(lab)
    assert "changed=0" in lab.run()


def test_whatever_is_killed_comes_back(lab):
    lab.run()
    for victims in (["kube-apiserver", "coredns"], ["kubelet-1"], ["node-1"], ["etcd", "containerd-1", "kube-scheduler"]):
        for name in victims:
            os.kill(lab.pid(name), signal.SIGKILL)
        assert "changed=1" in lab.run(), f"nothing was done about {victims}"
        assert "True" in ready(lab)
    for pid in lab.processes():
        with contextlib.suppress(ProcessLookupError):  # a supervisor's end takes its children along
            os.kill(pid, signal.SIGKILL)
    subprocess.run(["ip", "link", "del", f"{NAME}-h"], check=True)
    lab.run()
    lab.kubectl("apply", "-f", "-", stdin=WORKLOAD)
    lab.kubectl("wait", "--for=condition=Ready", "pod/holder", "--timeout=120s")


def test_a_number_in_use_is_refused(lab, tmp_path):
    lab.run()
    other = Lab(tmp_path / "other")
    process = other.start()
    output = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    assert f"lab id {ID} is that of the lab in {lab.directory}" in output
    assert not other.directory.exists()
    other.run("absent")
    assert "True" in ready(lab), "absent took another's lab down"


def ready(lab):
    """The node's Ready condition."""
    return lab.kubectl("get", "node", f"lab{ID}-1", "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}")


def resolve(name, server):
    """The first address that a DNS server has for a name (RFC 1035, one question, one answer)."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(question, (server, 53))
        return socket.inet_ntoa(client.recv(512)[-4:])


def _claim(name, storage_class):
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
        "storageClassName": storage_class, "accessModes": ["ReadWriteMany" if storage_class == "shared" else "ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}}


WORKLOAD = json.dumps({"apiVersion": "v1", "kind": "List", "items": [
    _claim("own", "local"), _claim("everybodys", "shared"),
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "holder"}, "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "tandem.local/pause:1", "imagePullPolicy": "Never",
                        "volumeMounts": [{"name": n, "mountPath": f"/{n}"} for n in ("own", "everybodys")]}],
        "volumes": [{"name": n, "persistentVolumeClaim": {"claimName": n}} for n in ("own", "everybodys")]}},
]})
