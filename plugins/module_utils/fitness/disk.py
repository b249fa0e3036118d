# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A window on a disk that nobody vouches for: every read is checked against its end, and all of them against one allowance."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from .errors import FitnessError

MIB = 1 << 20
READ_ALLOWANCE_BYTES = 512 * MIB  # for one look at one guest
MAX_READ_BYTES = 16 * MIB         # at once
LOOK_SECONDS = 10.0               # only a limit: what is there usually takes less than one


class Allowance:
    """How many bytes may still be read, and for how long: a guest is started without an answer rather than late."""

    def __init__(self, left_bytes: int = READ_ALLOWANCE_BYTES, seconds: float = LOOK_SECONDS) -> None:
        self._left, self._until = left_bytes, time.monotonic() + seconds

    def take(self, count: int) -> None:
        """Raise FitnessError when that many are too many, or when it's too late."""
        self._left -= count
        if self._left < 0:
            raise FitnessError("more of the disk had to be read than a look is worth")
        if time.monotonic() > self._until:
            raise FitnessError("a look at the disk took longer than it is worth")


class Window:
    """Bytes `start` to `start + size` of a disk."""

    def __init__(self, read: Callable[[int, int], bytes], size_bytes: int, start: int = 0, allowance: Allowance | None = None) -> None:
        self._read, self.size_bytes, self._start = read, size_bytes, start
        self.allowance = allowance or Allowance()

    def part(self, start: int, size_bytes: int) -> Window:
        """The window on a partition; one that reaches beyond the end of this window ends there."""
        if not 0 <= start < self.size_bytes:
            raise FitnessError(f"a partition starts at {start}, the disk has {self.size_bytes} bytes")
        return Window(self._read, min(size_bytes, self.size_bytes - start), self._start + start, self.allowance)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; raises FitnessError."""
        if not (0 <= length <= MAX_READ_BYTES and offset >= 0 and offset + length <= self.size_bytes):
            raise FitnessError(f"a structure points to {length} bytes at {offset}, its file system or disk has {self.size_bytes}")
        self.allowance.take(length)
        found = self._read(self._start + offset, length)
        if len(found) != length:
            raise FitnessError(f"the disk ends at {self._start + offset + len(found)}, expected more")
        return found

    def peek(self, offset: int, length: int) -> bytes:
        """As many of `length` bytes from `offset` as there are."""
        return self.read(offset, max(0, min(length, self.size_bytes - offset))) if offset < self.size_bytes else b""

    def pieces(self, runs: Iterable[tuple[int, int, int]], block_bytes: int, size_bytes: int) -> Iterator[bytes]:
        """A file in pieces of at most 1 MiB from its runs (first block in the file, first block here, blocks), which come in order."""
        position, step = 0, max(1, MIB // block_bytes)
        for logical, physical, count in runs:
            start = logical * block_bytes
            if start < position:
                raise FitnessError("a file maps a block twice")
            yield from _zeroes(min(start, size_bytes) - position)
            position = min(start, size_bytes)
            for done in range(0, count, step):
                length = min(min(step, count - done) * block_bytes, size_bytes - position)
                if length <= 0:
                    return
                yield self.read((physical + done) * block_bytes, length)
                position += length
        yield from _zeroes(size_bytes - position)


def _zeroes(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, MIB))
        count -= MIB
