# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done with every chunk of a disk, from the server's maps of data, zeroes and dirty blocks."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .errors import Resumable, TransferError

SKIP, ZERO, DATA = 0, 1, 2
FLAG_ZERO, FLAG_DIRTY = 2, 1            # base:allocation's NBD_STATE_ZERO; qemu:dirty-bitmap's only flag
MIB = 1 << 20
MIN_CHUNK_BYTES, MAX_CHUNK_BYTES = MIB // 2, 32 * MIB     # half a MiB stays in a processor's cache between its steps
MAX_CHUNKS = 1 << 20

Extent = tuple[int, int, int]           # offset, length, flags


@dataclass(frozen=True)
class ChunkPlan:
    """One state (SKIP, ZERO or DATA) per chunk; `data_bytes` is what the data extents hold, without rounding to chunks."""

    size_bytes: int
    chunk_bytes: int
    states: bytes
    data_bytes: int

    def span(self, index: int) -> tuple[int, int]:
        """Return offset and length of a chunk; the last may be shorter."""
        return span(index, self.chunk_bytes, self.size_bytes)

    def indexes(self, state: int) -> list[int]:
        """Return the chunks in that state, in order."""
        return [index for index, value in enumerate(self.states) if value == state]

    def bytes_in(self, indexes: Iterable[int]) -> int:
        """Return how many bytes these chunks span."""
        return sum(self.span(index)[1] for index in indexes)


def span(index: int, chunk_bytes: int, size_bytes: int) -> tuple[int, int]:
    """Return offset and length of chunk `index`."""
    offset = index * chunk_bytes
    return offset, min(chunk_bytes, size_bytes - offset)


def chunk_count(size_bytes: int, chunk_bytes: int) -> int:
    """Return how many chunks a disk has."""
    return -(-size_bytes // chunk_bytes)


def chunk_bytes_for(size_bytes: int) -> int:
    """Return the chunk size: 512 KiB, doubled until a disk has at most 2^20 chunks; raises TransferError above 32 TiB."""
    chunk = MIN_CHUNK_BYTES
    while chunk_count(size_bytes, chunk) > MAX_CHUNKS:
        chunk *= 2
    if chunk > MAX_CHUNK_BYTES:
        raise TransferError("too_large", f"the disk has {size_bytes} bytes; at most {MAX_CHUNKS * MAX_CHUNK_BYTES} are supported")
    return chunk


def plan_chunks(size_bytes: int, chunk_bytes: int, allocation: Iterable[Extent] | None, dirty: Iterable[Extent] | None) -> ChunkPlan:
    """Merge the maps: all chunks, or only the dirty ones; ZERO where every byte is known to be zero. Raises if a map has gaps."""
    count = chunk_count(size_bytes, chunk_bytes)
    states, data_bytes = bytearray([ZERO if allocation is not None else DATA]) * count, 0
    for offset, length, flags in _gapless(allocation, size_bytes):
        if not flags & FLAG_ZERO:
            data_bytes += length
            _fill(states, offset, length, chunk_bytes, DATA)
    if allocation is None:
        data_bytes = size_bytes
    if dirty is None:
        return ChunkPlan(size_bytes, chunk_bytes, bytes(states), data_bytes)
    chosen, dirty_bytes = bytearray(count), 0
    for offset, length, flags in _gapless(dirty, size_bytes):
        if flags & FLAG_DIRTY:
            dirty_bytes += length
            _fill(chosen, offset, length, chunk_bytes, 1)
    merged = bytes(state if wanted else SKIP for state, wanted in zip(states, chosen, strict=True))
    return ChunkPlan(size_bytes, chunk_bytes, merged, min(data_bytes, dirty_bytes))


def runs(indexes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, count) of consecutive indexes; the input must be sorted."""
    first = previous = None
    for index in indexes:
        if previous is not None and index == previous + 1:
            previous = index
            continue
        if first is not None:
            yield first, previous - first + 1
        first = previous = index
    if first is not None:
        yield first, previous - first + 1


def _fill(states: bytearray, offset: int, length: int, chunk_bytes: int, value: int) -> None:
    first, last = offset // chunk_bytes, (offset + length - 1) // chunk_bytes
    states[first:last + 1] = bytes([value]) * (last + 1 - first)


def _gapless(extents: Iterable[Extent] | None, size_bytes: int) -> Iterator[Extent]:
    if extents is None:
        return
    position = 0
    for offset, length, flags in extents:
        if offset != position or length <= 0 or offset + length > size_bytes:
            raise Resumable("source_error", f"the server's map of the disk is not contiguous at {offset}")
        position += length
        yield offset, length, flags
    if position != size_bytes:
        raise Resumable("source_error", f"the server's map of the disk ends at {position} of {size_bytes} bytes")
