# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Model from GGUF headers, with the rules by which llama.cpp reads its metadata."""
from __future__ import annotations

from .gguf import Header
from .model import Layer, Model, SizingError

# Every n-th layer has full attention where a file doesn't say which (llama.cpp's set_swa_pattern).
WINDOW_PATTERN = {"gemma2": 2, "gemma3": 6, "cohere2": 4, "gpt-oss": 2}
LAYERS = 4_096


def from_headers(headers: list[Header], where: str) -> Model:
    """Return the model of a GGUF file, or of all parts of a split one in any order; raises SizingError naming the field."""
    first = next((header for header in headers if "general.architecture" in header.metadata), headers[0])
    reader = _Metadata(first.metadata, where)
    parts = reader.whole("split.count", 1)
    if parts != len(headers):
        raise SizingError(f"{where}: the model has {parts} parts, {len(headers)} given; give all of them")
    architecture = reader.text("general.architecture")
    if any(f"{architecture}.{key}" in first.metadata for key in ("ssm.state_size", "wkv.head_size")):
        raise SizingError(f"{where}: {architecture} keeps recurrent state, which sizing doesn't model; set the memory by hand")
    reader.prefix = architecture + "."
    count = reader.whole("block_count")
    if not 0 < count <= LAYERS:
        raise SizingError(f"{where}: {architecture}.block_count: expected 1 to {LAYERS}, got {count}")
    hidden, heads = reader.whole("embedding_length"), max(reader.per_layer("attention.head_count", count))
    if not hidden or not heads:
        raise SizingError(f"{where}: embedding length and head count must be positive, got {hidden} and {heads}")
    kv_heads = reader.per_layer("attention.head_count_kv", count, heads)
    tensors = [tensor for header in headers for tensor in header.tensors]
    types: dict[str, int] = {}
    for tensor in tensors:
        types[tensor.type] = types.get(tensor.type, 0) + tensor.size_bytes
    return Model(
        name=str(first.metadata.get("general.name", "")), architecture=architecture, format="gguf",
        parameters=sum(tensor.elements for tensor in tensors), weights_bytes=sum(types.values()),
        heads=heads, kv_heads=max(kv_heads), hidden=hidden,
        feed_forward=max(reader.per_layer("feed_forward_length", count, 0)),
        vocabulary=reader.whole("vocab_size", _length(first.metadata, "tokenizer.ggml.tokens")),
        trained_context=reader.whole("context_length", 0), layers=_layers(reader, architecture, count, kv_heads, hidden // heads), types=types)


def _layers(reader, architecture, count, kv_heads, default_width):
    key = reader.whole("attention.key_length", default_width)
    value = reader.whole("attention.value_length", key)
    window = reader.whole("attention.sliding_window", 0)
    full = _full(reader, architecture, count) if window else [True] * count
    latent = reader.whole("attention.kv_lora_rank", 0)
    if latent:  # llama.cpp caches the compressed keys once and takes the values from them
        return [Layer(latent + reader.whole("rope.dimension_count", 0), 0, latent=True)] * count
    return [Layer(kv * key, kv * value, 0 if is_full else window) for kv, is_full in zip(kv_heads, full, strict=True)]


def _full(reader, architecture, count):
    pattern = reader.metadata.get(reader.prefix + "attention.sliding_window_pattern")
    if isinstance(pattern, list):
        if len(pattern) != count:
            raise SizingError(f"{reader.where}: {architecture}.attention.sliding_window_pattern: expected {count} items, got {len(pattern)}")
        return [not item for item in pattern]
    every = pattern if isinstance(pattern, int) and pattern > 0 else WINDOW_PATTERN.get(architecture, 1)
    return [index % every == every - 1 for index in range(count)]  # 1, the unknown case: all full, never too little memory


def _length(metadata, key):
    return metadata.get(key + ".length", 0)


class _Metadata:
    """Typed access with the error sentences."""

    def __init__(self, metadata, where):
        self.metadata, self.where, self.prefix = metadata, where, ""

    def _get(self, key, default):
        name = self.prefix + key
        if name not in self.metadata and default is None:
            raise SizingError(f"{self.where}: metadata {name!r} is missing")
        return name, self.metadata.get(name, default)

    def text(self, key):
        name, value = self._get(key, None)
        if not isinstance(value, str) or not value:
            raise SizingError(f"{self.where}: metadata {name!r}: expected text, got {str(value)[:60]!r}")
        return value

    def whole(self, key, default=None):
        name, value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**40:
            raise SizingError(f"{self.where}: metadata {name!r}: expected a whole number, got {str(value)[:60]!r}")
        return value

    def per_layer(self, key, count, default=None):
        name, value = self._get(key, default)
        if not isinstance(value, list):
            return [self.whole(key, default)] * count
        good = len(value) == count and all(isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**40 for item in value)
        if not good:
            raise SizingError(f"{self.where}: metadata {name!r}: expected {count} whole numbers")
        return value
