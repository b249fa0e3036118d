# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator asks of a migration, and what it means for one VM."""
from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, Estate, LegacyVm
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan, PodRule
from ansible_collections.tandem.hybrid.plugins.module_utils.forklift.render import Forklift
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.choices import boot_disk, disk_bus, disk_driver, kept_disks
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.maps import maps
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.render import Rendered, render
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.render import Settings as RenderSettings
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError

LABELS = {"app.kubernetes.io/managed-by": "tandem", "tandem.hybrid/component": "migration"}
VM_LABEL = "tandem.hybrid/vm"
TANDEM, FORKLIFT = ENGINES = ("tandem", "forklift")
COMPATIBLE, STOP, CONVERT = UNFIT_GUEST = ("compatible", "stop", "convert")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Probe:
    """A check of the service after the start: TCP, or HTTP when `path` is given; `host` is the Service's address when empty."""

    port: int
    path: str = ""
    host: str = ""
    timeout_seconds: int = 120


@dataclass(frozen=True)
class Caps:
    """How many VMs may be on their way at once; 0 means no limit of that kind."""

    total: int = 2
    per_host: int = 2
    per_datastore: int = 0
    per_node: int = 0
    per_link: int = 0


@dataclass(frozen=True)
class Window:
    """Hours (UTC, HH:MM) in which a cutover may start; `until` before `start` passes midnight."""

    start: str
    until: str


@dataclass(frozen=True)
class Vsphere:
    """How disks are fetched from vSphere: user, a file with the password, the authorities that signed vCenter's and the hosts' certificates
    (empty: the system's), and the folder that holds the disks until their VM is accepted."""

    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    directory: str = "/var/tmp/tandem-vsphere"  # noqa: S108 - private folders are made in it


@dataclass(frozen=True)
class Settings:
    """The knobs of the role; a VM's own ones come from `vms` by name."""

    namespace: str = "tandem-demo"
    engine: str = "auto"
    forklift: Forklift = field(default_factory=Forklift)
    vsphere: Vsphere = field(default_factory=Vsphere)
    mover_image: str = "tandem.local/mover:1"
    network_map: list[dict] = field(default_factory=lambda: [{"source": "*", "network": "pod"}])
    storage_map: list[dict] = field(default_factory=list)
    device_map: list[dict] = field(default_factory=list)
    exporter_address: str = ""
    exporter_port: int = 10900
    exporter_certificates: str = ""
    scratch_directory: str = "/var/lib/libvirt/images"
    downtime_budget_seconds: int = 60
    max_rounds: int = 5
    round_pause_seconds: float = 2.0
    stop_timeout_seconds: int = 120
    force_stop: bool = False
    start: bool = True
    start_seconds: float = 16.0
    start_timeout_seconds: int = 300
    copy_timeout_seconds: int = 86400
    rate_bytes_per_second: int = 0
    unfit_guest: str = COMPATIBLE
    conversion_image: str = ""
    conversion_seconds: float = 300.0
    conversion_timeout_seconds: int = 3600
    rollback_on_failure: bool = True
    failure_budget: int = 0
    lease_seconds: int = 30
    caps: Caps = field(default_factory=Caps)
    windows: list[Window] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    probe: Probe | None = None
    vms: dict[str, dict] = field(default_factory=dict)


@dataclass(frozen=True)
class DiskTask:
    """One disk on its way to its claim; `size_bytes` is what the guest sees.

    `member` names a disk inside an archive, `source`. `boots_from` is the bus of a boot disk whose guest needs another driver for it than before.
    """

    id: str
    claim: str
    size_bytes: int
    source: str
    format: str
    serial: str = ""
    block: bool = False
    member: str = ""
    boots_from: str = ""


@dataclass(frozen=True)
class VmTask:
    """One VM on its way to its node."""

    name: str
    vm: LegacyVm
    node: str
    disks: tuple[DiskTask, ...]
    wave: int
    settings: Settings
    rendered: Rendered

    @property
    def engine(self) -> str:
        """Who moves the VM: tandem, or forklift where Tandem has no way to copy it while it runs (vSphere) or to read it at all (oVirt)."""
        if self.settings.engine != "auto":
            return self.settings.engine
        source = self.vm.source
        delegated = source.startswith("ovirt://") or (source.startswith("vsphere://") and self.vm.power_state == "running")
        return FORKLIFT if delegated else TANDEM


