# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as data: what report.json holds, and the only thing that the page, the table and the JUnit file are made from."""
from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.codec import API_VERSION
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Failure, Level, Unplaced, Wave
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.verification import Check


class ReportError(TandemError):
    """The report can't be made; the text says from what and why."""


def label(workload: str, replica: int) -> str:
    """Return a replica's name for people: that of the workload, with a number from the second one on."""
    return f"{workload}/{replica}" if replica else workload


@dataclass(frozen=True)
class Place:
    """One replica and where it goes; `outcome` is planned, migrating, migrated, rolled back, failed or serving."""

    name: str
    kind: str
    replica: int
    node: str
    shape: str
    devices: list[str]
    wave: int
    eligible: int
    reason: str
    cpu_milli: int = 0
    memory_bytes: int = 0
    outcome: str = "planned"


@dataclass(frozen=True)
class Piece:
    """A run of memory slices of a GPU, or a whole one; `owner` is empty where it is free, `kind` is vm, model, other or free."""

    start: int
    length: int
    label: str
    owner: str = ""
    kind: str = "free"


@dataclass(frozen=True)
class GpuMap:
    """One GPU before and after; `slices` is 1 for a GPU that isn't cut."""

    id: str
    product: str
    memory_bytes: int
    slices: int
    before: list[Piece]
    after: list[Piece]


@dataclass(frozen=True)
class NodeMap:
    """One node before and after; use in thousandths of allocatable."""

    name: str
    zone: str
    mode_before: str
    mode_after: str
    cpu_before: int
    cpu_after: int
    memory_before: int
    memory_after: int
    before: list[str]
    after: list[Place]
    gpus: list[GpuMap]


@dataclass(frozen=True)
class Span:
    """One phase of a migration; `start` and `end` in seconds since the first event of the journal."""

    phase: str
    start: float
    end: float


@dataclass(frozen=True)
class Moved:
    """One VM's migration as the journal has it; `verified` says that the target was compared with the source, `hashes` by disk.

    `fitness` says whether the guest was found to have the driver of its new boot disk, and which devices it got therefore.
    """

    vm: str
    mode: str
    state: str
    spans: list[Span]
    bytes_copied: int = 0
    rounds: int = 0
    predicted_downtime_seconds: float | None = None
    downtime_seconds: float | None = None
    downtime_start: float | None = None
    verified: bool = False
    hashes: dict[str, str] = field(default_factory=dict)
    message: str = ""
    fitness: str = ""


@dataclass(frozen=True)
class ModelRow:
    """One model and its memory in bytes."""

    name: str
    architecture: str
    parameters: int
    shape: str
    node: str
    weights_bytes: int
    cache_bytes: int
    device_bytes: int
    memory_request_bytes: int


@dataclass(frozen=True)
class Finding:
    """A concern of a VM."""

    vm: str
    severity: str
    id: str
    sentence: str
    remedy: str = ""


@dataclass(frozen=True)
class Ledger:
    """How many source fields of a VM were mapped, changed, dropped or stayed unknown."""

    vm: str
    mapped: int
    changed: int
    dropped: int
    unknown: int


@dataclass(frozen=True)
class Report:
    """Everything the page shows. `at` is the latest time that the documents name, so that equal inputs give equal bytes."""

    title: str
    at: str
    plan_digest: str
    capacity_digest: str
    demand_digest: str
    engine: str
    places: list[Place]
    nodes: list[NodeMap]
    unplaced: list[Unplaced] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)
    waves: list[Wave] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    migrations: list[Moved] = field(default_factory=list)
    models: list[ModelRow] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    ledgers: list[Ledger] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    stranded_gpu_before: int = 0
    stranded_gpu_after: int = 0
    notes: list[str] = field(default_factory=list)
    api_version: str = API_VERSION
    kind: str = "Report"
