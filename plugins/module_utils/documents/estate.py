# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Estate: what the legacy virtual machines are, with every source field accounted for."""
from __future__ import annotations

import enum
from dataclasses import dataclass, field

from .codec import API_VERSION


class Fate(enum.Enum):
    """What became of one source field."""

    MAPPED = "mapped"
    CHANGED = "changed"
    DROPPED = "dropped"
    UNKNOWN = "unknown"


class Severity(enum.Enum):
    """How a concern weighs: a blocking one stops the migration of its VM."""

    BLOCK = "block"
    WARN = "warn"
    INFORM = "inform"


@dataclass(frozen=True)
class LedgerLine:
    """One field of the source and its fate; `path` is an XPath-like place in the source, `target` the field of the Estate it went to.

    `place` is where it ends in the VirtualMachine, `becomes` the new value of a changed field, `reason` why it changed or was dropped.
    """

    path: str
    value: str
    fate: Fate
    target: str = ""
    becomes: str = ""
    reason: str = ""
    place: str = ""


@dataclass(frozen=True)
class Concern:
    """One finding about a VM; `ledger` names the source path it stems from."""

    id: str
    severity: Severity
    sentence: str
    remedy: str = ""
    ledger: str = ""


@dataclass(frozen=True)
class Disk:
    """One disk, CD-ROM or floppy; `order` is its place across all controllers as the guest counts them.

    A disk inside an OVA has source_kind `ova`: `source` is the archive, `member` the file in it, `member_offset` and `member_bytes` say
    where its bytes lie, so that it is read in place. `target_bus` is a bus chosen against the usual one.
    """

    id: str
    title: str = ""
    device: str = "disk"
    bus: str = "virtio"
    controller_model: str = ""
    controller: int = 0
    unit: int = 0
    order: int = 0
    boot_order: int | None = None
    serial: str = ""
    wwn: str = ""
    size_bytes: int | None = None
    format: str = ""
    source: str = ""
    source_kind: str = "file"
    member: str = ""
    member_offset: int | None = None
    member_bytes: int | None = None
    compression: str = ""
    read_only: bool = False
    shareable: bool = False
    cache: str = ""
    io: str = ""
    discard: str = ""
    backing: str = ""
    encrypted: bool = False
    reservations: bool = False
    independent: bool = False
    target_bus: str = ""


@dataclass(frozen=True)
class Nic:
    """One network interface; `network` is the source's name of the network, bridge or port group.

    `target_model` is a model chosen against the usual one.
    """

    id: str
    mac: str = ""
    model: str = ""
    network: str = ""
    network_kind: str = ""
    port_group: str = ""
    link_up: bool = True
    boot_order: int | None = None
    mtu: int | None = None
    order: int = 0
    pci_address: str = ""
    target_model: str = ""


@dataclass(frozen=True)
class HostDevice:
    """A device of the host given to the guest: PCI passthrough, mediated device, vGPU profile or USB."""

    id: str
    kind: str
    vendor_id: str = ""
    product_id: str = ""
    address: str = ""
    profile: str = ""
    boot_order: int | None = None


@dataclass(frozen=True)
class NumaCell:
    """A NUMA cell of the guest."""

    id: int
    cpus: str
    memory_bytes: int
    node: int | None = None


@dataclass(frozen=True)
class CpuFeature:
    """A named CPU feature and its policy (force, require, optional, disable, forbid)."""

    name: str
    policy: str = "require"


@dataclass(frozen=True)
class Cpu:
    """CPU topology and model; `vcpus` = sockets x cores x threads, `max_vcpus` when hot-plug was possible."""

    sockets: int = 1
    cores: int = 1
    threads: int = 1
    max_vcpus: int | None = None
    mode: str = ""
    model: str = ""
    features: list[CpuFeature] = field(default_factory=list)
    pinning: dict[str, str] = field(default_factory=dict)
    numa: list[NumaCell] = field(default_factory=list)
    nested: bool = False

    @property
    def vcpus(self) -> int:
        return self.sockets * self.cores * self.threads


@dataclass(frozen=True)
class Firmware:
    """Firmware of the guest: kind is bios or efi."""

    kind: str = "bios"
    secure_boot: bool = False
    nvram: str = ""
    serial: str = ""


@dataclass(frozen=True)
class Clock:
    """Guest clock: offset is utc, localtime, timezone or variable."""

    offset: str = "utc"
    timezone: str = ""
    timers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LegacyVm:
    """One legacy virtual machine.

    `tags` are `category/tag`, `groups` the VM groups of its cluster that rules name. `hot_add` tells what could grow while it
    runs (`cpu`, `memory`), `cluster_services` what its cluster does for it (`drs`, `ha`, `dpm`).
    """

    name: str
    id: str
    source: str
    uuid: str = ""
    target_name: str = ""
    title: str = ""
    description: str = ""
    hypervisor: str = ""
    virtualization: str = "hvm"
    arch: str = "x86_64"
    machine: str = ""
    direct_kernel: str = ""
    power_state: str = "off"
    autostart: bool = False
    firmware: Firmware = field(default_factory=Firmware)
    cpu: Cpu = field(default_factory=Cpu)
    memory_bytes: int = 0
    max_memory_bytes: int | None = None
    hugepage_bytes: int | None = None
    disks: list[Disk] = field(default_factory=list)
    nics: list[Nic] = field(default_factory=list)
    host_devices: list[HostDevice] = field(default_factory=list)
    tpm: str = ""
    clock: Clock = field(default_factory=Clock)
    features: dict[str, str] = field(default_factory=dict)
    watchdog: str = ""
    watchdog_action: str = ""
    rng: bool = False
    video: str = ""
    graphics: list[str] = field(default_factory=list)
    sound: str = ""
    inputs: list[str] = field(default_factory=list)
    balloon: bool = True
    guest_agent: bool = False
    serial_console: bool = False
    os_id: str = ""
    os_family: str = ""
    tags: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    static_addresses: list[str] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    host: str = ""
    datastores: list[str] = field(default_factory=list)
    checksums_verified: bool = False
    moid: str = ""
    change_tracking: bool | None = None
    template: bool = False
    fault_tolerance: bool = False
    hot_add: list[str] = field(default_factory=list)
    cluster_services: list[str] = field(default_factory=list)
    ledger: list[LedgerLine] = field(default_factory=list)
    concerns: list[Concern] = field(default_factory=list)


@dataclass(frozen=True)
class Rule:
    """An affinity, anti-affinity, VM-to-host or dependency rule of the source."""

    name: str
    kind: str
    vms: list[str]
    hosts: list[str] = field(default_factory=list)
    mandatory: bool = True


@dataclass(frozen=True)
class Estate:
    """The legacy VMs of one or more sources, sorted by id."""

    vms: list[LegacyVm]
    sources: list[str] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    api_version: str = API_VERSION
    kind: str = "Estate"
