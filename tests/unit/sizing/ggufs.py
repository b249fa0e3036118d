# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GGUF headers made for the tests, in the layout of the real models they are named after (no weights)."""
from __future__ import annotations

import struct

CODES = {int: (4, "<I"), float: (6, "<f"), bool: (7, "<?")}


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def entry(key, value):
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    if isinstance(value, list) and value and isinstance(value[0], str):
        return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    if isinstance(value, list):
        code, form = CODES[type(value[0])]
        return text(key) + struct.pack("<IIQ", 9, code, len(value)) + b"".join(struct.pack(form, item) for item in value)
    code, form = CODES[type(value)]
    return text(key) + struct.pack("<I", code) + struct.pack(form, value)


def tensor(name, dimensions, kind, offset=0):
    return text(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, offset)


def gguf(metadata, tensors, version=3, magic=b"GGUF"):
    head = magic + struct.pack("<IQQ", version, len(tensors), len(metadata))
    return head + b"".join(entry(*item) for item in metadata.items()) + b"".join(tensor(*item) for item in tensors)


def decoder(architecture, layers, hidden, feed_forward, heads, kv_heads, vocabulary, kind=1, **extra):
    """A dense decoder with tied embeddings; `kind` is the ggml type of its matrices."""
    width = extra.get("key_length", hidden // heads)
    metadata = {"general.architecture": architecture, "general.name": architecture + " of the tests",
                f"{architecture}.block_count": layers, f"{architecture}.embedding_length": hidden,
                f"{architecture}.feed_forward_length": feed_forward, f"{architecture}.attention.head_count": heads,
                f"{architecture}.attention.head_count_kv": kv_heads, f"{architecture}.context_length": 32768,
                "tokenizer.ggml.tokens": ["a"] * vocabulary}
    names = {"key_length": "attention.key_length", "value_length": "attention.value_length", "window": "attention.sliding_window"}
    metadata |= {f"{architecture}.{names[key]}": value for key, value in extra.items()}
    tensors = [("token_embd.weight", (hidden, vocabulary), kind), ("output_norm.weight", (hidden,), 0)]
    for layer in range(layers):
        tensors += [(f"blk.{layer}.attn_norm.weight", (hidden,), 0), (f"blk.{layer}.ffn_norm.weight", (hidden,), 0),
                    (f"blk.{layer}.attn_q.weight", (hidden, heads * width), kind),
                    (f"blk.{layer}.attn_k.weight", (hidden, kv_heads * width), kind),
                    (f"blk.{layer}.attn_v.weight", (hidden, kv_heads * width), kind),
                    (f"blk.{layer}.attn_output.weight", (heads * width, hidden), kind),
                    (f"blk.{layer}.ffn_gate.weight", (hidden, feed_forward), kind),
                    (f"blk.{layer}.ffn_up.weight", (hidden, feed_forward), kind),
                    (f"blk.{layer}.ffn_down.weight", (feed_forward, hidden), kind)]
    return gguf(metadata, tensors)


def smollm2():
    """SmolLM2-135M."""
    return decoder("llama", 30, 576, 1536, 9, 3, 49152)


def gemma3():
    """Gemma-3-270M: head width 256 with hidden size 640, a window of 512 in 5 of 6 layers."""
    return decoder("gemma3", 18, 640, 2048, 4, 1, 262144, key_length=256, value_length=256, window=512)
