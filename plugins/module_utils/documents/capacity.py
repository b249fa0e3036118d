# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capacity: what the cluster has and what already uses it."""
from __future__ import annotations

from dataclasses import dataclass, field

from .codec import API_VERSION


@dataclass(frozen=True)
class Taint:
    """A taint of a node."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


@dataclass(frozen=True)
class Gpu:
    """One physical GPU; `mig` maps a MIG profile to the start slots that exist on it now, `used_slots` are the taken ones.

    `used_by` names workloads holding it, `used_milli` is the taken share of one that is shared, `vgpu` maps a vGPU profile to the
    most instances of it. `resource` is the extended resource name that passes it to VMs. `companions` are devices of its IOMMU group
    or NVSwitch partition that go with it.
    """

    id: str
    product: str = ""
    vendor: str = "nvidia"
    memory_bytes: int = 0
    mig: dict[str, list[int]] = field(default_factory=dict)
    used_slots: list[int] = field(default_factory=list)
    used_by: list[str] = field(default_factory=list)
    used_milli: int = 0
    vgpu: dict[str, int] = field(default_factory=dict)
    resource: str = ""
    device_class: str = ""
    numa: int | None = None
    companions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class NumaNode:
    """A NUMA cell of a node: whole CPUs and memory free for pinned guests."""

    id: int
    cpu_milli: int
    memory_bytes: int
    hugepages: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """One node: `allocatable` in integers by resource (cpu_milli, memory_bytes, hugepages-2Mi in bytes, pods, extended names as counts).

    gpu_mode is container, mig-single, mig-mixed, time-sliced, shared (fractions kept by a sharing scheduler), vm-passthrough, vm-vgpu
    or empty (no GPUs).
    """

    name: str
    allocatable: dict[str, int]
    labels: dict[str, str] = field(default_factory=dict)
    taints: list[Taint] = field(default_factory=list)
    unschedulable: bool = False
    ready: bool = True
    runs_vms: bool = True
    zone: str = ""
    numa: list[NumaNode] = field(default_factory=list)
    gpu_mode: str = ""
    gpu_modes_possible: list[str] = field(default_factory=list)
    gpus: list[Gpu] = field(default_factory=list)


@dataclass(frozen=True)
class Running:
    """A pod or VM that runs already; move is live, restart or fixed, `owner` the workload it belongs to.

    `devices` are the GPUs it holds: the GPU's id, or id/profile@slot. `eligible` are the nodes it may move to (empty: any that is
    ready, schedulable and untainted).
    """

    name: str
    namespace: str
    node: str
    requests: dict[str, int]
    kind: str = "Pod"
    owner: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    priority: int = 0
    move: str = "fixed"
    move_cost: int = 1
    devices: list[str] = field(default_factory=list)
    eligible: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Volume:
    """A bound claim and where it can be reached: zones and nodes, empty for anywhere."""

    claim: str
    namespace: str
    storage_class: str = ""
    access_modes: list[str] = field(default_factory=list)
    zones: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Capacity:
    """A cluster at one moment, nodes and workloads sorted by name; `taken_at` is no part of the digest's meaning and may be empty."""

    nodes: list[Node]
    running: list[Running] = field(default_factory=list)
    volumes: list[Volume] = field(default_factory=list)
    kubernetes_version: str = ""
    kubevirt_version: str = ""
    api_version: str = API_VERSION
    kind: str = "Capacity"
