# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vcsim, a stand-in for vCenter, with VMs whose disks are real: for tests that move them."""
from __future__ import annotations

import contextlib
import hashlib
import pathlib
import random
import ssl
import subprocess

import pytest

MIB = 1 << 20
SIZE = 64 * MIB


@contextlib.contextmanager
def running():
    """The address of a vCenter stand-in with two VMs."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError

    from tests.bench import intake_vsphere

    pytest.importorskip("pyVmomi")
    try:
        binary = intake_vsphere.build()
    except LabError as error:
        pytest.skip(f"vcsim: {error}")
    with intake_vsphere.running(binary, 2, "-disk-bytes", str(SIZE)) as source:
        yield source


@contextlib.contextmanager
def machine(vcenter, moid):
    """A VM of it, through the API."""
    from pyVim.connect import Disconnect, SmartConnect
    from pyVmomi import vim

    host, _, port = vcenter.removeprefix("vsphere://").partition(":")
    service = SmartConnect(host=host, port=int(port), user="user", pwd="secret", disableSslCertValidation=True)
    yield vim.VirtualMachine(moid, service._stub)
    Disconnect(service)


def read(vcenter, ca_file=""):
    """Its first VM as the assessment reads it; its certificate is verified where there is a CA file."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.intake import sources_reader

    return sources_reader.read(vcenter, access=sources_reader.Access("user", "secret", bool(ca_file), ca_file=str(ca_file)))[0][0]


def assessed(vcenter):
    """The same, off."""
    with machine(vcenter, read(vcenter).moid) as live:
        if live.runtime.powerState == "poweredOn":
            live.PowerOffVM_Task()
    return read(vcenter)


def fill(vcenter, moid, folder):
    """Put a stream-optimised VMDK behind the VM's disk; its file, and the SHA-256 of what the guest would read."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.migration.source_vsphere import _disks

    raw, rng = folder / "disk.raw", random.Random(7)
    with open(raw, "wb") as stream:
        stream.write(rng.randbytes(9 * MIB))
        stream.seek(40 * MIB + 512)
        stream.write(rng.randbytes(3 * MIB + 512))
        stream.truncate(SIZE)
    with machine(vcenter, moid) as live:
        store, _, path = _disks(live)[0].backing.fileName.partition("] ")
        home = next(item.summary.url for item in live.datastore if item.name == store[1:])
    file = pathlib.Path(home, path)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", str(raw), str(file)], check=True)
    return file, hashlib.sha256(raw.read_bytes()).hexdigest()


def access(vcenter, folder):
    """Write the files by which it is reached, and return them as settings of a migration."""
    host, _, port = vcenter.removeprefix("vsphere://").partition(":")
    (folder / "ca.pem").write_text(ssl.get_server_certificate((host, int(port))))
    (folder / "password").write_text("secret\n")
    return {"username": "user", "password_file": str(folder / "password"), "ca_file": str(folder / "ca.pem"), "directory": str(folder / "fetched")}
