# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of a GGUF file: metadata and tensor sizes; the tensors themselves are never read.

Format: ggml's docs/gguf.md, versions 2 and 3. A header is hostile input: every length is checked against a budget before it is used,
nothing is allocated for a length that the file only claims, and long arrays (a tokenizer's) are walked but not kept.
"""
from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

from .model import SizingError

HEADER_BYTES = 256 * 1024 * 1024
KEY_BYTES = 65_535
STRING_BYTES = 16 * 1024 * 1024
ENTRIES = 65_536
TENSORS = 1_000_000
DIMENSIONS = 4
KEPT_ITEMS = 4_096
STRING_ITEMS = 4_000_000
CHUNK = 1024 * 1024

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9

# ggml type: name, elements in a block, bytes of a block (ggml's type_traits)
TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}


@dataclass(frozen=True)
class Tensor:
    """One tensor: its ggml type, number of elements and bytes in memory."""

    name: str
    type: str
    elements: int
    size_bytes: int


@dataclass(frozen=True)
class Header:
    """A GGUF header; arrays longer than KEPT_ITEMS stand in `metadata` as their length only, under `<key>.length`."""

    version: int
    metadata: dict[str, object]
    tensors: list[Tensor]


def read_header(read: Callable[[int], bytes], where: str) -> Header:
    """Read a header through `read(n)`, which returns at most n bytes; raises SizingError naming `where` and the fault."""
    source = _Source(read, where)
    if source.take(4) != b"GGUF":
        raise SizingError(f"{where}: not a GGUF file: it doesn't begin with 'GGUF'")
    version = source.number("<I")
    if version not in (2, 3):
        order = "; the file is big-endian" if version >> 16 else ""
        raise SizingError(f"{where}: GGUF version {version} is not supported, expected 2 or 3{order}")
    tensors, entries = source.number("<Q"), source.number("<Q")
    source.limit("tensors", tensors, TENSORS)
    source.limit("metadata entries", entries, ENTRIES)
    metadata: dict[str, object] = {}
    for _unused in range(entries):
        key = source.string(KEY_BYTES, "a metadata key")
        value = _value(source, source.number("<I"), key)
        if isinstance(value, _Length):
            metadata[key + ".length"] = value.items
        else:
            metadata[key] = value
    return Header(version, metadata, [_tensor(source) for _unused in range(tensors)])


@dataclass(frozen=True)
class _Length:
    items: int


class _Source:
    """Bytes under a budget."""

    def __init__(self, read, where):
        self.read, self.where, self.left, self.strings = read, where, HEADER_BYTES, STRING_ITEMS

    def limit(self, what, value, most):
        if value > most:
            raise SizingError(f"{self.where}: {what}: {value} is more than the limit of {most}; the header is damaged")

    def take(self, size):
        self.limit("bytes of the header", size, self.left)
        self.left -= size
        parts = []
        while size:
            part = self.read(min(size, CHUNK))
            if not part:
                raise SizingError(f"{self.where}: the file ends inside its header, {size} bytes too early")
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip(self, size):
        while size:
            self.take(min(size, CHUNK))
            size -= min(size, CHUNK)

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self, most, what):
        size = self.number("<Q")
        self.limit(f"length of {what}", size, most)
        return self.take(size).decode("utf-8", "replace")


def _value(source, kind, key):
    if kind == STRING:
        return source.string(STRING_BYTES, f"the value of {key[:80]!r}")
    if kind == ARRAY:
        return _array(source, key)
    if kind not in SCALARS:
        raise SizingError(f"{source.where}: metadata {key[:80]!r} has unknown type {kind}")
    return source.number(SCALARS[kind])


def _array(source, key):
    kind, items = source.number("<I"), source.number("<Q")
    source.limit(f"items of {key[:80]!r}", items, HEADER_BYTES)
    if kind == STRING:
        source.limit(f"items of {key[:80]!r}", items, source.strings)
        source.strings -= items
        for _unused in range(items):
            size = source.number("<Q")
            source.limit(f"length of an item of {key[:80]!r}", size, STRING_BYTES)
            source.skip(size)
        return _Length(items)
    if kind not in SCALARS:
        raise SizingError(f"{source.where}: metadata {key[:80]!r} is an array of type {kind}, which GGUF readers don't accept")
    width = struct.calcsize(SCALARS[kind])
    source.limit(f"bytes of {key[:80]!r}", items * width, source.left)
    if items > KEPT_ITEMS:
        source.skip(items * width)
        return _Length(items)
    return list(struct.unpack(f"<{items}{SCALARS[kind][1]}", source.take(items * width)))


def _tensor(source):
    name = source.string(KEY_BYTES, "a tensor name")
    count = source.number("<I")
    source.limit(f"dimensions of tensor {name[:80]!r}", count, DIMENSIONS)
    dimensions = [source.number("<Q") for _unused in range(count)]
    kind = source.number("<I")
    source.number("<Q")
    if kind not in TYPES:
        raise SizingError(f"{source.where}: tensor {name[:80]!r} has type {kind}, which this version doesn't know")
    type_name, block, block_bytes = TYPES[kind]
    elements = math.prod(dimensions)
    source.limit(f"elements of tensor {name[:80]!r}", elements, 2**48)
    if dimensions and dimensions[0] % block:
        raise SizingError(f"{source.where}: tensor {name[:80]!r}: rows of {dimensions[0]} don't divide into blocks of {block} ({type_name})")
    return Tensor(name, type_name, elements, elements // block * block_bytes)
