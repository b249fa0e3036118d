# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that is to be converted, by a stand-in for virt-v2v which changes one block of the first disk's overlay: qemu-img, Jobs, claims and the
journal are real. The real virt-v2v is tried on the full lab (make bench-conversion)."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
from migration_case import MIB, RUN_SECONDS, check_finished
from test_guest_fitness import buses, decisions, on_ide  # noqa: F401 - a fixture

pytestmark = [pytest.mark.root, pytest.mark.control_plane]
CHANGED = 5 * MIB
VIRT_V2V = f"""#!/bin/sh
[ "$1" = --version ] && {{ echo virt-v2v-in-place 0.0.1; exit; }}
for xml in "$@"; do :; done
overlay=$(grep -o '[^"]*/0.qcow2' "$xml")
qemu-io -f qcow2 -c 'write -P 0x5a {CHANGED} 65536' "$overlay" || exit 9
sleep "$(cat "$(dirname "$0")/seconds")"
cat "$(dirname "$0")/says"
exit "$(cat "$(dirname "$0")/code")"
"""
GOOD = "This guest has virtio drivers installed.\n"


@pytest.fixture
def virt_v2v(node):
    """Have virt-v2v say something, end with a code, and take its time."""
    tool = node.tools / "virt-v2v-in-place"
    tool.write_text(VIRT_V2V)
    tool.chmod(0o755)

    def behave(says=GOOD, code=0, seconds=0):
        for name, value in {"says": says, "code": code, "seconds": seconds}.items():
            (node.tools / name).write_text(f"{value}\n")

    behave()
    return behave


@pytest.fixture
def convertible(on_ide, virt_v2v):  # noqa: F811
    on_ide.settings(unfit_guest="convert", conversion_image="tandem.local/conversion:1", rollback_on_failure=True)
    return on_ide


def events(case, name):
    return [event["data"] for event in json.loads((case.folder / "journal.json").read_text())["events"] if event["event"] == name]


def only_the_conversion_differs(case):
    """Whether the moved disk is the source's but for the block that the conversion changed."""
    source, target = case.folder / "source.raw", case.target_file(0)
    subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", next(iter(case.victim.files.values())), source], check=True)
    with open(source, "rb") as before, open(target, "rb") as after:
        old, new = before.read(), after.read()
    assert new[CHANGED:CHANGED + 65536] == b"\x5a" * 65536
    return old[:CHANGED] + old[CHANGED + 65536:] == new[:CHANGED] + new[CHANGED + 65536:]


def test_it_is_converted_on_overlays_and_starts_on_virtio(convertible):
    assert convertible.start().wait(timeout=RUN_SECONDS) == 0, convertible.log()
    assert only_the_conversion_differs(convertible)
    assert decisions(convertible) == ["converted"]
    assert buses(convertible, "vm") == buses(convertible, "vmi") == ["virtio", "virtio"]
    found = events(convertible, "conversion")
    assert [data["stage"] for data in found] == ["begun", "committing", "committed"]
    assert found[1]["version"] == "virt-v2v-in-place 0.0.1"
    (predicted, *_more) = events(convertible, "predicted")
    assert predicted["convert_seconds"] == 300
    assert "+ conversion 300.0 +" in predicted["sentence"]
    left = [claim["metadata"]["name"] for claim in convertible.lab.objects("-n", convertible.namespace, "pvc") if "deletionTimestamp" not in claim["metadata"]]
    assert not [name for name in left if "overlay" in name]
    assert convertible.lab.objects("-n", convertible.namespace, "jobs") == []


def test_a_failed_conversion_leaves_the_copy_and_gives_the_machine_back_and_may_be_tried_again(convertible, virt_v2v):
    virt_v2v("virt-v2v-in-place: error: no root device found in this operating system image.\n", 1)
    assert convertible.start().wait(timeout=RUN_SECONDS) != 0
    assert "converting failed: virt-v2v-in-place: error: no root device found in this operating system image." in convertible.log()
    assert convertible.victim.domain.isActive()
    assert convertible.lab.objects("-n", convertible.namespace, "vmi") == []
    convertible.victim.write_on()
    virt_v2v()
    assert convertible.start().wait(timeout=RUN_SECONDS) == 0, convertible.log()
    assert only_the_conversion_differs(convertible)


def test_a_downtime_budget_without_room_for_a_conversion_ends_it_while_the_source_runs(convertible):
    convertible.settings(downtime_budget_seconds=120)
    assert convertible.start().wait(timeout=RUN_SECONDS) != 0
    assert "the downtime will never fit 120 s" in convertible.log()
    assert events(convertible, "conversion") == []
    assert convertible.victim.domain.isActive()


@pytest.mark.parametrize("stage", ["begun", "committing"])
def test_a_run_killed_in_a_conversion_is_continued(convertible, virt_v2v, stage):
    virt_v2v(seconds=6)
    process = convertible.start()
    deadline = time.monotonic() + RUN_SECONDS
    while f"stage {stage}" not in (convertible.progress.read_text() if convertible.progress.exists() else ""):
        assert time.monotonic() < deadline and process.poll() is None, convertible.log()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + RUN_SECONDS
    while convertible.start().wait(timeout=RUN_SECONDS) != 0:  # the killed run's lease has to lapse
        assert time.monotonic() < deadline, convertible.log()
        time.sleep(3)
    assert only_the_conversion_differs(convertible)
    assert [data["stage"] for data in events(convertible, "conversion")] == ["begun", "committing", "committed"]


def test_after_a_rollback_a_converted_disk_is_compared_with_its_source_again(convertible):
    assert convertible.start().wait(timeout=RUN_SECONDS) == 0, convertible.log()
    assert only_the_conversion_differs(convertible)
    convertible.settings(rollback_vms=[convertible.victim.name], accept_loss=[convertible.victim.name])
    assert convertible.start("rollback").wait(timeout=RUN_SECONDS) == 0, convertible.log()
    convertible.victim.write_on()
    convertible.settings(unfit_guest="compatible")
    assert convertible.start().wait(timeout=RUN_SECONDS) == 0, convertible.log()
    check_finished(convertible)
