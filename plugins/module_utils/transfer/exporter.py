# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve one stopped disk read-only over NBD: one qemu-nbd per disk, restarted when it dies, stopped when it is told to."""
from __future__ import annotations

import ctypes
import functools
import ipaddress
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .errors import Resumable, TransferError

FORMATS = ("raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc")
CLI = "ansible_collections.tandem.hybrid.plugins.module_utils.transfer.cli"
PR_SET_PDEATHSIG = 1
RESTART_SECONDS = 0.2
EARLY_DEATHS = 5                        # this many exits, each within a second of the start, mean that it can not work


@dataclass(frozen=True)
class Export:
    """A disk and how it is reached: a unix socket, or an address and port (mutual TLS, unless it is a loopback address).

    `member` names a disk inside the tar file `image` (an OVA), which is not unpacked. `client_name` is the common name that
    the mover's certificate must have.
    """

    image: str
    format: str
    name: str
    bind: str = ""
    port: int = 0
    socket: str = ""
    tls_directory: str = ""
    client_name: str = "mover"
    bitmap: str = ""
    member: str = ""
    connections: int = 16


def command(export: Export) -> list[str]:
    """Return qemu-nbd's command line; raises TransferError for an export that must not or can not be served."""
    if export.format not in FORMATS:
        raise TransferError("unsupported", f"{export.image}: format {export.format!r}; expected one of {', '.join(FORMATS)}")
    line = ["qemu-nbd", "--read-only", "--persistent", f"--shared={export.connections}", f"--export-name={export.name}"]
    if export.socket:
        line.append(f"--socket={export.socket}")
    else:
        if not export.tls_directory and not ipaddress.ip_address(export.bind).is_loopback:
            raise TransferError("tls_refused", f"{export.image}: bound to {export.bind} it needs TLS, else anyone could read the disk")
        line += [f"--bind={export.bind}", f"--port={export.port}"]
    if export.tls_directory:
        line += ["--object", f"tls-creds-x509,id=tls,endpoint=server,dir={export.tls_directory},verify-peer=yes",
                 "--object", f"authz-simple,id=client,identity=CN={export.client_name}", "--tls-creds=tls", "--tls-authz=client"]
    if export.bitmap:
        line.append(f"--bitmap={export.bitmap}")
    return line + _image(export)


def tar_member(path: str, name: str) -> tuple[int, int]:
    """Return offset and size of a member of an uncompressed tar file."""
    try:
        with tarfile.open(path, "r:") as archive:
            member = archive.getmember(name)
    except (OSError, tarfile.TarError, KeyError) as error:
        raise TransferError("unsupported", f"{path}: no member {name!r} in an uncompressed tar file: {error}") from None
    return member.offset_data, member.size


def _image(export: Export) -> list[str]:
    if not export.member:
        return [f"--format={export.format}", export.image]
    offset, size = tar_member(export.image, export.member)
    window = {"driver": "raw", "offset": offset, "size": size, "file": {"driver": "file", "filename": os.path.abspath(export.image)}}
    return ["json:" + json.dumps({"driver": export.format, "file": window})]


def supervise(export: Export, stopped: threading.Event, ready_seconds: float, say: Callable[..., None]) -> None:
    """Keep the export served until `stopped` is set; raises TransferError when it can not be started."""
    line, early, restarts = command(export), 0, 0
    while not stopped.is_set():
        if export.socket:
            pathlib.Path(export.socket).unlink(missing_ok=True)
        started = time.monotonic()
        try:
            process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                       preexec_fn=functools.partial(_die_with, os.getpid()))
        except OSError as error:
            raise TransferError("unsupported", f"qemu-nbd: {error.strerror}: install qemu-utils") from None
        errors = _Tail(process.stderr)
        if _wait_ready(export, process, ready_seconds, stopped):
            say("ready", name=export.name, pid=process.pid, restarts=restarts)
        while process.poll() is None and not stopped.wait(0.05):
            pass
        if stopped.is_set():
            _end(process)
            return
        early = early + 1 if time.monotonic() - started < 1 else 0
        if early >= EARLY_DEATHS:
            raise TransferError("unsupported", f"{export.image}: qemu-nbd does not stay up: {errors.text()}")
        restarts += 1
        say("restart", name=export.name, code=process.returncode, message=errors.text())
        stopped.wait(RESTART_SECONDS)


def start(export: Export, pid_file: str, log_file: str, ready_seconds: float = 10.0) -> int:
    """Start a supervisor of its own for the export, wait until it serves, return its pid; raises TransferError with its last words."""
    command(export)
    options = {"image": export.image, "format": export.format, "name": export.name, "bind": export.bind, "port": export.port,
               "socket": export.socket, "tls": export.tls_directory, "client-cn": export.client_name, "bitmap": export.bitmap,
               "member": export.member, "pid-file": pid_file, "ready-seconds": ready_seconds}
    line = [sys.executable, "-m", CLI, "export"] + [f"--{key}={value}" for key, value in options.items() if value]
    roots = os.pathsep.join([str(pathlib.Path(__file__).absolute().parents[6]), *filter(None, sys.path)])
    with open(log_file, "wb") as log:
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                                   env={**os.environ, "PYTHONPATH": roots})
    deadline = time.monotonic() + ready_seconds
    while time.monotonic() < deadline and process.poll() is None:
        if '"ready"' in pathlib.Path(log_file).read_text(errors="replace"):
            return process.pid
        time.sleep(0.05)
    process.terminate()
    process.wait()
    last = pathlib.Path(log_file).read_text(errors="replace").strip().splitlines()[-1:]
    raise Resumable("source_unavailable", f"{export.image}: the exporter did not come up: {''.join(last)[-500:]}")


def stop(pid_file: str, wait_seconds: float = 10.0) -> bool:
    """Stop the supervisor that wrote `pid_file` and its qemu-nbd; returns whether there was one. Another process is never touched."""
    try:
        pid = int(pathlib.Path(pid_file).read_text())
        ours = CLI.encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        ours = False
    if ours:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + wait_seconds
        while _alive(pid):
            if time.monotonic() > deadline:
                raise Resumable("source_unavailable", f"the exporter {pid} did not stop within {wait_seconds:g} s")
            time.sleep(0.05)
    pathlib.Path(pid_file).unlink(missing_ok=True)
    return ours


def _alive(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)     # else a killed supervisor would leave the port taken
    if os.getppid() != parent:                                    # it was killed before this took effect
        os.kill(os.getpid(), signal.SIGKILL)


def _wait_ready(export: Export, process: subprocess.Popen, seconds: float, stopped: threading.Event) -> bool:
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline and not stopped.wait(0.02):
        if _greets(export):
            return True
    return False


def _greets(export: Export) -> bool:
    """Tell whether a server answers; qemu-nbd listens before it has opened the image, but greets only afterwards."""
    try:
        with socket.socket(socket.AF_UNIX if export.socket else socket.AF_INET6 if ":" in export.bind else socket.AF_INET) as probe:
            probe.settimeout(1)
            probe.connect(export.socket or (export.bind, export.port))
            return probe.recv(8) == b"NBDMAGIC"
    except OSError:
        return False


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class _Tail:
    """Keeps the last words of a process without letting its pipe fill."""

    def __init__(self, stream) -> None:
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream) -> None:
        for line in stream:
            self._lines = [*self._lines[-4:], line.strip()[:300]]

    def text(self) -> str:
        self._thread.join(1)
        return "; ".join(self._lines)
