# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch a VMDK over HTTPS into a file, whole or not at all."""
from __future__ import annotations

import http.client
import os
import ssl
import struct
import urllib.error
import urllib.request
from collections.abc import Callable

from .errors import Resumable, TransferError

BLOCK_BYTES = 1 << 20
SECTOR_BYTES = 512
TIMEOUT_SECONDS = 60
GD_AT_END = 0xFFFFFFFFFFFFFFFF  # VMware's Virtual Disk Format 5.0: the grain directory's place stands in a footer


def download(url: str, path: str, context: ssl.SSLContext, headers: dict[str, str], progress: Callable[[int], None]) -> int:
    """Write what the URL gives to a file, by rename once all of it is on disk; returns its bytes.

    `progress` is told the bytes after every MiB. Raises Resumable when the transfer breaks, TransferError when the server refuses it.
    """
    part, done = f"{path}.part", 0
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - https, checked by the caller's context
        with urllib.request.build_opener(urllib.request.HTTPSHandler(context=context)).open(request, timeout=TIMEOUT_SECONDS) as answer, \
                open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            expected = int(answer.headers.get("Content-Length") or 0)
            while block := answer.read(BLOCK_BYTES):
                file.write(block)
                done += len(block)
                progress(done)
            file.flush()
            os.fsync(file.fileno())
    except urllib.error.HTTPError as error:
        raise TransferError("source_unavailable", f"{_plain(url)}: HTTP {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise Resumable("source_unavailable", f"{_plain(url)}: {getattr(error, 'reason', None) or error or type(error).__name__} after {done} bytes") from None
    if expected and done != expected:
        raise Resumable("source_unavailable", f"{_plain(url)}: ended after {done} of {expected} bytes")
    os.replace(part, path)
    return done


def stream_bytes(path: str) -> int:
    """Return the virtual size in bytes of a sparse or stream-optimised VMDK; raises TransferError when the file is none, or not whole."""
    with open(path, "rb") as file:
        head = file.read(SECTOR_BYTES)
        if head[:4] != b"KDMV":
            raise TransferError("unsupported", f"{path}: not a stream-optimised VMDK")
        if struct.unpack_from("<Q", head, 56)[0] == GD_AT_END:
            file.seek(-2 * SECTOR_BYTES, os.SEEK_END)
            if file.read(4) != b"KDMV":
                raise TransferError("unsupported", f"{path}: its footer is missing, the transfer was cut off")
    return struct.unpack_from("<Q", head, 12)[0] * SECTOR_BYTES


def _plain(url: str) -> str:
    """Return a URL as it may be shown: tickets of a lease stand in its query."""
    return url.partition("?")[0]
