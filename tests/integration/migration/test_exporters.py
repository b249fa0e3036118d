# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporters of a final copy: nothing of them outlives its supervisor, what an earlier run left is ended, what is not ours stays."""
from __future__ import annotations

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.hypervisor import Host
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer import exporter
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.connection import Endpoint, NbdError
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.exporter import Export
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.nbd import ALLOCATION, Client

pytestmark = pytest.mark.skipif(not shutil.which("qemu-nbd"), reason="qemu-nbd is missing")


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def export(folder, port, generation, name="disk"):
    file = folder / f"{name}.raw"
    file.write_bytes(bytes(1 << 20))
    return Export(str(file), "raw", f"{generation}-vda", "127.0.0.1", port)


def until(ready, seconds=10):
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def processes(one):
    """Pids of qemu-nbd with this export, and of the shells that supervise it."""
    found = {"qemu-nbd": [], "sh": []}
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if {b"qemu-nbd", one.image.encode(), f"--port={one.port}".encode()} <= set(words) and words[0] in (b"qemu-nbd", b"sh"):
            found[words[0].decode()].append(int(path.parent.name))
    return found


def offered(one):
    """Whether this very export is offered at its port."""
    try:
        Client(Endpoint(f"nbd://127.0.0.1:{one.port}/{one.name}", "", "", 5.0), [ALLOCATION]).close()
    except NbdError:
        return False
    return True


def test_a_killed_supervisor_takes_its_exporter_along_and_is_started_again(tmp_path, port):
    one = export(tmp_path, port, "g0")
    with Host("").exporters([one]) as served:
        until(lambda: offered(one))
        before = processes(one)
        for pid in before["sh"]:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not set(processes(one)["qemu-nbd"]) & set(before["qemu-nbd"]))
        served()
        until(lambda: offered(one))
        served()
    assert processes(one) == {"qemu-nbd": [], "sh": []}


def test_a_killed_exporter_comes_back(tmp_path, port):
    one = export(tmp_path, port, "g0")
    with Host("").exporters([one]) as served:
        until(lambda: offered(one))
        (pid,) = processes(one)["qemu-nbd"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: processes(one)["qemu-nbd"] not in ([], [pid]) and offered(one))
        served()


def test_an_orphan_that_serves_an_earlier_moment_is_ended_first(tmp_path, port):
    """As a run leaves it that was killed where the system ends no child with its parent."""
    old, new = export(tmp_path, port, "g0"), export(tmp_path, port, "g1")
    orphan = subprocess.Popen(exporter.command(old))
    try:
        until(lambda: offered(old))
        assert not offered(new), "a mover never talks to another generation"
        with Host("").exporters([new]) as served:
            assert orphan.wait(timeout=10) == -signal.SIGKILL
            until(lambda: offered(new))
            served()
            assert not offered(old)
    finally:
        orphan.kill()
        orphan.wait()


def test_a_port_that_another_program_has_is_told(tmp_path, port):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        with Host("").exporters([export(tmp_path, port, "g0")]) as served, pytest.raises(
                MigrationError, match=f"localhost: port {port} is taken by another program; end it, or choose another exporter_port"):
            until(lambda: served() and False, 20)


def test_the_export_of_another_disk_is_named_and_left_alone(tmp_path, port):
    other = export(tmp_path, port, "g0", "other")
    process = subprocess.Popen(exporter.command(other))
    try:
        until(lambda: offered(other))
        with Host("").exporters([export(tmp_path, port, "g0")]) as served, pytest.raises(
                MigrationError, match=f"is taken by process {process.pid}, which exports {other.image}; end it"):
            until(lambda: served() and False, 20)
        assert offered(other)
    finally:
        process.kill()
        process.wait()
