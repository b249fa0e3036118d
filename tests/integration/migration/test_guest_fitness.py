# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest whose boot disk changes its controller, on which no kernel is found: what it starts with, and that it may be refused."""
from __future__ import annotations

import json

import pytest
from migration_case import check_finished, kill_and_finish

pytestmark = [pytest.mark.root, pytest.mark.control_plane]


@pytest.fixture
def on_ide(case):
    """A case whose boot disk is said to be on IDE at the source, which becomes SATA on the cluster."""
    file = case.folder / "estate.json"
    estate = json.loads(file.read_text())
    estate["vms"][0]["disks"][0]["bus"] = "ide"
    file.write_text(json.dumps(estate))
    return case


def buses(case, kind):
    found = case.lab.objects("-n", case.namespace, kind, case.victim.name)[0]["spec"]
    return [disk["disk"]["bus"] for disk in found.get("template", {"spec": found})["spec"]["domain"]["devices"]["disks"]]


def decisions(case):
    return [event["data"]["devices"] for event in json.loads((case.folder / "journal.json").read_text())["events"] if event["event"] == "devices"]


@pytest.mark.parametrize("delay", [0.0, 0.7])
def test_it_starts_with_compatible_devices_also_after_a_kill(on_ide, delay):
    kill_and_finish(on_ide, "cutover", "module", delay)
    assert decisions(on_ide) == ["compatible"]
    assert buses(on_ide, "vm") == buses(on_ide, "vmi") == ["sata", "sata"]
    assert "it starts with disks on sata" in on_ide.progress.read_text()


def test_it_is_refused_before_its_cutover_and_may_be_moved_later(on_ide):
    on_ide.settings(unfit_guest="stop", rollback_on_failure=True)
    assert on_ide.start().wait(timeout=300) != 0
    assert "guest unknown for sata" in on_ide.log() and "migration_unfit_guest" in on_ide.log()
    assert on_ide.victim.domain.isActive()
    assert "tandem-fence" not in on_ide.victim.domain.XMLDesc(2)
    assert on_ide.lab.objects("-n", on_ide.namespace, "vmi") == []
    on_ide.victim.write_on()
    on_ide.settings(unfit_guest="compatible")
    assert on_ide.start().wait(timeout=300) == 0, on_ide.log()
    check_finished(on_ide)
    assert buses(on_ide, "vmi") == ["sata", "sata"]
