# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan: who runs where, on which device, in which order, and how good that is."""
from __future__ import annotations

from dataclasses import dataclass, field

from .codec import API_VERSION
from .demand import Toleration


@dataclass(frozen=True)
class DeviceUse:
    """A device of the chosen node: a GPU by id, with the MIG profile and start slot, or thousandths of a shared one."""

    gpu: str
    profile: str = ""
    slot: int | None = None
    milli: int = 1000


@dataclass(frozen=True)
class Assignment:
    """One replica of a workload on its node; `eligible` are the nodes it could run on after a failure, `reason` says why here.

    `resource` is the extended resource name of its GPUs, `numa` the cell that a guest kept in one cell is counted in, `pin` says
    that it must not run elsewhere. `device_class` and `product` are those of devices that a DRA driver publishes. `rules` names the rules of
    the plan that its pods carry, `tolerations` what they tolerate.
    """

    workload: str
    kind: str
    replica: int
    node: str
    shape: str
    devices: list[DeviceUse] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    resource: str = ""
    device_class: str = ""
    product: str = ""
    wave: int = 0
    eligible: list[str] = field(default_factory=list)
    pin: bool = False
    numa: int | None = None
    rules: list[str] = field(default_factory=list)
    tolerations: list[Toleration] = field(default_factory=list)
    reason: str = ""


@dataclass(frozen=True)
class PodRule:
    """A rule of the demand as pods carry it: `kind` is apart, together or spread, over the pods of `workloads`.

    `replicated` are those of them with more than one replica, `namespaces` where they are: empty for the pod's own, ["*"] for any.
    """

    name: str
    kind: str
    workloads: list[str]
    topology_key: str
    required: bool = True
    max_skew: int = 1
    replicated: list[str] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class NodeSetting:
    """What a node has to become: its GPU mode and per GPU the MIG layout (profile@slot)."""

    node: str
    gpu_mode: str = ""
    mig: dict[str, list[str]] = field(default_factory=dict)
    changed: bool = False


@dataclass(frozen=True)
class Move:
    """A running workload that changes its node; how is live or restart, `pivot` names an intermediate node that breaks a cycle."""

    workload: str
    source: str
    target: str
    how: str = "live"
    pivot: str = ""


@dataclass(frozen=True)
class Wave:
    """Things that happen together: moves of what runs, then starts of what comes."""

    number: int
    moves: list[Move] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Level:
    """One level of the lexicographic objective with its proven bound; `ended_by` is proof, iterations or time."""

    name: str
    value: float
    bound: float
    gap: float
    sense: str = "max"
    ended_by: str = "proof"


@dataclass(frozen=True)
class Unplaced:
    """A replica that could not be placed: the smallest conflicting set of named constraints and the cheapest relaxation."""

    workload: str
    replica: int
    conflict: list[str]
    relaxation: str
    sentence: str


@dataclass(frozen=True)
class Failure:
    """The loss of one failure domain: who restarts where (workload/replica to node), and who can't."""

    domain: str
    nodes: list[str]
    restarts: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Utilisation:
    """Share of allocatable in use, in thousandths, by resource; `stranded_gpu` is GPU share that no open workload could use."""

    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    stranded_gpu_before: int = 0
    stranded_gpu_after: int = 0


@dataclass(frozen=True)
class Plan:
    """The answer; `capacity_digest` and `demand_digest` name what it was computed from."""

    capacity_digest: str
    demand_digest: str
    assignments: list[Assignment]
    unplaced: list[Unplaced] = field(default_factory=list)
    settings: list[NodeSetting] = field(default_factory=list)
    waves: list[Wave] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    utilisation: Utilisation = field(default_factory=Utilisation)
    rules: list[PodRule] = field(default_factory=list)
    engine: str = ""
    notes: list[str] = field(default_factory=list)
    api_version: str = API_VERSION
    kind: str = "Plan"
