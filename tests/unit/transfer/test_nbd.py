# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against a server that lies: whatever it sends, the answer is an error in bounded memory and time."""
from __future__ import annotations

import contextlib
import socket
import struct
import threading

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.connection import Endpoint, NbdError
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.errors import TransferError
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.nbd import ALLOCATION, Client

GREETING = b"NBDMAGIC" + struct.pack(">QH", 0x49484156454F5054, 3)
SIZE = 1 << 20


def option(number, kind, payload=b"", length=None):
    return struct.pack(">QIII", 0x3E889045565A9, number, kind, len(payload) if length is None else length) + payload



@pytest.fixture
def serve(tmp_path):
    """Serve one connection by a script: bytes are sent, a number is bytes to swallow, None swallows one whole option."""
    path, listener = str(tmp_path / "s"), socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def begin(*script):
        def run():
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                for step in script:
                    if isinstance(step, bytes):
                        connection.sendall(step)
                    else:
                        connection.recv(step or 4096)
        threading.Thread(target=run, daemon=True).start()
        return Endpoint(f"nbd+unix:///?socket={path}", timeout_seconds=0.5)

    yield begin
    listener.close()


def ready(serve, *more):
    """Return a client after a correct handshake, whose server then answers one request with `more`."""
    script = [GREETING, 4, 16, option(8, 1), 4096, option(10, 4, struct.pack(">I", 7) + ALLOCATION.encode()) + option(10, 1), 4096,
              option(7, 3, struct.pack(">HQH", 0, SIZE, 1)) + option(7, 1), 28, *more]
    return Client(serve(*script), [ALLOCATION])


def chunk(kind, payload, handle=1, flags=1, length=None):
    return struct.pack(">IHHQI", 0x668E33EF, flags, kind, handle, len(payload) if length is None else length) + payload


def data(offset, content, **more):
    return chunk(1, struct.pack(">Q", offset) + content, **more)


def hole(offset, length, **more):
    return chunk(2, struct.pack(">QI", offset, length), **more)


def read_all(client):
    return [(bytes(read.view), read.errno) for read in client.reads([(4096, 4096)], 4)]


def test_data_and_holes_in_any_order_make_one_read(serve):
    client = ready(serve, hole(6144, 2048, flags=0), data(4096, b"x" * 2048))
    assert client.size_bytes == SIZE
    assert read_all(client) == [(b"x" * 2048 + bytes(2048), 0)]


def test_a_refused_read_leaves_the_connection_in_step(serve):
    client = ready(serve, chunk(0x8001, struct.pack(">IH", 5, 3) + b"bad"), 28, data(4096, b"y" * 4096, handle=2))
    assert read_all(client)[0][1] == 5
    assert read_all(client) == [(b"y" * 4096, 0)]


@pytest.mark.parametrize("answer", [
    data(0, b"x" * 4096), data(4096, b"x" * 8192), data(8190, b"x" * 4), data((1 << 64) - 1, b"x" * 16),
    data(4096, b"x" * 100), data(4096, b"x" * 2048, flags=0) + data(4096, b"x" * 2048), hole(4096, 4097), hole(0, 4096), hole(4096, 0, flags=1),
    hole(4096, 0xFFFFFFFF), chunk(0, b""), chunk(1, b""), chunk(9, b"x" * 8), chunk(0x8001, b"x"), chunk(0x8001, b"", length=1 << 31),
    data(4096, b"x" * 4096, handle=99), struct.pack(">IIQ", 0x67446698, 0, 99), b"\0" * 64, b"", b"\x66",
    hole(4096, 1, flags=0) * 100], ids=range(21))
def test_a_lying_read_is_an_error(serve, answer):
    with pytest.raises(NbdError):
        read_all(ready(serve, answer))


@pytest.mark.parametrize("answer", [
    chunk(5, struct.pack(">III", 7, 0, 0)), chunk(5, struct.pack(">I", 7)), chunk(5, struct.pack(">III", 8, 4096, 0)), chunk(0, b""),
    chunk(5, b"", length=1 << 31), chunk(5, struct.pack(">III", 7, 4096, 0), handle=9), chunk(0x8001, struct.pack(">IH", 22, 0)), b""],
    ids=range(8))
def test_a_lying_map_is_an_error(serve, answer):
    with pytest.raises(NbdError):
        list(ready(serve, answer).extents(ALLOCATION))


def test_a_map_is_cut_at_the_end_of_the_disk(serve):
    client = ready(serve, chunk(5, struct.pack(">IIIII", 7, 4096, 0, 0xFFFFF000, 3)))
    assert list(client.extents(ALLOCATION)) == [(0, 4096, 0), (4096, SIZE - 4096, 3)]


@pytest.mark.parametrize("script", [
    [b"HTTP/1.1 400 Bad Request\r\n\r\n"], [b"NBDMAGIC" + bytes(10)], [GREETING[:-2] + b"\0\0"], [b""], [GREETING, 4, 16, option(8, 1, length=1 << 31)],
    [GREETING, 4, 16, b"\0" * 20], [GREETING, 4096, option(7, 1)], [GREETING, 4, 16, option(8, 1), 4096, option(10, 4, b"\0\0\0\1x") * 300],
    [GREETING, 4, 16, option(8, 1), 4096, option(10, 1), 4096, option(7, (1 << 31) + 6, b"no such export")],
    [GREETING, 4, 16, option(8, 1), 4096, option(10, 1), 4096, option(7, 1)]], ids=range(10))
def test_a_lying_handshake_is_an_error(serve, script):
    with pytest.raises(NbdError):
        Client(serve(*script), [ALLOCATION])


def test_a_silent_server_times_out(serve):
    endpoint = serve(GREETING, 4, 16, 1)
    with pytest.raises(NbdError, match="no answer within"):
        Client(endpoint)


def test_a_server_without_tls_is_not_spoken_to_in_plain(serve, tmp_path):
    script = [GREETING, 4, 16, option(5, (1 << 31) + 1)]
    endpoint = serve(*script)
    with pytest.raises(TransferError) as caught:
        Client(Endpoint(endpoint.uri, str(tmp_path), timeout_seconds=1))
    assert caught.value.reason == "tls_refused"


@pytest.mark.parametrize("uri", ["http://h/x", "nbd:///x", "x"])
def test_another_kind_of_address_is_refused(uri):
    with pytest.raises(TransferError, match="expected nbd://"):
        Client(Endpoint(uri))
