# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPUs of a node as a Capacity wants them: devices counted from resource names, labels of GPU feature discovery and ResourceSlices. Pure."""
from __future__ import annotations

import re

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.quantity import quantity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Gpu
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu import memory, mig

FULL = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe")
VGPU = re.compile(r"nvidia\.com/([A-Za-z0-9_]+-\d+[A-Z]+)")
NOT_DEVICES = ("nvidia.com/gpu.shared", "nvidia.com/pgpu", "nvidia.com/vgpu")
WORKLOAD_LABEL = "nvidia.com/gpu.workload.config"
MIB = 1 << 20


def is_gpu(resource: str) -> bool:
    """Say whether an extended resource counts GPUs or parts of them."""
    return resource in FULL or resource.startswith("nvidia.com/")


def mode(labels: dict[str, str], counts: dict[str, int]) -> str:
    """Return the GPU mode of a node from its labels, else from what it advertises; empty without GPUs."""
    if not counts:
        return ""
    if any(mig.profile_of(name) for name in counts):
        return "mig-mixed"
    if "-MIG-" in labels.get("nvidia.com/gpu.product", ""):
        return "mig-single"
    if labels.get("nvidia.com/gpu.sharing-strategy", "none") not in ("none", "") or labels.get("nvidia.com/gpu.product", "").endswith("-SHARED"):
        return "time-sliced"
    config = labels.get(WORKLOAD_LABEL, "")
    if config in ("vm-passthrough", "vm-vgpu"):
        return config
    if any(VGPU.fullmatch(name) for name in counts):
        return "vm-vgpu"
    if not any(name in FULL for name in counts):
        return "vm-passthrough"
    return "container"


def devices(labels: dict[str, str], counts: dict[str, int], node_mode: str) -> list[Gpu]:
    """Return the devices; ids are places on the node (gpu-0, gpu-1, ...), as Kubernetes does not tell UUIDs to its clients."""
    product = re.sub(r"(-SHARED|-MIG-.*)$", "", labels.get("nvidia.com/gpu.product", ""))
    size = int(labels.get("nvidia.com/gpu.memory", "0") or 0) * MIB
    if node_mode == "mig-single" or not size:
        size = memory.memory_bytes(product) if node_mode in ("mig-single", "mig-mixed") or not size else size
    found: list[Gpu] = []
    for resource, count in sorted(counts.items()):
        if resource in FULL and node_mode not in ("mig-single", "time-sliced"):
            vendor = resource.split(".")[-2].split("/")[0] if resource.startswith("gpu.") else resource.split(".")[0]
            found += [Gpu("", product or vendor, vendor, size) for _unused in range(count)]
        elif match := VGPU.fullmatch(resource):
            found.append(Gpu("", match[1].rsplit("-", 1)[0], memory_bytes=0, vgpu={match[1]: count}, resource=resource))
        elif resource not in FULL and not mig.profile_of(resource) and resource not in NOT_DEVICES:
            name = resource.partition("/")[2]
            found += [Gpu("", name, memory_bytes=memory.memory_bytes(name), resource=resource) for _unused in range(count)]
    if node_mode == "time-sliced":
        replicas = max(1, int(labels.get("nvidia.com/gpu.replicas", "1") or 1))
        physical = int(labels.get("nvidia.com/gpu.count", "0") or 0) or sum(counts.values()) // replicas
        found += [Gpu("", product, memory_bytes=size) for _unused in range(physical)]
    if node_mode == "mig-single":
        profile = labels.get("nvidia.com/gpu.product", "").rpartition("-MIG-")[2]
        found += _slices({profile: counts.get("nvidia.com/gpu", 0)}, product, size, 0)
    if node_mode == "mig-mixed":
        slices = {profile: count for name, count in counts.items() if (profile := mig.profile_of(name))}
        physical = int(labels.get("nvidia.com/gpu.count", "0") or 0) - len(found)
        found += _slices(slices, product, size, max(0, physical))
    return [Gpu(f"gpu-{number}", **{name: getattr(gpu, name) for name in
                                    ("product", "vendor", "memory_bytes", "mig", "vgpu", "resource")}) for number, gpu in enumerate(found)]


