# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks run as a person runs them, on the documents of the example in a folder of the test's own."""
from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
ANSIBLE = pathlib.Path(sys.executable).parent / "ansible-playbook"
INVENTORY = ROOT / "inventories" / "example" / "hosts.yml"


class Playbooks:
    """ansible-playbook with the example's inventory; the documents are in `directory`."""

    def __init__(self, directory, home):
        self.directory = directory
        self.environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true",
                            "HOME": str(home), "ANSIBLE_LOCAL_TEMP": f"{home}/local", "ANSIBLE_REMOTE_TEMP": f"{home}/remote"}
        self.environment.pop("KUBECONFIG", None)

    def command(self, name, **variables):
        given = json.dumps({"tandem_directory": str(self.directory), **variables}, default=str)
        return [ANSIBLE, "-i", INVENTORY, ROOT / "playbooks" / f"{name}.yml", "-e", given]

    def start(self, name, **variables):
        """The running playbook, in a process group of its own."""
        return subprocess.Popen(self.command(name, **variables), cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def run(self, name, prefix=(), **variables):
        """Exit status and output of a playbook; `prefix` is a command that runs it."""
        done = subprocess.run([*prefix, *self.command(name, **variables)], cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        return done.returncode, done.stdout

    def changed(self, name, **variables):
        """Number of changed tasks of a playbook that has to succeed."""
        status, output = self.run(name, **variables)
        assert status == 0, output[-4000:]
        return int(re.search(r"changed=(\d+)", output).group(1))

    def refusal(self, name, prefix=(), **variables):
        """The one sentence of a playbook that has to fail."""
        status, output = self.run(name, prefix, **variables)
        assert status == 2, f"exit status {status}\n{output[-4000:]}"
        assert "Traceback" not in output, output[-4000:]
        (failure,) = re.findall(r"^(?:fatal|failed): .*?FAILED! => (\{.*?^\}|\{.*\}$)", output, re.M | re.S)
        sentence = json.loads(failure)["msg"]
        assert "\n" not in sentence.strip() and 20 < len(sentence) < 500, sentence
        return sentence


@pytest.fixture(scope="session")
def example_documents(tmp_path_factory):
    """A folder with what the example writes."""
    playbooks = Playbooks(tmp_path_factory.mktemp("documents"), tmp_path_factory.mktemp("home"))
    playbooks.changed("example")
    return playbooks.directory


@pytest.fixture
def playbooks(tmp_path):
    """Playbooks with an empty folder of documents."""
    for name in ("documents", "home"):
        (tmp_path / name).mkdir()
    return Playbooks(tmp_path / "documents", tmp_path / "home")


@pytest.fixture
def planned(playbooks, example_documents):
    """Playbooks with the example's documents."""
    shutil.copytree(example_documents, playbooks.directory, dirs_exist_ok=True)
    return playbooks