def kubernetes_name(text: str) -> str:
    """A DNS label (RFC 1123) of at most 63 characters made from any text; a longer one ends in a hash of the whole."""
    name = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")
    if len(name) > 63:
        name = f"{name[:52].strip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    if not name:
        raise MigrationError(f"{text!r} gives no Kubernetes name; expected a letter or digit in it")
    return name


def tasks(plan: Plan, estate: Estate, settings: Settings, only: list[str] | None = None) -> list[VmTask]:
    """The VMs of the plan that come from the estate, by wave and name; raises MigrationError for a VM the plan can't place."""
    by_name = {vm.target_name or kubernetes_name(vm.name): vm for vm in estate.vms}
    refused = {item.workload: item.sentence for item in plan.unplaced}
    found = []
    for assignment in sorted(plan.assignments, key=lambda item: (item.wave, item.workload)):
        vm = by_name.get(assignment.workload)
        if vm is not None and (not only or assignment.workload in only):
            found.append(_task(vm, assignment, settings, plan.rules))
    for name in only or []:
        if name in refused:
            raise MigrationError(f"{name}: the plan has no place for it: {refused[name]}")
        if name not in {task.name for task in found}:
            known = ", ".join(sorted(by_name)) or "none"
            raise MigrationError(f"{name}: no VM of this name in plan and estate; the estate knows {known}")
    return found


def _task(vm: LegacyVm, assignment: Assignment, settings: Settings, rules: list[PodRule]) -> VmTask:
    own = own_settings(settings, assignment.workload)
    if own.engine not in ("auto", *ENGINES):
        raise MigrationError(f"{assignment.workload}: engine {own.engine!r}; expected auto, {' or '.join(ENGINES)}")
    if own.unfit_guest not in UNFIT_GUEST:
        raise MigrationError(f"{assignment.workload}: unfit_guest {own.unfit_guest!r}; expected {', '.join(UNFIT_GUEST[:-1])} or {UNFIT_GUEST[-1]}")
    if own.unfit_guest == CONVERT and not own.conversion_image:
        raise MigrationError(f"{assignment.workload}: unfit_guest convert needs conversion_image, an image with virt-v2v-in-place and qemu-img")
    mapped = maps(own.network_map, own.storage_map, own.device_map)
    rendered = render(replace(vm, target_name=assignment.workload), RenderSettings(own.namespace, mapped), assignment, rules)
    disks = tuple(_disk(vm, disk, claim) for disk, claim in zip(kept_disks(vm), rendered.claims, strict=True))
    if not disks:
        raise MigrationError(f"{vm.name}: the estate lists no disk of it, there is nothing to move")
    if len({disk.id for disk in disks}) < len(disks):
        raise MigrationError(f"{vm.name}: two of its disks have the same name, {', '.join(disk.id for disk in disks)}")
    return VmTask(assignment.workload, vm, assignment.node, disks, assignment.wave, own, rendered)


def _disk(vm: LegacyVm, disk: Disk, claim: dict) -> DiskTask:
    # Its name in labels, URIs and file names: VMware's is "scsi0:0".
    name = disk.id.replace(":", "-")
    if disk.device == "lun" or not LABEL_VALUE.fullmatch(name):
        raise MigrationError(f"{vm.name}: disk {disk.id} is a LUN or its id is no label value, so it can't be copied")
    return DiskTask(name, claim["metadata"]["name"], disk.size_bytes, disk.source, disk.format, disk.serial,
                    claim["spec"]["volumeMode"] == "Block", disk.member if disk.source_kind == "ova" else "",
                    disk_bus(disk) if disk == boot_disk(vm) and disk_driver(disk) else "")


def own_settings(settings: Settings, name: str) -> Settings:
    """The settings with those of one VM laid over them; raises MigrationError for one that does not exist."""
    own = dict(settings.vms.get(name, {}))
    known = set(Settings.__dataclass_fields__) - {"vms", "caps", "windows", "failure_budget", "namespace", "lease_seconds"}
    unknown = sorted(set(own) - known)
    if unknown:
        raise MigrationError(f"vms.{name}.{unknown[0]}: no setting of a VM; expected one of {', '.join(sorted(known))}")
    merged = codec.dump(settings) | own
    merged.pop("vms", None)
    return replace(codec.load(Settings, merged, f"vms.{name}"), vms=settings.vms)
