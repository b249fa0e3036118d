# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Forklift's status means."""
from __future__ import annotations

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.forklift.status import blockers, ready, vm_state, waits_for


def condition(kind, category="Required", **more):
    return {"type": kind, "status": "True", "category": category, **more}


def plan(*conditions, generation=2, observed=2):
    return {"metadata": {"generation": generation}, "status": {"observedGeneration": observed, "conditions": list(conditions)}}


def test_ready_counts_for_the_generation_that_was_seen():
    assert ready(plan(condition("Ready")))
    assert not ready(plan(condition("Ready"), observed=1)) and not ready({"metadata": {"generation": 1}})


def test_a_condition_that_is_false_says_nothing():
    assert not ready(plan({**condition("Ready"), "status": "False"}))


def test_what_waits_for_another_object_is_no_blocker():
    waiting = plan(condition("NetworkMapNotReady", "Critical", message="Map.Network does not have Ready condition."))
    assert not blockers(waiting) and "NetworkMapNotReady" in waits_for(waiting)
    assert blockers(plan(condition("WarmMigrationNotReady", "Critical", reason="NotSupported")))
    assert blockers(plan(condition("VMNotFound", "Critical", message="VM not found.", items=["vm-1", "vm-2"], suggestion="look again"))) == [
        "VMNotFound: VM not found. (vm-1, vm-2); look again"]
    assert not blockers(plan(condition("VMNotFound", "Critical"), observed=1)), "of the generation before"
    assert waits_for({"metadata": {}}) == "its controller has not looked at it"


def migration(*conditions, **vm):
    entry = {"id": "vm-1", "name": "erp", "phase": "CopyDisks", "pipeline": [], **vm}
    return {"metadata": {}, "status": {"conditions": list(conditions), "vms": [{**entry, "id": "vm-0", "error": {"phase": "x", "reasons": ["other VM"]}}, entry]}}


def test_progress_is_that_of_the_step_that_runs():
    steps = [{"name": "Initialize", "started": "t", "completed": "t", "progress": {"completed": 1, "total": 1}},
             {"name": "DiskTransfer", "started": "t", "annotations": {"unit": "MB"}, "progress": {"completed": 3, "total": 8}},
             {"name": "ImageConversion", "progress": {"completed": 0, "total": 1}}]
    state = vm_state(migration(condition("Running"), pipeline=steps, warm={"successes": 2}), {"id": "vm-1"})
    assert (state.step, state.done_bytes, state.total_bytes, state.precopies, state.outcome) == ("DiskTransfer", 3 * 2**20, 8 * 2**20, 2, "")


@pytest.mark.parametrize("found", [
    migration(phase="Completed", completed="t", error={"phase": "CopyDisks", "reasons": ["no space"]}),
    migration(condition("Failed", message="The migration has FAILED."), error={"phase": "CopyDisks", "reasons": ["no space"]}),
    migration(conditions=[condition("Failed")], pipeline=[{"name": "CopyDisks", "progress": {}, "error": {"phase": "", "reasons": ["no space"]}}]),
    migration(condition("Succeeded"), condition("Failed"), error={"phase": "CopyDisks", "reasons": ["no space"]})])
def test_a_failure_wherever_it_stands(found):
    state = vm_state(found, {"name": "erp", "id": "vm-1"})
    assert (state.outcome, state.message) == ("failed", "CopyDisks: no space")


def test_an_error_of_a_step_that_is_tried_again_is_no_end():
    assert vm_state(migration(pipeline=[{"name": "DiskTransfer", "started": "t", "progress": {}, "error": {"phase": "", "reasons": ["timeout"]}}]), {"id": "vm-1"}).outcome == ""


def test_the_end_of_a_vm_that_the_status_does_not_list():
    assert vm_state({"metadata": {}}, {"id": "vm-1"}).outcome == ""
    refused = vm_state({"metadata": {}, "status": {"conditions": [condition("PlanNotValid", "Critical", message="no such plan")]}}, {"id": "vm-1"})
    assert (refused.outcome, refused.message) == ("failed", "PlanNotValid: no such plan")
    assert vm_state({"metadata": {}, "status": {"conditions": [condition("Canceled")]}}, {"id": "vm-1"}).outcome == "canceled"
    assert vm_state(migration(condition("Succeeded"), phase="Completed"), {"id": "vm-1"}).outcome == "succeeded"
