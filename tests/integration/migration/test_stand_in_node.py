# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in node behaves as a node where the tests of migrations need it to: it outlives what it can't run."""
from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.control_plane


def pod(name, namespace, secret):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {"nodeName": "lab-1", "restartPolicy": "Never", "automountServiceAccountToken": False,
                     "volumes": [{"name": "tls", "secret": {"secretName": secret}}],
                     "containers": [{"name": "main", "image": "none", "command": ["test", "-s", "/tls/key"], "volumeMounts": [{"name": "tls", "mountPath": "/tls"}]}]}}


def phase(cluster, name, namespace, wanted):
    deadline = time.monotonic() + 20
    while (found := cluster.get("v1", "Pod", name, namespace)["status"]["phase"]) != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_it_outlives_a_pod_it_cannot_run_and_waits_for_a_secret(cluster, node, namespace):
    unlike = pod("a-unlike", namespace, "there")
    unlike["spec"]["containers"].append({"name": "second", "image": "none"})
    key = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "there", "namespace": namespace}, "stringData": {"key": "k"}}
    for made in (unlike, key, pod("b-early", namespace, "later"), pod("c-good", namespace, "there")):
        cluster.create(made)
    assert phase(cluster, "c-good", namespace, "Succeeded") == "Succeeded"
    assert phase(cluster, "a-unlike", namespace, "Pending") == phase(cluster, "b-early", namespace, "Pending") == "Pending"
    key["metadata"]["name"] = "later"
    cluster.create(key)
    assert phase(cluster, "b-early", namespace, "Succeeded") == "Succeeded"
