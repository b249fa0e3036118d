# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concerns about what the source's host, cluster and hypervisor did for a VM, and about old guests; see concern_rules.py."""
from __future__ import annotations

import re

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Fate, LegacyVm, Severity

from .concern_checks import Rule, each_disk, on_lines, when

WARN, INFORM = Severity.WARN, Severity.INFORM
# What KubeVirt was tested with on one VM; Forklift warns from the same number on.
MAX_DISKS = 165
_OLD = re.compile(r"(rhel|centos|oraclelinux|oracle)[^0-9]{0,8}[2-6](\D|$)|photon|win(dows)?\W{0,2}(xp|nt|2000|2k3|2k8|net|vista|longhorn|7)|windows200[038]|"
                  r"(suse|sles)[^0-9]{0,3}(9|10|11)(\D|$)|win/(xp|vista|7|2k|2k3|2k8|me|9[58])(\D|$)")


def _old(vm: LegacyVm) -> str:
    """Return the guest's identifier where its maker has ended its support and KubeVirt's drivers may lack."""
    return vm.os_id if _OLD.search(vm.os_id.lower()) else ""


HOST_RULES = (
    Rule("source-rule", INFORM, "A rule of the source names the VM: {detail}.", "Check that the plan's policy says the same.",
         "Affinity, licence and dependency rules become policies of the plan; DRS itself stays behind.", lambda _vm: iter(())),
    Rule("cluster-services", INFORM, "The source's cluster serves the VM: {detail}.",
         "Name fail-over in the plan's policy where HA matters; use the descheduler for balance.",
         "KubeVirt restarts VMs of a lost node; nothing moves running VMs for balance or to save power by itself.",
         when(lambda vm: ", ".join(vm.cluster_services), "cluster_services")),
    Rule("custom-attributes", INFORM, "A custom attribute of vSphere is not moved: {detail}.", "Put it into an annotation or label where tools need it.",
         "Backup and inventory tools often find VMs by them.", on_lines("customValue/**")),
    Rule("addresses-unknown", INFORM, "The guest's addresses could not be read.", "Assess again while the VM runs with VMware Tools.",
         "Static addresses are seen through the running guest only.", when(lambda vm: bool(vm.moid) and not vm.addresses)),
    Rule("consolidation-needed", WARN, "The VM's disks need consolidation.", "Consolidate them before the migration.",
         "Delta files slow each round of a warm migration.", on_lines("runtime/@consolidationNeeded", but=("false",))),
    Rule("hot-add", INFORM, "Hot-add is on at the source: {detail}.", "Set maxSockets or memory.maxGuest on the target if needed.",
         "Growing a running VM is a setting of the target.", when(lambda vm: ", ".join(vm.hot_add), "hot_add")),
    Rule("memory-ballooned", INFORM, "The source took memory back from the guest: {detail}.", "None needed; plan the VM with its full memory.",
         "KubeVirt gives a guest all its memory at the start.",
         on_lines("currentMemory/text()|summary/quickStats/@balloonedMemory", Fate.CHANGED, Fate.DROPPED, but=("0",))),
    Rule("reservations-dropped", INFORM, "Shares, limits or reservations are dropped: {detail}.", "Use requests, limits and priority classes on the target.",
         "A VM's requests follow from its size.",
         on_lines("cputune/shares/**|cputune/*quota/**|memtune/**|config/*Allocation/@reservation|config/*Allocation/@limit|@sched.cpu.m*|"
                  "@sched.mem.m*|**/*Item/rasd:Reservation/**|**/*Item/rasd:Limit/**", Fate.DROPPED, but=("0", "-1", "unlimited"))),
    Rule("node-binding-dropped", WARN, "A binding to the source host's NUMA nodes is dropped: {detail}.",
         "Use dedicated CPUs and hugepages; KubeVirt then follows the node's NUMA.", "The target's nodes are laid out otherwise.",
         on_lines("numatune/**|@numa.nodeaffinity|config/extraConfig/@numa.nodeaffinity", Fate.DROPPED)),
    Rule("io-threads-dropped", INFORM, "I/O threads are dropped: {detail}.", "Set ioThreadsPolicy on the target where a disk needs it.",
         "KubeVirt has one policy a VM.", on_lines("iothreads/**|iothreadids/**|devices/disk/driver/@iothread*", Fate.DROPPED)),
    Rule("io-error-policy-dropped", INFORM, "What happens at an I/O error is dropped: {detail}.", "Set errorPolicy of the disk on the target.",
         "KubeVirt stops the guest at an error by default.", on_lines("devices/disk/driver/@*error_policy", Fate.DROPPED, but=("stop",))),
    Rule("memory-backing-dropped", INFORM, "A setting of the guest's memory on its host is dropped: {detail}.", "None needed as a rule.",
         "Locking and page sharing (KSM) are settings of the target's nodes.",
         on_lines("memoryBacking/nosharepages/**|memoryBacking/locked/**|memoryBacking/source/**|"
                  "memoryBacking/access/**|memoryBacking/allocation/**", Fate.DROPPED)),
    Rule("boot-menu-dropped", INFORM, "The boot menu is dropped: {detail}.", "Stop the VM's start with startStrategy: Paused where it is needed.",
         "KubeVirt has no boot menu.", on_lines("os/bootmenu/**", Fate.DROPPED, but=("no",))),
    Rule("display-changed", INFORM, "The display changes to VGA over VNC: {detail}.", "None needed; SPICE clients have to change.",
         "KubeVirt serves VNC through its API.", on_lines("devices/graphics/@type|devices/video/model/@type", Fate.CHANGED)),
    Rule("disk-id-changed", WARN, "The guest names its disks by identifiers that change: {detail}.",
         "Check /dev/disk/by-id, multipath and udev rules in the guest.",
         "disk.EnableUUID shows VMware's identifiers; on the target the same digits are the serial number.",
         on_lines("config/flags/@diskUuidEnabled|@disk.enableuuid|config/extraConfig/@disk.enableuuid", but=("false",))),
    Rule("too-many-disks", WARN, f"The VM has more than {MAX_DISKS} disks.", "Split it, or test such a VM first.",
         "Each disk takes a place on the guest's PCI buses.", when(lambda vm: len([d for d in vm.disks if d.device in ("disk", "lun")]) > MAX_DISKS)),
    Rule("disk-empty", WARN, "Disk {detail} has a size of less than 1 MiB.", "Check the descriptor.", "An empty disk is most often a mistake of an export.",
         each_disk(lambda vm, d: d.size_bytes is not None and d.size_bytes < 2**20 and d.device == "disk", "size_bytes")),
    Rule("guest-old", WARN, "The guest {detail} is no longer supported by its maker.", "Upgrade it before or after; test virtio and Q35 first.",
         "Old kernels and Windows lack drivers that are still signed and tested.", when(_old, "os_id")),
)
