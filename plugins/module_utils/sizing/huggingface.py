# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Model from a transformers config.json, with model.safetensors.index.json where the weights can't be computed."""
from __future__ import annotations

import json

from .model import Layer, Model, SizingError

CONFIG_BYTES = 4 * 1024 * 1024
INDEX_BYTES = 64 * 1024 * 1024
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1}
# Dense decoders whose tensors are exactly those of parameters(); others need the index.
DENSE = {"llama", "mistral", "qwen2", "qwen3"}
LAYERS = 4_096


def from_config(raw: bytes, where: str, index: bytes | None = None) -> Model:
    """Return the model of a config.json; `index` is the text of its model.safetensors.index.json. Raises SizingError naming the field."""
    config = _Config(_object(raw, where, CONFIG_BYTES), where)
    if "text_config" in config.data:
        config = _Config(config.data["text_config"], where + ".text_config")
    kind, count = str(config.data.get("model_type", "")), config.whole("num_hidden_layers")
    if not 0 < count <= LAYERS:
        raise SizingError(f"{where}: num_hidden_layers: expected 1 to {LAYERS}, got {count}")
    dtype = str(config.data.get("dtype") or config.data.get("torch_dtype") or "bfloat16")
    heads = config.whole("num_attention_heads")
    if not heads:
        raise SizingError(f"{where}: num_attention_heads must be positive")
    total = None if index is None else _total(index, where)
    if total is None and (kind not in DENSE or "quantization_config" in config.data or dtype not in BYTES):
        raise SizingError(f"{where}: the size of a {kind or 'nameless'} model ({dtype}"
                          f"{', quantised' if 'quantization_config' in config.data else ''}) can't be computed; "
                          "put its model.safetensors.index.json beside it")
    count_parameters = _parameters(config, kind) if kind in DENSE else 0
    weights = total if total is not None else count_parameters * BYTES[dtype]
    return Model(
        name=str(config.data.get("_name_or_path", "")), architecture=kind, format="transformers",
        parameters=count_parameters, weights_bytes=weights, heads=heads, kv_heads=config.whole("num_key_value_heads", heads),
        hidden=config.whole("hidden_size"), feed_forward=config.whole("intermediate_size", 0), vocabulary=config.whole("vocab_size"),
        trained_context=config.whole("max_position_embeddings", 0), layers=_layers(config, count, heads), types={dtype: weights})


def _total(index, where):
    where = where + ": model.safetensors.index.json"
    return _Config(_object(index, where, INDEX_BYTES).get("metadata", {}), where + ": metadata").whole("total_size")


def _parameters(config, kind):
    hidden, heads, count = config.whole("hidden_size"), config.whole("num_attention_heads"), config.whole("num_hidden_layers")
    width = config.whole("head_dim", hidden // heads)
    kv = config.whole("num_key_value_heads", heads) * width
    query = heads * width
    bias = query + 2 * kv if kind == "qwen2" or config.data.get("attention_bias") else 0
    norms = 2 * hidden + (2 * width if kind == "qwen3" else 0)
    layer = 2 * hidden * query + 2 * hidden * kv + 3 * hidden * config.whole("intermediate_size") + norms + bias
    embeddings = config.whole("vocab_size") * hidden * (1 if config.data.get("tie_word_embeddings") else 2)
    return embeddings + count * layer + hidden


def _layers(config, count, heads):
    rank = config.whole("kv_lora_rank", 0)
    if rank:
        return [Layer(rank + config.whole("qk_rope_head_dim"), 0, latent=True)] * count
    width = config.whole("num_key_value_heads", heads) * config.whole("head_dim", config.whole("hidden_size") // heads)
    window = config.whole("sliding_window", 0)
    types = config.data.get("layer_types")
    if window and isinstance(types, list) and config.data.get("use_sliding_window", True):
        if len(types) != count:
            raise SizingError(f"{config.where}: layer_types: expected {count} items, got {len(types)}")
        return [Layer(width, width, window if kind == "sliding_attention" else 0) for kind in types]
    return [Layer(width, width)] * count


def _object(raw, where, most):
    if len(raw) > most:
        raise SizingError(f"{where}: larger than {most} bytes; this is no model configuration")
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise SizingError(f"{where}: not JSON: {str(error)[:120]}") from None
    if not isinstance(data, dict):
        raise SizingError(f"{where}: expected a JSON object")
    return data


class _Config:
    """Typed access with the error sentences."""

    def __init__(self, data, where):
        if not isinstance(data, dict):
            raise SizingError(f"{where}: expected an object")
        self.data, self.where = data, where

    def whole(self, key, default=None):
        value = self.data.get(key)
        value = default if value is None else value
        if value is None:
            raise SizingError(f"{self.where}: {key} is missing")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**60:
            raise SizingError(f"{self.where}: {key}: expected a whole number, got {str(value)[:60]!r}")
        return value
