# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of a vSphere VM, as a tree, to LegacyVm; field reference: the vSphere Web Services API."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Cpu, Firmware, LegacyVm

from . import guests, vmx_rules, vsphere_devices
from .ledger import Cursor, DropRule, Ledger, Node, Rules
from .units import integer, uuid

_STATES = {"poweredOn": "running", "poweredOff": "off", "suspended": "suspended"}
RULES = (
    DropRule("config/hardware/device/deviceInfo/**|config/hardware/device/*/type|config/hardware/device/@key|config/hardware/device/@type",
             "a label or number of the source"),
    DropRule("config/hardware/device/slotInfo/**|config/hardware/device/@controllerKey|config/hardware/device/@unitNumber|"
             "config/hardware/device/device/**|config/hardware/@*|config/hardware/device/numaNode", "KubeVirt assigns addresses; the order of devices is kept"),
    DropRule("config/hardware/device/shares/**|config/hardware/device/storageIOAllocation/**|config/hardware/device/resourceAllocation/**|"
             "config/hardware/device/@upt*|config/hardware/device/@wakeOnLanEnabled", "shares, limits and tuning of the source"),
    DropRule("config/hardware/device/connectable/**", "the state of a connection at the source"),
    DropRule("config/hardware/device/**|config/hardware/**", "a setting of VMware's device without a counterpart on KubeVirt"),
    DropRule("config/bootOptions/**", "boot delay and setup are settings of VMware's firmware; order and secure boot are kept"),
    DropRule("config/@instanceUuid|config/@guestFullName|config/@template|config/ftInfo/**|config/flags/**",
             "a setting of vSphere without a counterpart on KubeVirt"),
    DropRule("config/*Allocation/**", "shares, limits and reservations of the source; requests follow from the VM's size"),
    DropRule("guest/**|snapshot/**|datastore/**|@name|runtime/**|summary/**", "a state of the source"),
    DropRule("customValue/**", "custom attributes stay in vSphere"),
    # extraConfig holds the lines of the VM's VMX file that have no property of their own.
    *(DropRule("|".join(f"config/extraConfig/{part}" for part in rule.pattern.split("|")), rule.reason) for rule in vmx_rules.RULES),
)
_RULES = Rules(RULES)


def parse(reference: str, root: Node, where: str, names: Mapping[str, str], tags: list[str], accepted: Iterable[str] = (),
          groups: Iterable[str] = ()) -> LegacyVm:
    """Read one VM; `names` gives port groups by their key, `groups` the VM groups of its cluster that it is in."""
    vm = Cursor(root, Ledger(), f"{where}: {root.attributes.get('name', reference)}")
    empty = Cursor(Node("none"), vm.ledger, vm.where)
    config, runtime = vm.child("config") or empty, vm.child("runtime") or empty
    hardware = config.child("hardware") or empty
    boot = config.child("bootOptions") or empty
    instance, bios = config.peek("instanceUuid"), uuid(config.attr("uuid", "uuid"))
    guest = config.attr("guestId", "os_id")
    total = integer(hardware.attr("numCPU", "cpu.sockets") or "1", vm.where, 1, 65536)
    cores = integer(hardware.attr("numCoresPerSocket", "cpu.cores") or "1", vm.where, 0, 65536) or 1
    if total % cores:
        hardware.change("numCoresPerSocket", "cpu.cores", "1", f"{total} vCPUs don't divide into sockets of {cores}")
        cores = 1
    addresses, static = _addresses(vm)
    found = LegacyVm(
        name=vm.attr("name", "name") or reference, id=f"vsphere/{instance or reference}", source=where, moid=reference, uuid=bios,
        hypervisor="vmware", description=config.attr("annotation", "description"), machine=config.attr("version", "machine"),
        power_state=_STATES.get(runtime.attr("powerState", "power_state"), "unknown"), host=runtime.peek("host"),
        firmware=Firmware("efi" if config.attr("firmware", "firmware.kind") == "efi" else "bios",
                          boot.attr("efiSecureBootEnabled", "firmware.secure_boot") == "true"),
        cpu=Cpu(sockets=total // cores, cores=cores, nested=config.attr("nestedHVEnabled", "cpu.nested") == "true", pinning=_pinning(config, total)),
        memory_bytes=integer(hardware.attr("memoryMB", "memory_bytes") or "0", vm.where, 0, 2**33) * 2**20,
        os_id=guest, os_family=guests.family(guest), tags=tags, groups=list(groups), addresses=addresses, static_addresses=static,
        snapshots=_snapshots(vm), datastores=sorted(child.peek("value") for child in vm.children("datastore")),
        change_tracking=config.attr("changeTrackingEnabled", "change_tracking") == "true" if config.peek("changeTrackingEnabled") else None,
        hot_add=[name for name in ("cpu", "memory") if config.attr(f"{name}HotAddEnabled", "hot_add") == "true"],
        cluster_services=[name for name in ("drs", "ha", "dpm") if vm.child_attr("cluster", name, "cluster_services") == "true"],
        template=config.peek("template") == "true", fault_tolerance=config.child("ftInfo") is not None,
        **vsphere_devices.read(hardware, boot, names, vm.where))
    return dataclasses.replace(found, ledger=vm.ledger.lines(root, _RULES, accepted))


def _pinning(config: Cursor, vcpus: int) -> dict[str, str]:
    """Return the host CPUs that the VM as a whole may run on, for each vCPU."""
    affinity = config.child("cpuAffinity")
    cpus = ",".join(entry.attr("value", "cpu.pinning") for entry in affinity.children("affinitySet")) if affinity else ""
    return {str(i): cpus for i in range(vcpus)} if cpus else {}


def _addresses(vm: Cursor) -> tuple[list[str], list[str]]:
    """Return the guest's addresses, and those that it was given by hand."""
    every, static = [], []
    for net in (vm.child("guest").children("net") if vm.child("guest") else ()):
        every += [entry.peek("value") for entry in net.children("ipAddress")]
        settings = net.child("ipConfig")
        static += [entry.peek("ipAddress") for entry in (settings.children("ipAddress") if settings else ()) if entry.peek("origin") == "manual"]
    return every, static


def _snapshots(vm: Cursor) -> list[str]:
    out, stack = [], list(vm.child("snapshot").children("rootSnapshotList")) if vm.child("snapshot") else []
    while stack:
        entry = stack.pop()
        out.append(entry.peek("name"))
        stack.extend(entry.children("childSnapshotList"))
    return sorted(out)
