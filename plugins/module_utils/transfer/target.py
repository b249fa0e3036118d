# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk that is written: a file or a block device, as large as the source says, sparse where the source is."""
from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct

from .errors import TransferError

BLKZEROOUT, BLKDISCARD_ALIGNMENT = 0x127F, 512
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2
DISK_FILE = "disk.img"                  # KubeVirt's name of a disk in a file system volume
ZEROES = bytes(1 << 20)


class Target:
    """An open target; `is_block` tells a device, `is_blank` that all of it reads as zeroes before the copy."""

    def __init__(self, path: str, size_bytes: int, writable: bool = True) -> None:
        self.path = os.path.join(path, DISK_FILE) if os.path.isdir(path) else path
        self.size_bytes = size_bytes
        try:
            self.is_block = os.path.exists(self.path) and stat.S_ISBLK(os.stat(self.path).st_mode)
            flags = (os.O_RDWR | (0 if self.is_block else os.O_CREAT)) if writable else os.O_RDONLY
            self.fd = os.open(self.path, flags | os.O_CLOEXEC, 0o660)
            self.current_bytes = os.lseek(self.fd, 0, os.SEEK_END)
        except OSError as error:
            raise TransferError("target_error", f"{self.path}: {error.strerror}") from None
        self._direct = _open_direct(self.path, writable)
        self.is_blank = not self.is_block and os.fstat(self.fd).st_blocks == 0

    def prepare(self, needed_bytes: int) -> None:
        """Give a file its exact size and mode 0660, check that a device is large enough and that `needed_bytes` fit."""
        if self.is_block:
            if self.current_bytes < self.size_bytes:
                raise TransferError(
                    "target_too_small", f"{self.path} has {self.current_bytes} bytes, the source {self.size_bytes}")
            return
        with self._errors():
            if self.current_bytes != self.size_bytes:
                os.ftruncate(self.fd, self.size_bytes)
            if stat.S_IMODE(os.fstat(self.fd).st_mode) != 0o660:
                os.fchmod(self.fd, 0o660)       # KubeVirt's QEMU opens it as group 107; the umask took the group's bits
            system, allocated = os.fstatvfs(self.fd), os.fstat(self.fd).st_blocks * 512
        free = system.f_bavail * system.f_frsize
        if needed_bytes - allocated > free:
            raise TransferError(
                "no_space", f"{self.path}: {needed_bytes - allocated} bytes more are needed, {free} are free")

    def write(self, offset: int, view: memoryview, pieces: list[tuple[int, int]]) -> int:
        """Write the given (start, length) pieces of `view`; returns the bytes written."""
        written = 0
        with self._errors():
            for start, length in pieces:
                end = start + length
                while start < end:
                    step = os.pwrite(self._fd_for(start | (offset + start) | end), view[start:end], offset + start)
                    start, written = start + step, written + step
        return written

    def _fd_for(self, alignment: int) -> int:
        """Direct I/O saves the copy through the page cache, where offset, length and memory are aligned to pages."""
        return self.fd if self._direct < 0 or alignment % mmap.PAGESIZE else self._direct

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeroes and free its space where the storage can."""
        if self.is_block and not offset % BLKDISCARD_ALIGNMENT and not length % BLKDISCARD_ALIGNMENT:
            try:
                fcntl.ioctl(self.fd, BLKZEROOUT, struct.pack("QQ", offset, length))
                return
            except OSError:
                pass                            # the driver cannot: written out below
        elif not self.is_block and _punch(self.fd, offset, length):
            return
        with self._errors():
            while length:
                step = os.pwrite(self.fd, memoryview(ZEROES)[:length], offset)
                offset, length = offset + step, length - step

    def sync(self) -> None:
        """Make everything written durable."""
        with self._errors():
            os.fdatasync(self.fd)

    def forget_cache(self) -> None:
        """Drop clean pages, so that the next read comes from the storage and not from what was just written."""
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill `view`, which starts at a page, from `offset`."""
        position = 0
        with self._errors():
            while position < len(view):
                fd = self._fd_for(position | (offset + position) | len(view))
                count = os.preadv(fd, [view[position:]], offset + position)
                if not count:
                    raise TransferError("target_too_small", f"{self.path} ends at {offset + position}, the disk has {self.size_bytes} bytes")
                position += count

    def read(self, offset: int, length: int) -> bytes:
        """As much of a range as there is."""
        found = b""
        with self._errors():
            while len(found) < length and (piece := os.pread(self.fd, length - len(found), offset + len(found))):
                found += piece
        return found

    def is_hole(self, offset: int, length: int) -> bool:
        """Tell whether the file system says that nothing is stored in a range (which then reads as zeroes)."""
        if self.is_block:
            return False
        try:
            return os.lseek(self.fd, offset, os.SEEK_DATA) >= offset + length
        except OSError as error:
            return error.errno == errno.ENXIO   # no data up to the end

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)
        if self._direct >= 0:
            os.close(self._direct)

    def _errors(self) -> _Errors:
        return _Errors(self.path)


class _Errors:
    """Turns an OSError of the target into a TransferError that names it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind, error, _trace) -> None:
        if isinstance(error, OSError):
            reason = "no_space" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "target_error"
            raise TransferError(reason, f"{self._path}: {error.strerror}") from None


def _open_direct(path: str, writable: bool) -> int:
    try:
        return os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return -1                               # tmpfs and others have no direct I/O


def _punch(fd: int, offset: int, length: int) -> bool:
    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return call(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) == 0
