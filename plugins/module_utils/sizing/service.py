# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one replica of a model server needs: device memory, host memory, processors and time to start."""
from __future__ import annotations

from dataclasses import dataclass, field

from . import memory
from .memory import GIB, MIB, LlamaCache
from .model import Model, SizingError, ceil_to

ENGINES = ("llama", "vllm")
UTILISATION_PERCENT = 92  # vLLM's default share of a device
BATCHED_TOKENS = 8_192
CUDA_CONTEXT_BYTES = 512 * MIB
VLLM_RUNTIME_BYTES = 1_536 * MIB  # CUDA context, NCCL and CUDA graphs
LLAMA_PROCESS_BYTES = 64 * MIB
VLLM_HOST_BYTES = 4 * GIB
LOAD_BYTES_PER_SECOND = 200 * 1000 * 1000


@dataclass(frozen=True)
class Service:
    """How a model shall be served: `context` in tokens for one request, `parallel` requests at once, on how many devices (0: CPU)."""

    engine: str = "llama"
    context: int = 4096
    parallel: int = 1
    cache_type: str = "f16"
    unified: bool = False
    cpu_milli: int = 1000
    utilisation_percent: int = UTILISATION_PERCENT


@dataclass(frozen=True)
class Need:
    """The answer for one replica; `device_bytes` is per device and 0 on a CPU, `exact` names the parts that are not estimates."""

    devices: int
    weights_bytes: int
    cache_bytes: int
    compute_bytes: int
    runtime_bytes: int
    device_bytes: int
    memory_request_bytes: int
    memory_limit_bytes: int
    shared_memory_bytes: int
    cpu_milli: int
    startup_seconds: int
    exact: list[str] = field(default_factory=lambda: ["weights_bytes", "cache_bytes"])


def need(model: Model, service: Service, devices: int) -> Need:
    """Return what one replica needs on `devices` GPUs (0: on the CPU); raises SizingError where the engine can't run so."""
    if service.engine not in ENGINES:
        raise SizingError(f"engine {service.engine!r} is unknown, expected one of {', '.join(ENGINES)}")
    if model.trained_context and service.context > model.trained_context:
        raise SizingError(f"context {service.context} is longer than the {model.trained_context} tokens the model was trained for")
    if not 0 < service.utilisation_percent <= 100 or service.cpu_milli < 1:
        raise SizingError("utilisation must be 1 to 100 percent and cpu_milli positive")
    return _llama(model, service, devices) if service.engine == "llama" else _vllm(model, service, devices)


def llama_cache(service: Service) -> LlamaCache:
    """Return llama-server's cache flags for a service: -c counts all slots together."""
    return LlamaCache(service.context * service.parallel, service.parallel, service.cache_type, service.cache_type, service.unified)


def _llama(model, service, devices):
    if devices > 1:
        raise SizingError("llama-server is sized for one device; choose vllm for tensor parallelism")
    cache, compute = memory.llama_cache_bytes(model, llama_cache(service)), memory.llama_compute_bytes(model)
    total = model.weights_bytes + cache + compute
    device = total + CUDA_CONTEXT_BYTES if devices else 0
    # On a GPU the host maps the file once to load it; on a CPU everything is host memory.
    host = LLAMA_PROCESS_BYTES + (compute + min(model.weights_bytes, GIB) if devices else total)
    return _answer(model, service, devices, model.weights_bytes, cache, compute, CUDA_CONTEXT_BYTES if devices else LLAMA_PROCESS_BYTES, device, host, 0)


def _vllm(model, service, devices):
    if not devices:
        raise SizingError("vllm is sized for GPUs; choose llama for a CPU")
    if model.heads % devices:
        raise SizingError(f"{model.heads} attention heads can't be split over {devices} devices")
    cache_type = "bf16" if service.cache_type == "f16" else service.cache_type
    cache = memory.vllm_cache_bytes(model, service.context, service.parallel, cache_type, devices)
    weights = -(-model.weights_bytes // devices)
    compute = memory.vllm_compute_bytes(model, max(BATCHED_TOKENS, service.context), service.parallel, devices)
    device = -(-(weights + cache + compute + VLLM_RUNTIME_BYTES) * 100 // service.utilisation_percent)
    shared = 2 * GIB * devices if devices > 1 else 64 * MIB
    host = VLLM_HOST_BYTES + min(model.weights_bytes, 8 * GIB) + shared
    return _answer(model, service, devices, weights, cache, compute, VLLM_RUNTIME_BYTES, device, host, shared)


def _answer(model, service, devices, weights, cache, compute, runtime, device, host, shared):
    request = ceil_to(host, MIB)
    startup = 60 + model.weights_bytes // LOAD_BYTES_PER_SECOND + (180 if service.engine == "vllm" else 0)
    return Need(devices, weights, cache, compute, runtime, device, request, ceil_to(request + request // 4 + 64 * MIB, MIB), shared,
                service.cpu_milli, startup)
