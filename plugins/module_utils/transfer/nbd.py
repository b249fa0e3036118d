# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NBD client: pipelined reads and maps of a disk.

Protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md. The server is not trusted: every length that it
sends is bounded by what was asked for, and every byte of a read must arrive exactly once.
"""
from __future__ import annotations

import contextlib
import itertools
import mmap
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .connection import MAX_CONTROL_BYTES, Connection, Endpoint, NbdError

REQUEST_MAGIC, SIMPLE_MAGIC, STRUCTURED_MAGIC = 0x25609513, 0x67446698, 0x668E33EF
CMD_READ, CMD_DISC, CMD_BLOCK_STATUS = 0, 2, 7
CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS, CHUNK_ERROR = 0, 1, 2, 5, 1 << 15
ALLOCATION = "base:allocation"
DIRTY_BITMAP = "qemu:dirty-bitmap:"
MAX_STATUS_BYTES = 16 * 1024 * 1024     # a block status reply
MAX_READ_BYTES = 32 * 1024 * 1024       # what every server accepts at least

EMPTY = memoryview(b"")


@dataclass(slots=True)
class Read:
    """One finished read: `view` holds the bytes, `data` and `holes` the (start, length) pieces sent and those known to be zero."""

    offset: int
    length: int
    view: memoryview = EMPTY
    data: list[tuple[int, int]] = field(default_factory=list)
    holes: list[tuple[int, int]] = field(default_factory=list)
    errno: int = 0


class Client(Connection):
    """Reads from one export over one connection."""

    def __init__(self, endpoint: Endpoint, contexts: Iterable[str] = ()) -> None:
        self._handles = itertools.count(1)
        self._buffers: list[mmap.mmap] = []
        super().__init__(endpoint, contexts)

    def _request(self, command: int, offset: int, length: int) -> int:
        handle = next(self._handles)
        self._socket.sendall(struct.pack(">IHHQQI", REQUEST_MAGIC, 0, command, handle, offset, length))
        return handle

    def reads(self, requests: Iterable[tuple[int, int]], depth: int) -> Iterator[Read]:
        """Yield a Read per (offset, length), in any order, keeping `depth` in flight; its view is valid until the next."""
        source, pending = iter(requests), {}
        try:
            while True:
                while len(pending) < depth:
                    offset, length = next(source, (0, 0))
                    if not length:
                        break
                    pending[self._request(CMD_READ, offset, length)] = Read(offset, length)
                if not pending:
                    return
                read = self._next_read(pending)
                yield read
                self._buffers.append(read.view.obj)
        except OSError as error:
            raise NbdError(f"read: {type(error).__name__}: {error}") from None

    def _buffer(self, read: Read) -> None:
        """Give a read its memory when its first bytes come: the last one used, which is still in the processor's cache; page aligned."""
        if not read.view:
            while self._buffers and len(self._buffers[-1]) < read.length:
                self._buffers.pop()
            read.view = memoryview(self._buffers.pop() if self._buffers else mmap.mmap(-1, read.length))[:read.length]

    def _next_read(self, pending: dict[int, Read]) -> Read:
        while True:
            magic, handle, kind, flags, length = self._reply_header()
            read = pending.get(handle)
            if read is None:
                raise NbdError("reply to a request that was not made")
            self._buffer(read)
            if magic == SIMPLE_MAGIC:
                read.errno = kind
                if not kind:
                    self._fill(read.view)
                    read.data.append((0, read.length))
                return pending.pop(handle)
            self._read_chunk(read, kind, length)
            if flags & 1:
                _check_complete(read)
                return pending.pop(handle)

    def _read_chunk(self, read: Read, kind: int, length: int) -> None:
        if kind == CHUNK_DATA and length > 8:
            start = struct.unpack(">Q", self._receive(8))[0] - read.offset
            _check_inside(read, start, length - 8, read.data)
            self._fill(read.view[start:start + length - 8])
        elif kind == CHUNK_HOLE and length == 12:
            position, size = struct.unpack(">QI", self._receive(12))
            start = position - read.offset
            _check_inside(read, start, size, read.holes)
            read.view[start:start + size] = bytes(size)
        elif kind & CHUNK_ERROR:
            read.errno = self._error(length)[0]
        elif kind != CHUNK_NONE or length:
            raise NbdError(f"unexpected reply of type {kind} to a read")

    def _error(self, length: int) -> tuple[int, str]:
        if not 6 <= length <= MAX_CONTROL_BYTES:
            raise NbdError("malformed error reply")
        payload = self._receive(length)
        return struct.unpack(">I", payload[:4])[0] or 5, payload[6:206].decode(errors="replace")

    def _reply_header(self) -> tuple[int, int, int, int, int]:
        """Return magic, handle, kind (the error of a simple reply), flags, length."""
        head = self._receive(16)
        magic = struct.unpack(">I", head[:4])[0]
        if magic == SIMPLE_MAGIC:
            error, handle = struct.unpack(">IQ", head[4:])
            return magic, handle, error, 1, 0
        if magic != STRUCTURED_MAGIC:
            raise NbdError("malformed reply")
        flags, kind, handle, length = struct.unpack(">HHQI", head[4:] + self._receive(4))
        return magic, handle, kind, flags, length

    def extents(self, context: str) -> Iterator[tuple[int, int, int]]:
        """Yield (offset, length, flags) over the whole disk for one granted context."""
        offset = 0
        try:
            while offset < self.size_bytes:
                length = min(1 << 30, self.size_bytes - offset)
                for size, flags in self._block_status(self.contexts[context], offset, length):
                    size = min(size, self.size_bytes - offset)
                    yield offset, size, flags
                    offset += size
        except OSError as error:
            raise NbdError(f"block status: {type(error).__name__}: {error}") from None

    def _block_status(self, context_id: int, offset: int, length: int) -> list[tuple[int, int]]:
        wanted, extents, failure = self._request(CMD_BLOCK_STATUS, offset, length), [], ""
        while True:
            magic, handle, kind, flags, size = self._reply_header()
            if handle != wanted or size > MAX_STATUS_BYTES:
                raise NbdError("malformed block status reply")
            if magic == SIMPLE_MAGIC:
                failure = f"errno {kind}"
            elif kind == CHUNK_STATUS and size >= 12 and size % 8 == 4:
                payload = self._receive(size)
                if struct.unpack(">I", payload[:4])[0] == context_id:
                    extents = list(struct.iter_unpack(">II", payload[4:]))
            elif kind & CHUNK_ERROR:
                failure = "errno {} {}".format(*self._error(size))
            elif kind != CHUNK_NONE or size:
                raise NbdError(f"unexpected reply of type {kind} to block status")
            if flags & 1:
                break
        if failure or not extents or not all(size for size, _flags in extents):
            raise NbdError(f"block status at {offset}: {failure or 'empty extent'}", "source_error")
        return extents

    def close(self) -> None:
        """Say goodbye if the server still listens, and close."""
        if self._socket is not None:
            with contextlib.suppress(OSError, ValueError):     # it may be gone already, which is what is wanted
                self._socket.sendall(struct.pack(">IHHQQI", REQUEST_MAGIC, 0, CMD_DISC, 0, 0, 0))
        super().close()


def _check_inside(read: Read, start: int, length: int, pieces: list[tuple[int, int]]) -> None:
    if start < 0 or length <= 0 or start + length > read.length or len(read.data) + len(read.holes) > read.length // 512 + 1:
        raise NbdError("the server sent bytes outside of the request")
    pieces.append((start, length))


def _check_complete(read: Read) -> None:
    position = 0
    for start, length in sorted(read.data + read.holes):
        if start != position:
            break
        position += length
    if position != read.length and not read.errno:
        raise NbdError("the server left out or repeated a part of the data")
