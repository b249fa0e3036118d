# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The legacy side: what is done in which state, and what is left alone."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from string import Template

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab import source_lifecycle
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.source import DOMAINS, OVA, Source

FILES = Path(__file__).resolve().parents[3] / "roles" / "lab" / "files"


@pytest.fixture
def source(tmp_path):
    return Source(Layout(tmp_path / "lab", lab_id=3), FILES, tmp_path / "guests")


def _whats(steps):
    return [step.what for step in steps]


def test_a_fresh_lab_gets_everything(source):
    assert _whats(source.steps()) == [
        "make directories of the libvirt source",
        "copy crm.ova",
        "start libvirtd of the source",
        "define orders and start it",
        "define report",
        "write source.json",
    ]


def test_guests_that_were_set_up_are_left_alone(source):
    source.layout.directory.mkdir()
    source.record.write_text(json.dumps(source.facts()))
    assert not [
        what for what in _whats(source.steps()) if "orders" in what or "report" in what or "json" in what
    ]


def test_facts_name_the_address_that_pods_reach(source):
    facts = source.facts()
    assert facts["address"] == "10.203.0.1"
    assert facts["guests"]["orders"]["url"] == "http://10.203.0.1:8081"
    assert facts["ova"].endswith(f"/source/disks/{OVA}")
    assert facts["uri"].startswith("qemu+unix:///system?socket=/")


def test_only_guests_of_this_lab_are_taken_for_running(source):
    pids = source.directory / "run" / "libvirt" / "qemu"
    pids.mkdir(parents=True)
    (pids / "orders.pid").write_text(str(os.getpid()))  # a process, but not one of the lab's libvirt
    assert _whats(source.absent_steps()) == ["remove the libvirt source"]


def test_absent_leaves_nothing(source):
    source.disks.mkdir(parents=True)
    source.record.write_text("{}")
    for step in source.absent_steps():
        step.run()
    assert list(source.layout.directory.iterdir()) == []
    assert _whats(source.absent_steps()) == []


def test_definitions_fit_the_guests():
    for domain in DOMAINS:
        text = (FILES / "source" / f"{domain.name}.xml").read_text()
        root = ET.fromstring(Template(text).substitute(disks="/d", logs="/l"))
        assert root.findtext("name") == domain.name
        assert tuple(disk.get("file") for disk in root.iterfind("devices/disk/source")) == tuple(
            f"/d/{name}" for name in domain.disks
        )
        assert (root.find("devices/hostdev") is not None) == (domain.name == "report")


def test_without_a_full_lab_it_refuses_in_one_sentence(tmp_path):
    parameters = {"state": "present", "directory": str(tmp_path), "sources": "", "guests": ""}
    with pytest.raises(LabError, match="there is no lab of the tier full in"):
        source_lifecycle.ensure(parameters, check_only=False)
    absent = source_lifecycle.ensure({**parameters, "state": "absent"}, check_only=False)
    assert absent == {"steps": [], "changed": False, "seconds": 0.0}
