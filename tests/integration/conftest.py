# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane of its own for a session of tests: the lab's control_plane tier with kwok, as plain processes.

The collection is imported by the fixtures: pytest-ansible makes it importable only after this file is loaded.
"""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess

import pytest

SOURCES = pathlib.Path(__file__).resolve().parents[2] / "roles" / "lab" / "files"
BINARIES = ("labkube", "kwok", "pause")


class ControlPlane:
    """A running apiserver; as a string or a path it is its kubeconfig."""

    def __init__(self, layout):
        self.layout, self.kubeconfig = layout, layout.kubeconfig

    def __str__(self):
        return str(self.kubeconfig)

    def __fspath__(self):
        return str(self.kubeconfig)

    def kubectl(self, *arguments, stdin=None):
        """Standard output of kubectl; an error of kubectl is the test's."""
        command = [self.layout.directory / "bin" / "kubectl", "--kubeconfig", self.kubeconfig, *arguments]
        return subprocess.run(command, input=stdin, check=True, capture_output=True, text=True, timeout=120).stdout

    def get(self, *arguments):
        """What kubectl get shows, as a dictionary."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def fake_node(self, name, cpu="8", memory="32Gi", labels=None, taint=False, **resources):
        """Create a node that kwok plays, and wait until it is Ready; `resources` are further extended resources."""
        capacity = {"cpu": cpu, "memory": memory, "pods": "110", **resources}
        node = {
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"},
                         "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **(labels or {})}},
            "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}] if taint else []},
            "status": {"capacity": capacity, "allocatable": capacity},
        }
        self.kubectl("create", "-f", "-", stdin=json.dumps(node))
        self.kubectl("wait", "--for=condition=Ready", f"node/{name}", "--timeout=60s")


def free_ports(count):
    """The first of `count` ports in a row on which nobody listens."""
    for first in range(20000 + os.getpid() % 1000 * 10, 32000, 10):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, one in enumerate(sockets):
                one.bind(("127.0.0.1", first + offset))
            return first
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise AssertionError("no free ports")


@pytest.fixture
def six_ports():
    """The first of six free ports in a row."""
    return free_ports(6)


@pytest.fixture(scope="session")
def lab_sources():
    """The files directory of the role lab."""
    return SOURCES


@pytest.fixture(scope="session")
def lab_binaries():
    """Directories of the artefacts that a control plane consists of."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.lab.build import Go
    from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Cache, default_root
    from ansible_collections.tandem.hybrid.plugins.module_utils.lab.catalogue import catalogue, chosen

    cache = Cache(default_root(os.environ))
    return {one.name: cache.get(one).path for one in chosen(catalogue(SOURCES, Go.find()), BINARIES)}


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory, lab_binaries):
    """A real Kubernetes 1.34 without nodes, on free ports of 127.0.0.1; kwok plays nodes annotated as fake."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.lab import lifecycle
    from ansible_collections.tandem.hybrid.plugins.module_utils.lab.lab import Wanted
    from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout

    layout = Layout(tmp_path_factory.mktemp("lab") / "lab", tier="control_plane", port=free_ports(6))
    try:
        lifecycle.ensure_present(layout, Wanted(lab_binaries, SOURCES, kwok=True))
        yield ControlPlane(layout)
    finally:
        lifecycle.ensure_absent(layout)
