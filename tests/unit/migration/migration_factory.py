# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small estates and plans for the tests of this room."""
from __future__ import annotations

from dataclasses import replace

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, Estate, LegacyVm, Nic
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import Settings, tasks

GIB = 1 << 30


def legacy(name="orders", host="hv-1", datastores=("fast",), disks=2, power_state="running"):
    return LegacyVm(name=name, id=f"libvirt:{name}", source="qemu:///system", uuid=f"0b0e7c1e-1111-4111-8111-{sum(name.encode()):012d}",
                    target_name=name, power_state=power_state, host=host, datastores=list(datastores), memory_bytes=GIB,
                    disks=[Disk(id=f"vd{'ab'[i]}", order=i, size_bytes=GIB >> i, format="qcow2", source=f"/disks/{name}-{i}.qcow2",
                                serial=f"LEGACY{i}") for i in range(disks)],
                    nics=[Nic(id="net0", mac="52:54:00:12:34:01")])


def assignment(name="orders", node="lab-1", wave=0):
    return Assignment(workload=name, kind="vm", replica=0, node=node, shape="", wave=wave, eligible=["lab-1", "lab-2"])


def vm_tasks(*vms, settings=None, nodes=None, waves=None):
    nodes, waves = nodes or {}, waves or {}
    plan = Plan("", "", [assignment(vm.name, nodes.get(vm.name, "lab-1"), waves.get(vm.name, 0)) for vm in vms])
    settings = settings or Settings()
    return tasks(plan, Estate(list(vms)), settings if settings.storage_map else replace(settings, storage_map=[{"source": "*", "storage_class": "local"}]))


def vm_task(**settings):
    return vm_tasks(legacy(), settings=Settings(**settings))[0]
