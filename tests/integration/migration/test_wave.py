# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VMs of a wave go as many at once as the caps allow, and no more: read from the journal. make bench-wave runs twenty on the full lab."""
from __future__ import annotations

import subprocess

import pytest
from migration_wave import Wave

pytestmark = [pytest.mark.root, pytest.mark.control_plane]


def test_caps_hold_at_every_moment_and_are_used(control_plane, node, source, tmp_path):
    wave = Wave(tmp_path, control_plane.kubeconfig, source, [node.name], count=6, mebibytes=2)
    namespace, events = wave.run({"total": 3, "per_host": 2, "per_datastore": 0, "per_node": 0, "per_link": 0}, "shared")
    most = wave.most_at_once(events)
    assert most["total"] == 3 and most["per_host"] == 2
    assert {event.subject for event in events if (event.phase, event.event) == ("accept", "done")} == set(wave.places)
    for name in wave.places:
        copy = node.directory / f"{namespace}-{name}-disk-0" / "disk.img"
        assert subprocess.run(["cmp", tmp_path / f"{name}.raw", copy], check=False).returncode == 0
    machines = control_plane.get("vm", "-n", namespace)["items"]
    assert {machine["spec"]["runStrategy"] for machine in machines} == {"Halted"}, "they were to be left halted"
    assert control_plane.get("vmi", "-n", namespace)["items"] == []
    control_plane.kubectl("delete", "namespace", namespace, "--wait=false")
