# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPU requests and devices: which kinds a node mode serves, which device serves a request, and the resource name to ask for."""
from __future__ import annotations

import functools
import re

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Gpu
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import GpuRequest
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu import mig

KINDS = {
    "container": frozenset({"full"}),
    "mig-single": frozenset({"mig"}),
    "mig-mixed": frozenset({"full", "mig"}),
    "time-sliced": frozenset({"shared"}),
    "shared": frozenset({"full", "shared"}),
    "vm-passthrough": frozenset({"passthrough"}),
    "vm-vgpu": frozenset({"vgpu"}),
}
VENDORS = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu", "intel": "gpu.intel.com/xe"}


@functools.lru_cache(maxsize=4096)
def words(product: str) -> frozenset[str]:
    """Return the words of a product name in lower case, so that H100 is found in NVIDIA-H100-80GB-HBM3 but A10 not in A100."""
    return frozenset(word for word in re.split(r"[^a-z0-9]+", product.lower()) if word)


def matches(request: GpuRequest, gpu: Gpu) -> bool:
    """Say whether a device is of the asked product and size; mode and occupancy are not looked at."""
    if request.product and not words(request.product) <= words(gpu.product):
        return False
    if request.memory_bytes > gpu.memory_bytes:
        return False
    if request.kind == "mig":
        shape = mig.geometry(gpu.product, gpu.memory_bytes)
        return (shape is not None and request.profile in shape.profiles) or request.profile in gpu.mig
    if request.kind == "vgpu":
        return request.profile in gpu.vgpu
    if request.kind == "passthrough" and request.resource:
        return not gpu.resource or request.resource == gpu.resource
    return True


def resource_name(request: GpuRequest, gpu: Gpu, mode: str) -> str:
    """Return the extended resource name that the manifest has to ask for on a node of this mode; empty where a claim asks for the device."""
    if gpu.device_class:
        return ""
    if request.kind == "mig":
        return mig.resource_name(request.profile, single=mode == "mig-single")
    if request.kind == "vgpu":
        return request.resource or f"nvidia.com/{request.profile}"
    if request.kind == "passthrough":
        return request.resource or gpu.resource
    return request.resource or VENDORS.get(gpu.vendor, f"{gpu.vendor}.com/gpu")
