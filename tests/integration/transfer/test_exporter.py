# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The supervised exporter: formats, mutual TLS, restart, OVA members."""
from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import tarfile
import time

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer import exporter, pki
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.errors import TransferError
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.exporter import Export
from nbd_source import holds, needs_qemu, raw_bytes

pytestmark = needs_qemu


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def serve(tmp_path):
    """Start an Export; everything is stopped at the end."""
    files = []

    def begin(export: Export) -> str:
        files.append(str(tmp_path / f"{len(files)}.pid"))
        exporter.start(export, files[-1], str(tmp_path / "exporter.log"))
        return files[-1]

    yield begin
    for file in files:
        exporter.stop(file)


def children(pid_file: str) -> list[int]:
    pid = int(pathlib.Path(pid_file).read_text())
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("kind", ["raw", "qcow2", "vmdk", "vdi", "vhdx"])
def test_every_format_gives_the_same_root(mover, image, serve, tmp_path, kind):
    source = tmp_path / f"disk.{kind}"
    subprocess.run(["qemu-img", "convert", "-O", kind, str(image), str(source)], check=True)
    serve(Export(str(source), kind, "vda", socket=str(tmp_path / "source.sock")))
    assert mover.copy("g0", "--verify", "--verify-source")["rc"] == 0
    content = raw_bytes(image)
    assert mover.target.read_bytes()[:len(content)] == content


def test_disk_inside_an_ova_is_read_without_unpacking(mover, image, serve, tmp_path):
    subprocess.run(["qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", str(image), str(tmp_path / "crm-disk1.vmdk")],
                   check=True)
    (tmp_path / "crm.ovf").write_text("<Envelope/>")
    with tarfile.open(tmp_path / "crm.ova", "w", format=tarfile.USTAR_FORMAT) as ova:
        for name in ("crm.ovf", "crm-disk1.vmdk"):
            ova.add(tmp_path / name, name)
    (tmp_path / "crm-disk1.vmdk").unlink()
    serve(Export(str(tmp_path / "crm.ova"), "vmdk", "vda", socket=str(tmp_path / "source.sock"), member="crm-disk1.vmdk"))
    assert mover.copy("g0", "--verify-source")["rc"] == 0
    content = raw_bytes(image)
    assert mover.target.read_bytes()[:len(content)] == content
    with pytest.raises(TransferError, match="no member"):
        exporter.command(Export(str(tmp_path / "crm.ova"), "vmdk", "vda", socket="s", member="other.vmdk"))


def test_it_comes_back_after_kill_9_and_goes_away_when_told(image, serve, tmp_path, mover):
    pid_file = serve(Export(str(image), "qcow2", "vda", socket=str(tmp_path / "source.sock")))
    first, = children(pid_file)
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while children(pid_file) in ([], [first]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second, = children(pid_file)
    assert mover.copy("g0", "--wait-seconds", "5")["rc"] == 0
    assert exporter.stop(pid_file)
    assert not os.path.exists(f"/proc/{second}")
    assert not exporter.stop(pid_file), "stopping again finds nothing"


def test_a_killed_supervisor_leaves_its_port_to_the_next(image, serve):
    export = Export(str(image), "qcow2", "vda", bind="127.0.0.1", port=free_port())
    pid_file = serve(export)
    child, = children(pid_file)
    os.kill(int(pathlib.Path(pid_file).read_text()), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{child}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    serve(export)


def test_stop_never_touches_a_process_that_is_not_ours(tmp_path):
    (tmp_path / "pid").write_text(str(os.getpid()))
    assert not exporter.stop(str(tmp_path / "pid"))


def test_an_image_that_can_not_be_opened_is_told(tmp_path):
    with pytest.raises(TransferError, match=r"none\.qcow2"):
        exporter.start(Export(str(tmp_path / "none.qcow2"), "qcow2", "vda", socket=str(tmp_path / "s")), str(tmp_path / "pid"), str(tmp_path / "log"))


def test_a_reachable_address_without_tls_is_refused():
    with pytest.raises(TransferError, match="needs TLS"):
        exporter.command(Export("a.qcow2", "qcow2", "vda", bind="192.0.2.1", port=1))


@pytest.fixture
def secured(image, serve, tmp_path, mover):
    """The image behind mutual TLS on a loopback port."""
    pki.create(str(tmp_path / "pki"), ["127.0.0.1", "localhost"])
    port = free_port()
    serve(Export(str(image), "qcow2", "vda", bind="127.0.0.1", port=port, tls_directory=str(tmp_path / "pki" / "exporter")))
    mover.uri = f"nbd://127.0.0.1:{port}/vda"
    return tmp_path / "pki"


def test_mutual_tls_copies(mover, image, secured):
    result = mover.copy("g0", "--tls", secured / "mover", "--verify", "--verify-source")
    assert result["rc"] == 0
    assert holds(mover.target, raw_bytes(image))
    for file in secured.rglob("*.*"):
        assert file.stat().st_mode & 0o777 == 0o600


def test_only_the_right_mover_gets_data(mover, secured, tmp_path):
    pki.create(str(tmp_path / "other"), ["127.0.0.1"])
    pki.create(str(tmp_path / "expired"), ["127.0.0.1"], lifetime_hours=-1)
    assert mover.copy("g0")["reason"] == "tls_refused", "plain text"
    assert mover.copy("g0", "--tls", tmp_path / "other" / "mover")["reason"] == "tls_refused", "another migration's authority"
    for folder, name in ((tmp_path / "other" / "mover", "tls.crt"), (tmp_path / "other" / "mover", "tls.key")):
        (folder / "ca.crt").write_bytes((secured / "mover" / "ca.crt").read_bytes())
        assert (folder / name).exists()
    assert mover.copy("g0", "--tls", tmp_path / "other" / "mover")["rc"] in (3, 42), "a certificate of another authority"
    refused = mover.copy("g0", "--tls", secured / "mover", "--tls-hostname", "elsewhere.example")
    assert refused["reason"] == "tls_refused"
    assert not mover.target.exists(), "nothing was begun"


def test_a_mover_of_another_name_is_refused(mover, image, serve, tmp_path):
    pki.create(str(tmp_path / "pki"), ["127.0.0.1"], client_name="intruder")
    port = free_port()
    serve(Export(str(image), "qcow2", "vda", bind="127.0.0.1", port=port, tls_directory=str(tmp_path / "pki" / "exporter")))
    mover.uri = f"nbd://127.0.0.1:{port}/vda"
    assert mover.copy("g0", "--tls", tmp_path / "pki" / "mover")["rc"] in (3, 42)
    assert not mover.target.exists()


def test_an_expired_certificate_is_permanent(mover, image, serve, tmp_path):
    pki.create(str(tmp_path / "pki"), ["127.0.0.1"], lifetime_hours=5 / 3600)
    port = free_port()
    serve(Export(str(image), "qcow2", "vda", bind="127.0.0.1", port=port, tls_directory=str(tmp_path / "pki" / "exporter")))
    mover.uri = f"nbd://127.0.0.1:{port}/vda"
    time.sleep(5)
    result = mover.copy("g0", "--tls", tmp_path / "pki" / "mover")
    assert (result["rc"], result["reason"]) == (42, "tls_refused")
    assert "expired" in result["message"]
