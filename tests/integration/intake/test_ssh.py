# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu+ssh: a real sshd on 127.0.0.1 with keys of its own, in front of a libvirtd of its own. Nothing of the machine is changed."""
from __future__ import annotations

import os
import pathlib
import shutil
import socket
import subprocess
import time

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import sources_reader
from ansible_collections.tandem.hybrid.plugins.module_utils.intake.errors import IntakeError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.source import Source

ROOT = pathlib.Path(__file__).resolve().parents[3]
DOMAIN = """<domain type="qemu"><name>far</name><uuid>4a6e0b5c-3e1f-4f4b-9a31-0d5a1c0e7a11</uuid><memory unit="MiB">64</memory><vcpu>2</vcpu>
<os><type arch="x86_64" machine="pc">hvm</type></os><devices>
<disk type="file"><driver name="qemu" type="raw"/><source file="{disk}"/><target dev="vda" bus="virtio"/></disk></devices></domain>"""
CONFIGURATION = """Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
"""
# In a further mount namespace: the user that sshd gives its rights to, and its empty directory; /run is the libvirt's own already.
ENTER = "mount --bind {folder}/passwd /etc/passwd && mkdir -p /run/sshd && exec {sshd} -D -e -f {folder}/sshd_config"


def program(folder):
    """Return sshd and its environment: the machine's, else the one of Debian's package, unpacked but not installed."""
    if found := shutil.which("sshd", path="/usr/sbin:/usr/local/sbin"):
        return found, {}
    if not shutil.which("apt-get"):
        pytest.skip("no sshd and no apt-get to fetch one")
    done = subprocess.run(["apt-get", "download", "-q", "openssh-server", "libwrap0"], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        pytest.skip(f"no sshd, and apt-get download openssh-server failed: {done.stderr.strip()[-200:]}")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder / "root"], check=True)
    return str(folder / "root/usr/sbin/sshd"), {"LD_LIBRARY_PATH": ":".join(str(path) for path in (folder / "root").glob("**/lib/*-linux-gnu"))}


@pytest.fixture(scope="module")
def libvirtd(tmp_path_factory):
    """A libvirtd in a mount namespace, with one domain; yields its process id."""
    library = pytest.importorskip("libvirt")
    if os.geteuid() or not shutil.which("libvirtd"):
        pytest.skip("needs root and libvirtd")
    folder = tmp_path_factory.mktemp("far")
    source = Source(Layout(folder), ROOT / "roles" / "lab" / "files", folder)
    for step in source.steps():
        if step.what.startswith(("make directories", "start libvirtd")):
            step.run()
        if step.what.startswith("start libvirtd"):
            break
    disk = folder / "root.img"
    disk.write_bytes(bytes(3 * 2**20))
    connection = library.open(source.uri)
    connection.defineXML(DOMAIN.format(disk=disk))
    connection.close()
    yield source.processes.pid("libvirtd")
    for step in source.absent_steps():
        step.run()


@pytest.fixture(scope="module")
def address(libvirtd, tmp_path_factory):
    """An sshd in front of it; yields the address of libvirt through it, with a place for the key."""
    folder = tmp_path_factory.mktemp("ssh")
    sshd, environment = program(folder)
    for name in ("host", "key", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(CONFIGURATION.format(port=port, folder=folder))
    (folder / "passwd").write_text(pathlib.Path("/etc/passwd").read_text() + "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "client").write_text(f'#!/bin/sh\nexec ssh -F none -o IdentitiesOnly=yes -o UserKnownHostsFile={folder}/known_hosts "$@"\n')
    (folder / "client").chmod(0o755)
    process = subprocess.Popen(["nsenter", f"--target={libvirtd}", "--mount", "unshare", "--mount", "sh", "-c", ENTER.format(folder=folder, sshd=sshd)],
                               env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)
    for _attempt in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    else:
        process.kill()
        pytest.fail(f"sshd does not listen: {process.stderr.read()}")
    yield f"qemu+ssh://root@127.0.0.1:{port}/system?command={folder}/client&no_tty=1&keyfile={folder}/"
    process.terminate()
    process.wait(timeout=10)


def test_a_domain_is_read_through_ssh(address):
    (vm,) = sources_reader.read(f"{address}key")[0]
    assert (vm.name, vm.cpu.vcpus, vm.memory_bytes, vm.power_state, vm.hypervisor) == ("far", 2, 64 * 2**20, "off", "qemu")
    assert [disk.size_bytes for disk in vm.disks] == [3 * 2**20], "the size is asked of the far libvirt"
    assert vm.host and vm.ledger and vm.source.startswith("qemu+ssh://root@127.0.0.1:")


def test_a_key_that_is_not_authorized_is_one_sentence(address):
    with pytest.raises(IntakeError, match="Permission denied") as caught:
        sources_reader.read(f"{address}stranger")
    assert "\n" not in str(caught.value) and "\r" not in str(caught.value) and len(str(caught.value)) < 600


def test_a_host_whose_key_is_another_is_refused(address):
    known = pathlib.Path(address.partition("command=")[2].partition("/client")[0]) / "known_hosts"
    right = known.read_text()
    stranger = (known.parent / "stranger.pub").read_text()
    try:
        known.write_text(f"{right.split()[0]} {stranger}")
        with pytest.raises(IntakeError, match="Host key verification failed"):
            sources_reader.read(f"{address}key")
    finally:
        known.write_text(right)