def _slices(counts: dict[str, int], product: str, size: int, least: int) -> list[Gpu]:
    """Pack the advertised instances into as few devices as they can be on; without a geometry each profile counts as one device."""
    shape = mig.geometry(product, size)
    if shape is None or any(profile not in shape.profiles for profile in counts):
        return [Gpu("", product, memory_bytes=size, mig={profile: list(range(count))}) for profile, count in sorted(counts.items()) if count]
    layouts: list[list[mig.Instance]] = [[] for _unused in range(least)]
    for profile in sorted(counts, key=lambda name: (-shape.profiles[name].memory_slices, name)):
        for _unused in range(counts[profile]):
            layout = next((layout for layout in layouts if mig.starts(shape, layout, profile)), None)
            if layout is None:
                layouts.append(layout := [])
            layout.append((profile, mig.best_start(shape, layout, profile)))
    return [Gpu("", product, memory_bytes=size, mig=_by_profile(layout)) for layout in layouts]


def _by_profile(layout):
    found: dict[str, list[int]] = {}
    for profile, slot in sorted(layout, key=lambda instance: instance[1]):
        found.setdefault(profile, []).append(slot)
    return found


def from_slices(slices: list[dict], node: str) -> list[Gpu]:
    """Return the GPUs that a node's DRA driver publishes in ResourceSlices (resource.k8s.io), MIG devices beside their parents."""
    found: dict[str, Gpu] = {}
    for piece in slices:
        spec = piece.get("spec", {})
        if spec.get("nodeName") != node or not spec.get("driver", "").startswith("gpu."):
            continue
        for entry in spec.get("devices") or []:
            device = entry.get("basic", entry)
            attributes = {name.rpartition("/")[2]: next(iter(value.values()), "") for name, value in (device.get("attributes") or {}).items()}
            if attributes.get("type", "gpu") == "gpu":
                size = (device.get("capacity") or {}).get("memory", "0")
                found[entry["name"]] = Gpu(entry["name"], str(attributes.get("productName", "")), spec["driver"].split(".")[1],
                                           int(quantity(size.get("value", "0") if isinstance(size, dict) else size)),
                                           device_class=spec["driver"])
    return [found[name] for name in sorted(found)]


def hold(gpus: list[Gpu], node_mode: str, resource: str, count: int, holder: str) -> list[Gpu]:
    """Return the devices after a holder took `count` of a resource: first by id, as which one it was is not told."""
    out = list(gpus)
    profile = mig.profile_of(resource)
    for _unused in range(count):
        for number, gpu in enumerate(out):
            taken = _take(gpu, node_mode, resource, profile, holder)
            if taken is not None:
                out[number] = taken
                break
    return out


def _take(gpu, node_mode, resource, profile, holder):
    fields = {name: getattr(gpu, name) for name in ("product", "vendor", "memory_bytes", "mig", "vgpu", "resource", "used_slots",
                                                    "used_milli", "used_by")}
    holders = [*gpu.used_by, holder]
    if gpu.mig:
        wanted = [profile] if profile else sorted(gpu.mig) if node_mode == "mig-single" else []
        free = [slot for name in wanted for slot in gpu.mig.get(name, []) if slot not in gpu.used_slots]
        return Gpu(gpu.id, **{**fields, "used_slots": sorted([*gpu.used_slots, free[0]]), "used_by": holders}) if free else None
    if gpu.vgpu:
        fits = resource == gpu.resource and len(gpu.used_by) < sum(gpu.vgpu.values())
        return Gpu(gpu.id, **{**fields, "used_by": holders}) if fits else None
    if node_mode == "time-sliced":
        return Gpu(gpu.id, **{**fields, "used_milli": min(1000, gpu.used_milli + 1000 // 4), "used_by": holders}) if gpu.used_milli < 1000 else None
    same = resource == gpu.resource if gpu.resource else resource in FULL
    return Gpu(gpu.id, **{**fields, "used_by": holders}) if same and not gpu.used_by and not profile else None
