# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The full lab for a whole session: `demo` runs the product's main job once; the tests look at what it left."""
from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.executable).parent
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.M)


class Run:
    """One finished ansible-playbook: exit status, output and the sums of its recap."""

    def __init__(self, process, seconds):
        self.returncode, self.output, self.seconds = process.returncode, process.stdout + process.stderr, seconds
        rows = [[int(number) for number in row[1:]] for row in RECAP.findall(self.output)]
        self.ok, self.changed, self.unreachable, self.failed = (sum(column) for column in zip(*rows)) if rows else (0, 0, 0, 0)

    @property
    def changed_tasks(self):
        """Names of the tasks that reported a change."""
        names, task = [], ""
        for line in self.output.splitlines():
            if line.startswith(("TASK [", "RUNNING HANDLER [")):
                task = line.split("[", 1)[1].rsplit("]", 1)[0]
            elif line.startswith("changed: "):
                names.append(task)
        return names


class Lab:
    """The running lab and the folder of its documents."""

    def __init__(self, directory):
        self.directory = directory
        self.kubeconfig = pathlib.Path(os.environ.get("TANDEM_LAB", "/var/lib/tandem/lab")) / "pki" / "admin.kubeconfig"

    def _command(self, name, *arguments, inventory="lab"):
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "false",
                       "ANSIBLE_NOCOLOR": "true", "PATH": f"{BIN}:{os.environ['PATH']}"}
        command = [BIN / "ansible-playbook", "-i", ROOT / "inventories" / inventory, ROOT / "playbooks" / f"{name}.yml",
                   "-e", f"tandem_directory={self.directory}", *arguments]
        return command, {"cwd": ROOT, "env": environment, "text": True, "stdin": subprocess.DEVNULL}

    def start(self, name):
        """The running playbook; its output is a pipe."""
        command, options = self._command(name)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)

    def playbook(self, name, *arguments, timeout=1800, inventory="lab"):
        started = time.monotonic()
        command, options = self._command(name, *arguments, inventory=inventory)
        process = subprocess.run(command, capture_output=True, timeout=timeout, **options)
        run = Run(process, time.monotonic() - started)
        log = self.directory / "logs"
        log.mkdir(exist_ok=True)
        (log / f"{len(list(log.iterdir())):03d}-{name}.log").write_text(run.output)
        return run

    def document(self, name):
        return json.loads((self.directory / name).read_text())

    def objects(self, *arguments):
        """What `kubectl get ... -o json` lists."""
        kubectl = self.kubeconfig.parent.parent / "bin" / "kubectl"
        result = subprocess.run([kubectl, "--kubeconfig", self.kubeconfig, "get", *arguments, "-o", "json"],
                                capture_output=True, text=True, check=True, timeout=60)
        data = json.loads(result.stdout)
        return data.get("items", [data])


@pytest.fixture(scope="session")
def lab():
    if os.geteuid() != 0:
        pytest.skip("the full lab needs root")
    directory = ROOT / ".tandem" / "e2e"
    directory.mkdir(parents=True, exist_ok=True)
    return Lab(directory)


@pytest.fixture(scope="session")
def demo(lab):
    """The main job, run once on a lab that starts from nothing."""
    down = lab.playbook("lab", "-e", "lab_state=absent", timeout=600)
    assert down.returncode == 0, down.output[-4000:]
    for document in {*lab.directory.glob("*.json*"), *lab.directory.glob("report.*")}:
        document.unlink()
    run = lab.playbook("demo", timeout=3000)
    assert run.returncode == 0, run.output[-8000:]
    lab.demo = run
    return lab


@pytest.fixture(scope="session")
def standing(lab, request):
    """A full lab that stands, as the demo of this session or an earlier `make demo` left it."""
    if not (lab.kubeconfig.is_file() and (lab.kubeconfig.parent.parent / "source.json").is_file()):
        request.getfixturevalue("demo")
    return lab
