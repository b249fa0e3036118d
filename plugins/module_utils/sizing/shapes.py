# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways to run a model on what a cluster offers: the alternatives among which a plan chooses."""
from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import GpuRequest, Shape

from .model import Model, SizingError
from .service import Need, Service, need

# A MIG slice has a little less than its name says: 16.0 GiB for 1g.18gb, 9.75 GiB for 1g.10gb.
PROFILE_BYTES_PER_GB = 950_000_000
ACCELERATORS = ("any", "full", "mig", "none")


@dataclass(frozen=True, order=True)
class Offer:
    """Devices of one kind (full or mig): memory of each in bytes, and how many of them the best node has."""

    kind: str
    profile: str
    memory_bytes: int
    count: int


def profile_bytes(profile: str) -> int:
    """Return the usable bytes of a MIG profile such as 1g.10gb, never more than the device gives; raises SizingError."""
    match = re.fullmatch(r"[1-9]\d?g\.(\d{1,4})gb(?:\+[a-z.+]+)?", profile)
    if not match:
        raise SizingError(f"MIG profile {profile!r}: expected a form like 1g.10gb")
    return int(match.group(1)) * PROFILE_BYTES_PER_GB


def offers(capacity: Capacity) -> list[Offer]:
    """Return the distinct devices that containers can get in a cluster as it is now, smallest memory first."""
    found: dict[tuple, int] = {}
    for node in capacity.nodes:
        if node.gpu_mode.startswith("vm-"):
            continue
        for gpu in node.gpus:
            if gpu.mig:
                for profile, slots in gpu.mig.items():
                    key = (node.name, "mig", profile, profile_bytes(profile))
                    found[key] = found.get(key, 0) + len(slots)
            else:
                key = (node.name, "full", "", gpu.memory_bytes)
                found[key] = found.get(key, 0) + 1
    most: dict[tuple, int] = {}
    for (_node, *rest), count in found.items():
        most[tuple(rest)] = max(count, most.get(tuple(rest), 0))
    return sorted((Offer(*key, count) for key, count in most.items()), key=lambda offer: (offer.memory_bytes, offer.profile))


def shapes(model: Model, service: Service, found: list[Offer], accelerator: str = "any") -> list[Shape]:
    """Return every fitting shape, cheapest first; `accelerator` full, mig or none narrows the choice. Raises SizingError if none fits."""
    if accelerator not in ACCELERATORS:
        raise SizingError(f"accelerator {accelerator!r} is unknown, expected one of {', '.join(ACCELERATORS)}")
    fitting = []
    for offer in found:
        if accelerator in ("any", offer.kind):
            fitting += _on(model, service, offer)
    if accelerator in ("any", "none") and service.engine == "llama" and not fitting:
        fitting.append((0, Shape("cpu", _requests(need(model, service, 0)))))
    if not fitting:
        raise SizingError(_nothing(model, service, found, accelerator))
    unique = {shape.name: (cost, shape) for cost, shape in sorted(fitting, key=lambda pair: (pair[0], pair[1].name), reverse=True)}
    ordered = sorted(unique.values(), key=lambda pair: (pair[0], pair[1].name))
    return [Shape(shape.name, shape.requests, shape.gpu, rank) for rank, (_cost, shape) in enumerate(ordered)]


def _on(model, service, offer):
    for devices in (1, 2, 4, 8):
        if devices > offer.count or (devices > 1 and (offer.kind == "mig" or service.engine == "llama")) or model.heads % devices:
            break
        answer = need(model, service, devices)
        if answer.device_bytes <= offer.memory_bytes:
            request = GpuRequest(offer.kind, devices, profile=offer.profile, memory_bytes=answer.device_bytes)
            what = f"mig-{offer.profile}" if offer.kind == "mig" else f"gpu-{-(-answer.device_bytes // 2**30)}gib"
            yield offer.memory_bytes * devices, Shape(f"{devices}x{what}", _requests(answer), request)
            break


def _requests(answer: Need) -> dict[str, int]:
    return {"cpu_milli": answer.cpu_milli, "memory_bytes": answer.memory_request_bytes}


def _nothing(model, service, found, accelerator):
    least = need(model, service, 1).device_bytes
    if accelerator == "none":
        return f"engine {service.engine} can't serve a model without a GPU; of the engines only llama can"
    kind = {"any": "GPU", "full": "full GPU", "mig": "MIG slice"}[accelerator]
    memory_bytes = [offer.memory_bytes for offer in found if accelerator in ("any", offer.kind)]
    if not memory_bytes:
        return f"the cluster offers containers no {kind}, and the model needs one with {least / 2**30:.1f} GiB"
    return f"no {kind} of the cluster fits the model: it needs {least / 2**30:.1f} GiB on one device, the largest has {max(memory_bytes) / 2**30:.1f} GiB"
