# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes in pieces, and what is compressed in them, unpacked in pieces of bounded size."""
from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator

from .errors import FitnessError

PIECE_BYTES = 1 << 20
_MEMORY_BYTES = 64 << 20  # of a decompressor's window; a kernel's decompressor has no more either
_LZ4_BLOCK_BYTES = 8 << 20


class Stream:
    """Pieces of bytes as one stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._buffer, self._at = (piece for piece in pieces if piece), b"", 0

    def some(self) -> bytes:
        """The next bytes, as many as are at hand; none at the end."""
        if self._at < len(self._buffer):
            found, self._buffer, self._at = self._buffer[self._at:], b"", 0
            return found
        return next(self._pieces, b"")

    def give_back(self, data: bytes) -> None:
        """Put bytes back that were too many."""
        self._buffer, self._at = data + self._buffer[self._at:], 0

    def peek(self, count: int) -> bytes:
        """The next bytes without taking them; fewer at the end."""
        have = len(self._buffer) - self._at
        if have < count:
            parts = [self._buffer[self._at:]]
            while have < count and (piece := next(self._pieces, b"")):
                parts.append(piece)
                have += len(piece)
            self._buffer, self._at = b"".join(parts), 0
        return self._buffer[self._at:self._at + count]

    def read(self, count: int) -> bytes:
        """Exactly that many bytes; raises FitnessError at the end."""
        found = self.peek(count)
        if len(found) < count:
            raise FitnessError("it ends too early")
        self._at += count
        return found

    def skip(self, count: int) -> None:
        """Take that many bytes and forget them; raises FitnessError at the end."""
        while count > len(self._buffer) - self._at:
            count -= len(self._buffer) - self._at
            self._buffer, self._at = next(self._pieces, b""), 0
            if not self._buffer:
                raise FitnessError("it ends too early")
        self._at += count

    def skip_zeroes(self) -> None:
        """Take all zeroes that come next."""
        while piece := self.some():
            rest = piece.lstrip(b"\0")
            if rest:
                self.give_back(rest)
                return


def unpacked(stream: Stream) -> Stream | None:
    """The stream that begins here in compressed form, None when nothing known begins here. What follows it can be read afterwards."""
    head = stream.peek(6)
    for magic, unpack in _FORMATS:
        if head.startswith(magic):
            return Stream(unpack(stream))
    return None


def _gzip(stream: Stream) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(31)
    while not unpacker.eof:
        data = unpacker.unconsumed_tail or _more(stream)
        yield _guarded(unpacker.decompress, data, PIECE_BYTES)
    stream.give_back(unpacker.unused_data)


def _pulling(make: Callable) -> Callable[[Stream], Iterator[bytes]]:
    """For the decompressors of lzma and bz2, which keep what they did not use yet."""
    def unpack(stream: Stream) -> Iterator[bytes]:
        unpacker = make()
        while not unpacker.eof:
            data = _more(stream) if unpacker.needs_input else b""
            yield _guarded(unpacker.decompress, data, PIECE_BYTES)
        stream.give_back(unpacker.unused_data)
    return unpack


def _zstd(stream: Stream) -> Iterator[bytes]:
    library = _library("zstandard", "zstd")

    class Source:
        def read(self, _count: int) -> bytes:
            return stream.some()

    reader = library.ZstdDecompressor(max_window_size=_MEMORY_BYTES).stream_reader(Source(), read_across_frames=False)
    while piece := _guarded(reader.read, PIECE_BYTES, errors=(library.ZstdError,)):
        yield piece


def _lz4(stream: Stream) -> Iterator[bytes]:
    """The legacy format, the only one that Linux reads: blocks of 8 MiB, each after its length."""
    library = _library("lz4.block", "lz4")
    magic = stream.read(4)
    while len(head := stream.peek(4)) == 4:
        size = int.from_bytes(head, "little")
        if head == magic or not size:
            break
        if size > _LZ4_BLOCK_BYTES + _LZ4_BLOCK_BYTES // 255 + 16:
            raise FitnessError("its lz4 blocks make no sense")
        stream.skip(4)
        yield _guarded(library.decompress, stream.read(size), _LZ4_BLOCK_BYTES, errors=(library.LZ4BlockError,))


def _more(stream: Stream) -> bytes:
    data = stream.some()
    if not data:
        raise FitnessError("it ends too early")
    return data


def _guarded(unpack: Callable[..., bytes], *arguments, errors: tuple[type[Exception], ...] = ()) -> bytes:
    try:
        return unpack(*arguments)
    except (zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, MemoryError, *errors) as error:
        raise FitnessError(f"it can't be unpacked: {error}") from None


def _library(name: str, kind: str):
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise FitnessError(f"it is packed with {kind}, and the mover lacks the Python library {package} (Debian's python3-{package})") from None


_FORMATS = ((b"\x1f\x8b", _gzip), (b"\xfd7zXZ\0", _pulling(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _MEMORY_BYTES))),
            (b"BZh", _pulling(bz2.BZ2Decompressor)), (b"\x5d\0\0", _pulling(lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, _MEMORY_BYTES))),
            (b"\x28\xb5\x2f\xfd", _zstd), (b"\x02\x21\x4c\x18", _lz4))
