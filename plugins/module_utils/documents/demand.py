# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Demand: what shall run, in which alternatives, under which policies."""
from __future__ import annotations

from dataclasses import dataclass, field

from .codec import API_VERSION


@dataclass(frozen=True)
class GpuRequest:
    """GPUs of one shape: `count` devices of a product (empty: any) with at least `memory_bytes` each.

    kind is full, mig (with `profile`), shared (with `milli` of one device), passthrough or vgpu (with `profile`); `resource` is the
    extended resource name that the manifest will ask for.
    """

    kind: str = "full"
    count: int = 1
    product: str = ""
    profile: str = ""
    memory_bytes: int = 0
    milli: int = 1000
    resource: str = ""


@dataclass(frozen=True)
class Shape:
    """One way to run a workload; requests as integers by resource, launcher overhead included for VMs."""

    name: str
    requests: dict[str, int]
    gpu: GpuRequest | None = None
    cost: int = 0


@dataclass(frozen=True)
class Expression:
    """A node selector term: operator is In, NotIn, Exists, DoesNotExist, Gt or Lt."""

    key: str
    operator: str = "In"
    values: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Preference:
    """A preferred node affinity term with its weight 1 to 100."""

    weight: int
    expressions: list[Expression]


@dataclass(frozen=True)
class Toleration:
    """A toleration, as in a pod."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


@dataclass(frozen=True)
class Workload:
    """A VM or a model; every replica is placed. Priority: higher is more important. `group` and `after` give the order of waves."""

    name: str
    kind: str
    shapes: list[Shape]
    namespace: str = ""
    replicas: int = 1
    gang: bool = False
    priority: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    node_selector: dict[str, str] = field(default_factory=dict)
    required: list[Expression] = field(default_factory=list)
    preferred: list[Preference] = field(default_factory=list)
    tolerations: list[Toleration] = field(default_factory=list)
    dedicated_cpus: int = 0
    single_numa: bool = False
    products: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    zones: list[str] = field(default_factory=list)
    live_migratable: bool = True
    restart: bool = True
    group: str = ""
    after: list[str] = field(default_factory=list)
    current_node: str = ""
    source: str = ""


@dataclass(frozen=True)
class Affinity:
    """Workloads that shall be together or apart by a topology key (default the node); `required` false makes it a wish."""

    name: str
    workloads: list[str]
    apart: bool = True
    topology_key: str = "kubernetes.io/hostname"
    required: bool = True


@dataclass(frozen=True)
class Spread:
    """Topology spread of workloads with a maximal skew."""

    name: str
    workloads: list[str]
    topology_key: str = "topology.kubernetes.io/zone"
    max_skew: int = 1


@dataclass(frozen=True)
class License:
    """At most `max_hosts` hosts of `hosts` (empty: any) may run a product."""

    name: str
    product: str
    max_hosts: int
    hosts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Failover:
    """N+1: when any one failure domain (value of `topology_key`) is lost, everything of priority >= `min_priority` restarts elsewhere."""

    min_priority: int
    topology_key: str = "kubernetes.io/hostname"


@dataclass(frozen=True)
class Policy:
    """The operator's policies; reserve in percent of allocatable per node, overcommit as percent of VM CPU (100 = none).

    `allow_restarts` lets what runs and can't move live (a VM with passed-through devices, a model replica) stop and start elsewhere.
    """

    failover: list[Failover] = field(default_factory=list)
    reserve_percent: dict[str, int] = field(default_factory=dict)
    vm_cpu_overcommit_percent: int = 100
    objectives: list[str] = field(default_factory=lambda: ["placed", "failover", "moves", "preferences", "fragmentation", "nodes"])
    allow_mode_changes: bool = False
    allow_restarts: bool = False
    max_moves: int | None = None
    wave_size: int = 10
    wave_moves_per_node: int = 2
    seed: int = 1
    iterations: int = 20000


@dataclass(frozen=True)
class Demand:
    """What shall run, sorted by name."""

    workloads: list[Workload]
    affinities: list[Affinity] = field(default_factory=list)
    spreads: list[Spread] = field(default_factory=list)
    licenses: list[License] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)
    api_version: str = API_VERSION
    kind: str = "Demand"
