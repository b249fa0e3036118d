# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker's view of GPUs: modes, MIG layouts and shares, each device used by no more than it can hold."""
from __future__ import annotations

import re
from collections import Counter, defaultdict

from ansible_collections.tandem.hybrid.plugins.module_utils.gpu import mig
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu.names import KINDS, matches, resource_name


def check_gpus(facts):
    """Yield one sentence per violation of a device, mode or layout."""
    uses = defaultdict(list)
    for one in facts.plan.assignments:
        shape = facts.shapes[one.workload, one.shape]
        yield from _assignment(facts, one, shape.gpu)
        for device in one.devices:
            uses[one.node, device.gpu].append((one, device, shape.gpu))
    for node in facts.capacity.nodes:
        if node.gpus:
            yield from _node(facts, node, uses)


def mode(facts, node):
    """Return the GPU mode of a node under the plan."""
    setting = facts.settings.get(node.name)
    return setting.gpu_mode if setting else node.gpu_mode


def layout(facts, node, gpu):
    """Return the MIG instances (profile, slot) of a GPU under the plan."""
    setting = facts.settings.get(node.name)
    if setting is None:
        return [(profile, slot) for profile, slots in gpu.mig.items() for slot in slots]
    found = []
    for text in setting.mig.get(gpu.id, []):
        parts = re.fullmatch(r"(.+)@(\d+)", text)
        found.append((parts[1], int(parts[2])) if parts else (text, -1))
    return found


def stays(facts, gpu):
    """Return the holders of a GPU that this plan does not place anew."""
    return [name for name in gpu.used_by if name not in facts.adopted_names]


def taken_slots(facts, gpu):
    """Return the MIG start slots of a GPU that are held by what this plan does not place anew."""
    taken = set(gpu.used_slots) if stays(facts, gpu) or not gpu.used_by else set()
    return taken - facts.adopted_slots[gpu.id]


def _assignment(facts, one, request):
    where = f"{one.workload}/{one.replica}"
    if request is None:
        if one.devices:
            yield f"{where}: holds GPUs, but its shape wants none"
        return
    node = facts.nodes[one.node]
    if len(one.devices) != request.count:
        yield f"{where}: {len(one.devices)} devices, {request.count} wanted"
    if request.kind not in KINDS.get(mode(facts, node), ()):
        yield f"{where}: {request.kind} GPU on {node.name}, whose mode is {mode(facts, node) or 'none'}"
    gpus = {gpu.id: gpu for gpu in node.gpus}
    whole = [device.gpu for device in one.devices if request.kind != "mig"]
    if request.kind != "vgpu" and len(set(whole)) != len(whole):
        yield f"{where}: one GPU counted twice"
    for device in one.devices:
        gpu = gpus.get(device.gpu)
        if gpu is None:
            yield f"{where}: GPU {device.gpu} is not on {node.name}"
        elif not matches(request, gpu):
            yield f"{where}: GPU {device.gpu} ({gpu.product}) is not what shape {one.shape} wants"
        elif one.resource != resource_name(request, gpu, mode(facts, node)):
            yield f"{where}: resource {one.resource!r}, but {node.name} advertises {resource_name(request, gpu, mode(facts, node))}"
        if gpu is not None and (one.device_class, one.product) != (gpu.device_class, gpu.product if gpu.device_class else ""):
            yield f"{where}: device class {one.device_class!r} of {one.product!r}, but {device.gpu} is {gpu.device_class!r} of {gpu.product!r}"
        profile = request.profile if request.kind in ("mig", "vgpu") else ""
        milli = request.milli if request.kind == "shared" else 1000
        if device.profile != profile or (device.slot is None) == (request.kind == "mig") or device.milli != milli:
            yield f"{where}: device {device.gpu} is used otherwise than shape {one.shape} asks"


def _node(facts, node, uses):
    setting = facts.settings.get(node.name)
    new_mode = mode(facts, node)
    used_now = [gpu.id for gpu in node.gpus if gpu.used_by or gpu.used_slots or gpu.used_milli]
    allowed = facts.policy.allow_mode_changes
    if new_mode != node.gpu_mode:
        if not allowed or new_mode not in node.gpu_modes_possible:
            yield f"{node.name}: mode {new_mode} instead of {node.gpu_mode} is not allowed"
        if used_now:
            yield f"{node.name}: mode changes while GPU {used_now[0]} is in use"
        if not setting.changed:
            yield f"{node.name}: mode changes, but the setting says it does not"
    for gpu in node.gpus:
        here = uses.get((node.name, gpu.id), [])
        yield from _device(facts, node, gpu, here, new_mode != node.gpu_mode, allowed)
    passed = {gpu.id: [one for one, _unused, request in uses.get((node.name, gpu.id), []) if request and request.kind == "passthrough"]
              for gpu in node.gpus}
    for gpu in node.gpus:
        for mate in gpu.companions:
            for one in passed[gpu.id]:
                others = [other for other, _unused, _unused in uses.get((node.name, mate), []) if other is not one]
                if others:
                    yield f"{node.name}: {mate} goes with {gpu.id} to {one.workload}, but {others[0].workload} uses it"


def _device(facts, node, gpu, here, changed_mode, allowed):
    where = f"{node.name}: GPU {gpu.id}"
    instances = layout(facts, node, gpu)
    now = [(profile, slot) for profile, slots in gpu.mig.items() for slot in slots]
    idle = not (gpu.used_by or gpu.used_slots or gpu.used_milli)
    if not changed_mode and sorted(instances) != sorted(now):
        if not allowed:
            yield f"{where}: MIG layout changes, which the policy forbids"
        if not idle:
            yield f"{where}: MIG layout changes while it is in use"
    shape = mig.geometry(gpu.product, gpu.memory_bytes)
    if instances and sorted(instances) != sorted(now) and (shape is None or not mig.valid(shape, instances)):
        yield f"{where}: {instances} can't exist together"
    holders = stays(facts, gpu)
    whole = [one for one, _unused, request in here if request and (request.kind in ("full", "passthrough"))]
    slices = [(device.profile, device.slot) for _unused, device, request in here if request and request.kind == "mig"]
    shared = sum(device.milli for _unused, device, request in here if request and request.kind == "shared")
    vgpus = Counter(device.profile for _unused, device, request in here if request and request.kind == "vgpu")
    occupied = taken_slots(facts, gpu)
    if whole and (len(whole) > 1 or slices or shared or vgpus or instances or holders or (gpu.used_milli and (holders or not gpu.used_by))):
        yield f"{where}: given as a whole to {whole[0].workload}, but not free"
    for instance, count in Counter(slices).items():
        if count > 1 or instance not in instances or instance[1] in occupied:
            yield f"{where}: MIG instance {instance[0]}@{instance[1]} is not free {count} times"
    if shared and shared + (gpu.used_milli if holders or not gpu.used_by else 0) > 1000:
        yield f"{where}: {shared} thousandths planned, more than are free"
    if vgpus and (len(vgpus) > 1 or sum(vgpus.values()) + len(holders) > min(gpu.vgpu.get(profile, 0) for profile in vgpus)):
        yield f"{where}: vGPUs {dict(vgpus)} do not fit"
