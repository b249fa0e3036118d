# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The legacy side with a real libvirt, on empty disks: started, repaired, left alone, removed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import wait_for
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.source import DOMAINS, OVA, Source

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="a libvirt of one's own needs root"),
    pytest.mark.skipif(not shutil.which("libvirtd", path="/usr/sbin"), reason="libvirtd is not installed"),
]


def _machine():
    """What the machine sees of libvirt: mounts, its own libvirt's state, networks."""
    links = subprocess.run(["ip", "-brief", "link"], check=True, capture_output=True, text=True).stdout
    rules = subprocess.run(
        ["iptables-save"], check=True, capture_output=True, text=True, env={"PATH": "/usr/sbin:/sbin"}
    )
    return (
        [line for line in Path("/proc/self/mounts").read_text().splitlines() if "libvirt" in line],
        sorted(str(path) for path in Path("/etc/libvirt").rglob("*")),
        [line for line in links.splitlines() if "virbr" in line],
        [line for line in rules.stdout.splitlines() if "LIBVIRT" in line],
    )


def _take(steps):
    taken = []
    for step in steps:
        step.run()
        taken.append(step.what)
    return taken


@pytest.fixture
def source(tmp_path, lab_sources):
    guests = tmp_path / "guests"
    guests.mkdir()
    (guests / OVA).write_bytes(b"ova")
    for name in (name for domain in DOMAINS for name in domain.disks):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", guests / name, "1M"], check=True)
    source = Source(Layout(tmp_path / "lab", lab_id=9), lab_sources, guests)
    source.layout.directory.mkdir()
    yield source
    _take(source.absent_steps())


def _virsh(source, *arguments):
    command = ["virsh", "--quiet", "--connect", source.uri, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def test_source(source):
    before = _machine()
    assert "define orders and start it" in _take(source.steps())
    assert (_virsh(source, "domstate", "orders"), _virsh(source, "domstate", "report")) == (
        "running",
        "shut off",
    )
    assert "<hostdev mode='subsystem' type='pci'" in _virsh(source, "dumpxml", "report")
    assert _take(source.steps()) == []
    assert _machine() == before

    os.kill(source.processes.pid("libvirtd"), signal.SIGKILL)
    wait_for(lambda: source.processes.pid("libvirtd") is None, 10, lambda: "it doesn't die")
    assert _take(source.steps()) == ["start libvirtd of the source"]
    assert _virsh(source, "domstate", "orders") == "running", "a guest outlives its libvirtd"

    _virsh(source, "autostart", "--disable", "orders")
    _virsh(source, "destroy", "orders")
    assert _take(source.steps()) == []
    os.kill(source.processes.pid("libvirtd"), signal.SIGKILL)
    wait_for(lambda: source.processes.pid("libvirtd") is None, 10, lambda: "it doesn't die")
    _take(source.steps())
    assert _virsh(source, "domstate", "orders") == "shut off", (
        "a migrated guest must never come back by itself"
    )

    _virsh(source, "start", "orders")
    foreign = source.layout.directory.parent / "foreign.xml"
    foreign.write_text("<domain type='qemu'><name>foreign</name><memory unit='MiB'>32</memory><os><type arch='x86_64'>hvm</type></os></domain>")
    _virsh(source, "create", str(foreign))  # somebody's own, with nothing of the lab's disks
    steps = _take(source.absent_steps())
    assert [steps[0], *sorted(steps[1:3]), *steps[3:]] == [
        "end libvirtd of the source",
        "end guest foreign",
        "end guest orders",
        "remove the libvirt source",
    ]
    assert list(source.layout.directory.iterdir()) == []
    assert _machine() == before
