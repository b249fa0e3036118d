# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.migration.jobs import job_name, mover_job, service, state_volume
from migration_factory import vm_task


def test_the_movers_journals_lie_in_the_class_of_the_disks():
    task = vm_task(storage_map=[{"source": "*", "storage_class": "shared", "access_modes": ["ReadWriteMany"]}])
    found = state_volume(task, task.rendered.claims[0])
    assert found["spec"]["storageClassName"] == "shared"
    assert found["spec"]["accessModes"] == ["ReadWriteMany"]
    assert found["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "tandem"


def test_the_mover_is_pinned_hardened_and_not_retried_for_good_reasons():
    task = vm_task()
    job = mover_job(task, task.disks[0], "0-r0", ["--verify"])
    spec = job["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/hostname": "lab-1"}
    assert (spec["securityContext"]["runAsUser"], spec["automountServiceAccountToken"]) == (107, False)
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    codes = job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"]
    assert codes == sorted(codes), "the API server refuses an unordered list"


def test_a_block_claim_is_a_device_and_no_mount():
    task = vm_task(storage_map=[{"source": "*", "storage_class": "local", "volume_mode": "Block"}])
    container = mover_job(task, task.disks[0], "0-r0", [])["spec"]["template"]["spec"]["containers"][0]
    assert container["volumeDevices"] == [{"name": "disk", "devicePath": "/dev/target"}]
    assert "disk" not in {mount["name"] for mount in container["volumeMounts"]}


def test_job_names_are_short_and_differ_by_step_and_disk():
    task = vm_task()
    found = {job_name(task, disk, step) for disk in task.disks for step in ("0-r0", "0-r1", "0-final")}
    assert len(found) == 6
    assert all(len(name) <= 63 for name in found)


def test_a_service_only_when_ports_are_asked_for():
    assert service(vm_task()) is None
    assert service(vm_task(ports=[80]))["spec"]["ports"][0]["targetPort"] == 80
