# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instance types and preferences of common-instancetypes that fit a VM: sizes exactly or not at all, guests by their identifier."""
from __future__ import annotations

import re

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import LegacyVm

MATCH = "match"
# Series U ("universal": nothing overcommitted, nothing dedicated) of the bundle in KubeVirt 1.8.4: vCPUs and MiB.
_SIZES = {(1, 512): "u1.nano", (1, 1024): "u1.micro", (1, 2048): "u1.small", (1, 4096): "u1.medium", (2, 4096): "u1.2xmedium",
          (2, 8192): "u1.large", (4, 16384): "u1.xlarge", (8, 32768): "u1.2xlarge", (16, 65536): "u1.4xlarge", (32, 131072): "u1.8xlarge"}
# Identifier of libosinfo, VMware or CIM (a pattern in lower case), preference, and the vCPUs and MiB that the preference requires.
_GUESTS = (
    (r"win(dows)?[^a-z]*11", "windows.11", 2, 4096), (r"(win2k|windows2?0?|2k)25|win/2k25|windows2025", "windows.2k25", 1, 2048),
    (r"win/2k22|windows2022|windows2019srvnext|win2k22", "windows.2k22", 1, 2048), (r"win/2k19|windows2019|win2k19", "windows.2k19", 1, 2048),
    (r"win/2k16|windows2016|windows9server|win2k16", "windows.2k16", 1, 2048), (r"win/2k12|windows8server|windows2012|win2k12", "windows.2k12", 1, 512),
    (r"win/2k8|winlonghorn|windows7server|win2k8|windows2008", "windows.2k8", 1, 512), (r"win/2k3|winnet|win2k3|windows2003", "windows.2k3", 1, 256),
    (r"win/10|windows9|windows_10|win10", "windows.10", 1, 2048), (r"win/7|windows7|win7", "windows.7", 1, 2048), (r"win/xp|winxp", "windows.xp", 1, 128),
    (r"rhel/10|rhel10", "rhel.10", 1, 1536), (r"rhel/9|rhel9|rocky.*9|alma.*9", "rhel.9", 1, 1536), (r"rhel/8|rhel8|rocky.*8|alma.*8", "rhel.8", 1, 1536),
    (r"rhel/7|rhel7", "rhel.7", 1, 1024), (r"centos-stream/10", "centos.stream10", 1, 1536), (r"centos-stream/9|centos9", "centos.stream9", 1, 1536),
    (r"fedora", "fedora", 1, 2048), (r"ubuntu", "ubuntu", 1, 2048), (r"debian", "debian", 1, 512), (r"opensuse.*tumbleweed", "opensuse.tumbleweed", 1, 2048),
    (r"opensuse", "opensuse.leap", 1, 2048), (r"sles|sled", "sles", 1, 2048), (r"oracle", "oraclelinux", 2, 4096), (r"alpine", "alpine", 1, 512),
    (r"cirros", "cirros", 1, 256))


def instancetype(vm: LegacyVm) -> str:
    """Return the instance type of exactly the VM's size, or an empty string; VMs with cores, threads, pinning or hugepages have none."""
    special = vm.cpu.cores > 1 or vm.cpu.threads > 1 or vm.cpu.pinning or vm.hugepage_bytes or vm.memory_bytes % 2**20
    return "" if special else _SIZES.get((vm.cpu.vcpus, vm.memory_bytes // 2**20), "")


def preference(vm: LegacyVm) -> str:
    """Return the preference for the VM's guest when the VM meets what it requires, or an empty string."""
    text = vm.os_id.lower().removesuffix("_64guest").removesuffix("guest")
    for pattern, name, vcpus, mebibytes in _GUESTS:
        if re.search(pattern, text):
            return name if vm.cpu.vcpus >= vcpus and vm.memory_bytes >= mebibytes * 2**20 else ""
    return "linux" if vm.os_family == "linux" else ""
