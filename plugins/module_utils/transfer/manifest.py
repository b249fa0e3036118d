# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifest: the SHA-256 of every chunk of a disk and a root hash over them; portable, checkable at any later time."""
from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from .errors import TransferError
from .extents import MIB, chunk_bytes_for, chunk_count, span

FORMAT = "tandem.hybrid/manifest/v1"
DIGEST_BYTES = 32
LINE_CHUNKS = 256


def state_bytes(size_bytes: int) -> int:
    """Return the most that journal, manifest and its successor take for a disk of that size: 3 x 72 bytes a chunk, and 4 MiB."""
    return 4 * MIB + 3 * 72 * chunk_count(size_bytes, chunk_bytes_for(size_bytes))


@functools.lru_cache(maxsize=8)
def zero_digest(length: int) -> bytes:
    """Return the SHA-256 of `length` zero bytes."""
    return hashlib.sha256(bytes(length)).digest()


@dataclass(frozen=True)
class Manifest:
    """Chunk hashes of the disk `source` as it was at `generation`; `digests` holds 32 bytes per chunk, holes included."""

    source: str
    generation: str
    size_bytes: int
    chunk_bytes: int
    digests: bytes

    def digest(self, index: int) -> bytes:
        """Return the hash of one chunk."""
        return self.digests[index * DIGEST_BYTES:(index + 1) * DIGEST_BYTES]

    @property
    def root(self) -> str:
        """`sha256:<hex>` over the chunk hashes in order."""
        return "sha256:" + hashlib.sha256(self.digests).hexdigest()

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return chunk_count(self.size_bytes, self.chunk_bytes)


def write(path: str, manifest: Manifest) -> None:
    """Write by rename, durable before it is visible; raises TransferError."""
    temporary = f"{path}.new"
    try:
        with open(temporary, "w", encoding="ascii") as file:
            file.writelines(_lines(manifest))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_directory(path)
    except OSError as error:
        raise TransferError("target_error", f"{path}: {error.strerror}") from None


def read(path: str) -> Manifest | None:
    """Read a manifest, None when there is none; raises TransferError if it is damaged, which its root hash tells."""
    try:
        with open(path, encoding="ascii") as file:
            return _parse(file, path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TransferError("manifest_damaged", f"{path}: not a manifest: {error}") from None


def sync_directory(path: str) -> None:
    """Make the entry of `path` in its directory durable."""
    handle = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lines(manifest: Manifest) -> Iterator[str]:
    header = {"format": FORMAT, "source": manifest.source, "generation": manifest.generation, "size_bytes": manifest.size_bytes,
              "chunk_bytes": manifest.chunk_bytes, "root": manifest.root}
    yield json.dumps(header) + "\n"
    for first in range(0, manifest.count, LINE_CHUNKS * LINE_CHUNKS):       # in parts: a list of all would not fit a small pod
        part = range(first, min(first + LINE_CHUNKS * LINE_CHUNKS, manifest.count))
        yield from records([(index, manifest.digest(index)) for index in part], manifest.chunk_bytes, manifest.size_bytes)


def records(chunks: list[tuple[int, bytes]], chunk_bytes: int, size_bytes: int) -> Iterator[str]:
    """Yield JSON lines for sorted (index, digest) pairs: {"c": first, "h": [hex, ...]} or {"c": first, "z": count} for zeroes."""
    position = 0
    while position < len(chunks):
        first = chunks[position][0]
        zero = _is_zero(chunks[position], chunk_bytes, size_bytes)
        end = position
        while (end < len(chunks) and chunks[end][0] == first + end - position and (zero or end - position < LINE_CHUNKS)
               and _is_zero(chunks[end], chunk_bytes, size_bytes) == zero):
            end += 1
        body = {"z": end - position} if zero else {"h": [digest.hex() for _index, digest in chunks[position:end]]}
        yield json.dumps({"c": first, **body}) + "\n"
        position = end


def apply_record(record: dict, digests: bytearray, chunk_bytes: int, size_bytes: int) -> range:
    """Put one line's hashes into `digests` and return the chunks it covers; raises ValueError for anything malformed."""
    first, hashes = record["c"], record.get("h")
    count = record["z"] if hashes is None else len(hashes)
    if not (isinstance(first, int) and isinstance(count, int) and first >= 0 and count > 0):
        raise ValueError("malformed record")
    if first + count > chunk_count(size_bytes, chunk_bytes):
        raise ValueError(f"chunk {first + count - 1} is beyond the end of the disk")
    for number in range(count):
        index = first + number
        value = zero_digest(span(index, chunk_bytes, size_bytes)[1]) if hashes is None else bytes.fromhex(hashes[number])
        if len(value) != DIGEST_BYTES:
            raise ValueError("malformed hash")
        digests[index * DIGEST_BYTES:(index + 1) * DIGEST_BYTES] = value
    return range(first, first + count)


def updated(base: Manifest, generation: str, digests: bytes, done: bytes) -> Manifest:
    """Return `base` with the chunks marked in `done` taken from `digests`, as another generation."""
    merged = bytearray(base.digests)
    for index, flag in enumerate(done):
        if flag:
            merged[index * DIGEST_BYTES:(index + 1) * DIGEST_BYTES] = digests[index * DIGEST_BYTES:(index + 1) * DIGEST_BYTES]
    return replace(base, generation=generation, digests=bytes(merged))


def _is_zero(chunk: tuple[int, bytes], chunk_bytes: int, size_bytes: int) -> bool:
    return chunk[1] == zero_digest(span(chunk[0], chunk_bytes, size_bytes)[1])


def _parse(file, path: str) -> Manifest:
    header = json.loads(next(file, ""))
    if header["format"] != FORMAT:
        raise ValueError(f"format {header['format']!r}, expected {FORMAT!r}")
    size, chunk = header["size_bytes"], header["chunk_bytes"]
    if not (isinstance(size, int) and isinstance(chunk, int) and size >= 0 and chunk > 0 and chunk_count(size, chunk) <= 1 << 24):
        raise ValueError("malformed sizes")
    digests, seen = bytearray(DIGEST_BYTES * chunk_count(size, chunk)), 0
    for line in file:
        seen += len(apply_record(json.loads(line), digests, chunk, size))
    manifest = Manifest(header["source"], header["generation"], size, chunk, bytes(digests))
    if seen != manifest.count or manifest.root != header["root"]:
        raise TransferError("manifest_damaged", f"{path}: the root hash does not fit the chunk hashes")
    return manifest
