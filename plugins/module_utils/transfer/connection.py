# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to an NBD server: socket, TLS, newstyle handshake and option negotiation.

Protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md. The server is not trusted: every length that it
sends is bounded.
"""
from __future__ import annotations

import socket
import ssl
import struct
import time
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import Resumable, TransferError

OPTION_MAGIC, OPTION_REPLY_MAGIC = 0x49484156454F5054, 0x3E889045565A9
OPT_STARTTLS, OPT_GO, OPT_STRUCTURED_REPLY, OPT_SET_META_CONTEXT = 5, 7, 8, 10
REP_ACK, REP_INFO, REP_META_CONTEXT, REP_ERROR, REP_ERR_TLS_REQD = 1, 3, 4, 1 << 31, (1 << 31) + 5
MAX_CONTROL_BYTES = 64 * 1024           # an option reply or an error text
MAX_OPTION_REPLIES = 256


class NbdError(Resumable):
    """The server is away, broke the protocol or answered with an error; the connection is of no further use."""

    def __init__(self, message: str, reason: str = "source_unavailable") -> None:
        super().__init__(reason, message)


@dataclass(frozen=True)
class Endpoint:
    """Where an export is and how it is reached; `timeout_seconds` bounds every single wait."""

    uri: str
    tls_directory: str = ""
    tls_hostname: str = ""
    timeout_seconds: float = 20.0


def tls_context(directory: str) -> ssl.SSLContext:
    """Return a client context from ca.crt, tls.crt and tls.key in `directory`; raises TransferError if they are unusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(f"{directory}/ca.crt")
        context.load_cert_chain(f"{directory}/tls.crt", f"{directory}/tls.key")
    except OSError as error:
        raise TransferError("tls_refused", f"{directory}: expected ca.crt, tls.crt and tls.key: {error}") from None
    return context


class Connection:
    """One connection to one export; `size_bytes` and `contexts` (name to id) are what the server granted."""

    def __init__(self, endpoint: Endpoint, contexts: Iterable[str] = ()) -> None:
        self._timeout = endpoint.timeout_seconds
        self._socket = None
        url = urllib.parse.urlsplit(endpoint.uri)
        try:
            self._socket = self._connect(url)
            self._handshake(url, endpoint, list(contexts))
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError) as error:     # it died; no judgement on us
            self.close()
            raise NbdError(f"{endpoint.uri}: TLS: {error}") from None
        except ssl.SSLError as error:
            self.close()
            raise TransferError("tls_refused", f"{endpoint.uri}: TLS: {error}") from None
        except (OSError, struct.error) as error:
            self.close()
            raise NbdError(f"{endpoint.uri}: {type(error).__name__}: {error}") from None
        except TransferError:
            self.close()
            raise

    def _connect(self, url: urllib.parse.SplitResult) -> socket.socket:
        self._flags = 0
        if url.scheme == "nbd+unix":
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(self._timeout)
            path = dict(urllib.parse.parse_qsl(url.query)).get("socket", "")
            try:
                connection.connect(path)
            except OSError:
                connection.close()
                raise
        elif url.scheme == "nbd" and url.hostname:
            connection = socket.create_connection((url.hostname, url.port or 10809), timeout=self._timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            raise TransferError("unsupported", f"{url.geturl()}: expected nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH")
        return connection

    def _handshake(self, url: urllib.parse.SplitResult, endpoint: Endpoint, contexts: list[str]) -> None:
        magic, option_magic, flags = struct.unpack(">8sQH", self._receive(18))
        if magic != b"NBDMAGIC" or option_magic != OPTION_MAGIC or not flags & 1:
            raise NbdError(f"{endpoint.uri}: not a fixed newstyle NBD server")
        self._socket.sendall(struct.pack(">I", flags & 3))
        self._no_zeroes = bool(flags & 2)
        if endpoint.tls_directory:
            if self._option(OPT_STARTTLS)[-1][0] != REP_ACK:
                raise TransferError("tls_refused", f"{endpoint.uri}: the server does not offer TLS")
            self._socket = tls_context(endpoint.tls_directory).wrap_socket(
                self._socket, server_hostname=endpoint.tls_hostname or url.hostname)
        else:                                   # one blocking call per buffer; a TLS socket needs Python's own timeout
            seconds = struct.pack("ll", int(self._timeout), int(self._timeout % 1 * 1e6))
            self._socket.settimeout(None)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
            self._flags = socket.MSG_WAITALL
        export = urllib.parse.unquote(url.path.lstrip("/")).encode()
        name = struct.pack(">I", len(export)) + export
        structured = self._option(OPT_STRUCTURED_REPLY)[-1]
        if structured[0] == REP_ERR_TLS_REQD:
            raise TransferError("tls_refused", f"{endpoint.uri}: the server demands TLS")
        self.contexts = self._negotiate_contexts(name, contexts) if contexts and structured[0] == REP_ACK else {}
        self.size_bytes = -1
        for kind, payload in self._option(OPT_GO, name + struct.pack(">H", 0)):
            if kind & REP_ERROR:
                raise NbdError(f"{endpoint.uri}: export refused: {payload[:200].decode(errors='replace') or hex(kind)}")
            if kind == REP_INFO and payload[:2] == b"\0\0" and len(payload) >= 12:
                self.size_bytes = struct.unpack(">Q", payload[2:10])[0]
        if self.size_bytes < 0:
            raise NbdError(f"{endpoint.uri}: the server did not tell the size")

    def _negotiate_contexts(self, name: bytes, wanted: list[str]) -> dict[str, int]:
        data = name + struct.pack(">I", len(wanted)) + b"".join(struct.pack(">I", len(c.encode())) + c.encode() for c in wanted)
        return {payload[4:].decode(errors="replace"): struct.unpack(">I", payload[:4])[0]
                for kind, payload in self._option(OPT_SET_META_CONTEXT, data) if kind == REP_META_CONTEXT and len(payload) > 4}

    def _option(self, option: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        self._socket.sendall(struct.pack(">QII", OPTION_MAGIC, option, len(data)) + data)
        replies = []
        while len(replies) < MAX_OPTION_REPLIES:
            magic, echoed, kind, length = struct.unpack(">QIII", self._receive(20))
            if magic != OPTION_REPLY_MAGIC or echoed != option or length > MAX_CONTROL_BYTES:
                raise NbdError("malformed option reply")
            replies.append((kind, self._receive(length)))
            if kind == REP_ACK or kind & REP_ERROR:
                return replies
        raise NbdError(f"more than {MAX_OPTION_REPLIES} replies to one option")

    def _receive(self, length: int) -> bytes:
        buffer = bytearray(length)
        self._fill(memoryview(buffer))
        return bytes(buffer)

    def _fill(self, view: memoryview) -> None:
        deadline = time.monotonic() + self._timeout
        while view:
            try:
                received = self._socket.recv_into(view, len(view), self._flags)
            except (BlockingIOError, TimeoutError):
                raise NbdError(f"no answer within {self._timeout:g} s") from None
            if not received:
                raise NbdError("the server closed the connection")
            view = view[received:]
            if view and time.monotonic() > deadline:
                raise NbdError(f"no complete answer within {self._timeout:g} s")

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
