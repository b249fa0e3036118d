# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of a cluster: flags, files, objects, control groups and image archives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab import addons, control_plane, images, node_config
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.api import contains
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cgroups import Cgroups
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.lab import Lab, Wanted
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layer import File
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.node import Node, Programs
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.oci import Image, write_archive
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import Processes

FULL = Layout(Path("/srv/lab"), 3)
LOOPBACK = Layout(Path("/srv/lab"), tier="control_plane")
PROGRAMS = {"labkube": Path("/c/labkube"), "kwok": Path("/c/kwok"), "pause": Path("/c/pause")}


def test_a_control_plane_is_reachable_from_its_own_network_only():
    def flags(layout):
        return control_plane.daemons(layout, Path("/c/labkube"))[1].command

    assert "--bind-address=127.0.0.1" in flags(LOOPBACK) and "--endpoint-reconciler-type=none" in flags(LOOPBACK)
    assert "--bind-address=0.0.0.0" in flags(FULL) and "--advertise-address=10.203.0.2" in flags(FULL)


def test_no_secret_is_on_a_command_line():
    for daemon in control_plane.daemons(FULL, Path("/c/labkube")):
        assert not [word for word in daemon.command if "token" in word or "password" in word]


def test_a_file_that_a_starting_daemon_may_be_reading_is_not_written_again(tmp_path):
    layout = Layout(tmp_path / "lab", 3)
    node = Node(layout, 1, Programs(*[Path("/c")] * 3), Processes(layout.run, layout.run))
    node.write_configuration()
    path = node.directory / "kubelet.json"
    right, written = path.read_text(), path.stat().st_mtime_ns
    node.write_configuration()
    assert path.stat().st_mtime_ns == written and json.loads(right)
    path.write_text("")  # by a run that was killed
    node.write_configuration()
    assert path.read_text() == right


def test_a_node_reads_what_the_cluster_serves():
    kubelet = json.loads(node_config.kubelet(FULL, 2))
    service = addons.objects(FULL)[0]
    assert kubelet["clusterDNS"] == [service["spec"]["clusterIP"]]
    assert FULL.node_pod_network(2) in node_config.cni(FULL, 2)
    assert 'sandbox_image = "tandem.local/pause:1"' in node_config.containerd(FULL, 2, "tandem.local/pause:1", "/usr/lib/cni")


def test_exactly_one_storage_class_is_the_default():
    classes = [o for o in addons.objects(FULL) if o["kind"] == "StorageClass"]
    assert [c["metadata"]["name"] for c in classes if "annotations" in c["metadata"]] == ["local"]


@pytest.mark.parametrize("live, wanted, same", [
    ({"a": 1, "b": 2}, {"a": 1}, True),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 2}}, False),
    ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, True),
    ({"a": [1, 2]}, {"a": [1]}, False),
    ({}, {"a": {}}, True),
    ({"labels": {}}, {"labels": {"x": ""}}, False),
])
def test_live_contains_wanted(live, wanted, same):
    assert contains(live, wanted) is same


def test_cgroup_v1_joins_every_hierarchy_with_processors_to_run_on(tmp_path):
    for hierarchy in ("cpuset", "memory"):
        (tmp_path / hierarchy).mkdir()
        (tmp_path / hierarchy / "cgroup.procs").write_text("")
    for name, value in (("cpuset.cpus", "0-1"), ("cpuset.mems", "0")):
        (tmp_path / "cpuset" / name).write_text(value)
    groups = Cgroups("tandem0", tmp_path)
    groups.create("1")
    assert groups.exists("1") and not groups.exists("2")
    assert [p.relative_to(tmp_path).parts[0] for p in groups.members("1")] == ["cpuset", "memory"]


def test_cgroup_v2_keeps_processes_in_leaves(tmp_path):
    for group in (tmp_path, tmp_path / "tandem0"):
        group.mkdir(exist_ok=True)
        (group / "cgroup.controllers").write_text("cpu memory")
        (group / "cgroup.subtree_control").write_text("memory")
    groups = Cgroups("tandem0", tmp_path)
    groups.create("1")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"
    assert groups.members("1") == [tmp_path / "tandem0/1/init/cgroup.procs"]
    assert groups.members("control") == [tmp_path / "tandem0/control/cgroup.procs"]


def test_an_image_is_lacking_until_both_its_names_have_its_digest(tmp_path):
    archive = tmp_path / "image.tar"
    write_archive(archive, [Image("tandem.local/guest:1", files=[File("/a", content=b"a")])])
    (image,) = images.archived(archive)
    assert image.pinned_name == f"tandem.local/guest@{image.config_digest}"
    both = {image.name: image.digest, image.pinned_name: image.digest}
    assert images.lacking(archive, both) == []
    assert images.lacking(archive, {image.name: image.digest}) == [image]
    assert images.lacking(archive, {**both, image.name: "sha256:other"}) == [image]


def test_something_else_is_no_archive(tmp_path):
    (tmp_path / "x").write_text("x")
    with pytest.raises(LabError, match="is not an OCI image archive"):
        images.archived(tmp_path / "x")


@pytest.mark.parametrize("layout, nodes, message", [(LOOPBACK, 1, "has no nodes of its own"), (FULL, 10, "expected 0 to 9")])
def test_a_lab_that_can_not_be_is_refused(layout, nodes, message):
    with pytest.raises(LabError, match=message):
        Lab(layout, Wanted(PROGRAMS, Path("/s"), nodes=nodes))
