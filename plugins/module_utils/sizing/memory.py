# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes that a model server allocates for its weights and its cache.

The cache rules are those of llama.cpp's and vLLM's allocators and match what the servers report to the last printed digit. Compute buffers
and the runtimes' own share are estimates and named so.
"""
from __future__ import annotations

from dataclasses import dataclass

from .model import Model, SizingError, ceil_to

MIB = 1024 * 1024
GIB = 1024 * MIB
# Cache type: elements in a block, bytes of a block.
CACHE_TYPES = {"f32": (1, 4), "f16": (1, 2), "bf16": (1, 2), "fp8": (1, 1), "q8_0": (32, 34), "q5_1": (32, 24), "q5_0": (32, 22),
               "q4_1": (32, 20), "q4_0": (32, 18)}
CELLS = 256
BLOCK_TOKENS = 16
CPU_BLOCK_TOKENS = 128


@dataclass(frozen=True)
class LlamaCache:
    """llama-server's flags that decide its cache: `context` is -c (tokens of all slots together), `slots` is -np."""

    context: int
    slots: int = 1
    key_type: str = "f16"
    value_type: str = "f16"
    unified: bool = False
    micro_batch: int = 512


def llama_cells(cache: LlamaCache) -> tuple[int, int]:
    """Return (cells of one stream, streams): the context is split over the slots and each share rounded up to 256 cells."""
    if cache.context < 1 or cache.slots < 1 or cache.micro_batch < 1:
        raise SizingError(f"context, slots and micro batch must be positive, got {cache.context}, {cache.slots} and {cache.micro_batch}")
    if cache.unified:
        return ceil_to(cache.context, CELLS), 1
    return ceil_to(-(-cache.context // cache.slots), CELLS), cache.slots


def llama_cache_bytes(model: Model, cache: LlamaCache) -> int:
    """Return the bytes of llama-server's KV cache; layers with a window hold it plus one micro batch, never more than the full cache."""
    cells, streams = llama_cells(cache)
    total = 0
    for layer in model.layers:
        own = cells
        if layer.window:
            reach = layer.window * (cache.slots if cache.unified else 1) + cache.micro_batch
            own = min(cells, ceil_to(reach, CELLS))
        total += streams * own * (_row(layer.key_width, cache.key_type) + _row(layer.value_width, cache.value_type))
    return total


def token_bytes(model: Model, key_type: str = "f16", value_type: str = "f16", tensor_parallel: int = 1) -> int:
    """Return the cache bytes of one token in all layers on one of `tensor_parallel` ranks; windows are left out of account."""
    total = 0
    for layer in model.layers:
        share = 1.0 if layer.latent else max(1, model.kv_heads // tensor_parallel) / model.kv_heads
        total += _row(round(layer.key_width * share), key_type) + _row(round(layer.value_width * share), value_type)
    return total


def vllm_cache_tokens(cache_bytes: int, bytes_per_token: int, block_tokens: int = BLOCK_TOKENS) -> int:
    """Return how many tokens vLLM fits into `cache_bytes`, whole blocks only; a block is 128 tokens on a CPU."""
    return cache_bytes // (bytes_per_token * block_tokens) * block_tokens


def vllm_cache_bytes(model: Model, context: int, sequences: int, cache_type: str = "bf16", tensor_parallel: int = 1,
                     block_tokens: int = BLOCK_TOKENS) -> int:
    """Return the bytes a rank needs so that `sequences` of `context` tokens are in the cache at once."""
    if context < 1 or sequences < 1:
        raise SizingError(f"context and sequences must be positive, got {context} and {sequences}")
    return ceil_to(context, block_tokens) * sequences * token_bytes(model, cache_type, cache_type, tensor_parallel)


def llama_compute_bytes(model: Model, micro_batch: int = 512) -> int:
    """Estimate llama-server's compute buffer: two activations of a micro batch, at least 48 MiB (15 to 36 MiB seen on small models)."""
    return max(48 * MIB, 2 * 4 * micro_batch * (model.hidden + 2 * model.feed_forward) + 4 * model.vocabulary)


def vllm_compute_bytes(model: Model, batched_tokens: int, sequences: int, tensor_parallel: int) -> int:
    """Estimate vLLM's peak activation: the widest layer of a batch in bf16 and the logits in fp32, at least 512 MiB."""
    layer = 2 * batched_tokens * (4 * model.hidden + 2 * model.feed_forward // tensor_parallel)
    return max(512 * MIB, layer + 2 * 4 * sequences * model.vocabulary)


def _row(width: int, cache_type: str) -> int:
    if cache_type not in CACHE_TYPES:
        raise SizingError(f"cache type {cache_type!r} is unknown, expected one of {', '.join(CACHE_TYPES)}")
    block, size = CACHE_TYPES[cache_type]
    if width % block:
        raise SizingError(f"cache type {cache_type} stores blocks of {block} elements, a layer of this model has {width}")
    return width // block * size
