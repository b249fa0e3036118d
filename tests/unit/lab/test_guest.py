# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pure parts of the legacy guests: module order, initramfs, partition table, OVA."""

from __future__ import annotations

import hashlib
import shutil
import stat
import struct
import subprocess
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path
from string import Template

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab import guest_parts, ova
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.guest_parts import Member

FILES = Path(__file__).resolve().parents[3] / "roles" / "lab" / "files" / "guest"
MODULES_DEP = """\
kernel/virtio_blk.ko: kernel/virtio_ring.ko kernel/virtio.ko
kernel/virtio_ring.ko: kernel/virtio.ko
kernel/virtio.ko:
kernel/sd_mod.ko.xz:
"""


def test_modules_come_after_what_they_need_and_once():
    dependencies = guest_parts.parse_modules_dep(MODULES_DEP)
    order = guest_parts.load_order(dependencies, ["virtio_blk", "virtio", "sd_mod", "built_in"])
    assert order == [
        "kernel/virtio.ko",
        "kernel/virtio_ring.ko",
        "kernel/virtio_blk.ko",
        "kernel/sd_mod.ko.xz",
    ]


def test_initramfs_is_what_cpio_reads():
    if not shutil.which("cpio"):
        pytest.skip("cpio is not installed")
    members = [
        Member("d", stat.S_IFDIR | 0o755),
        Member("d/f", stat.S_IFREG | 0o644, b"odd"),
        Member("l", stat.S_IFLNK | 0o777, b"d/f"),
    ]
    archive = guest_parts.initramfs(members)
    assert len(archive) % 4 == 0
    listed = subprocess.run(["cpio", "-itv"], input=archive, capture_output=True, check=True).stdout.decode()
    assert [line.split()[0] for line in listed.splitlines()] == ["drwxr-xr-x", "-rw-r--r--", "lrwxrwxrwx"]
    assert listed.rstrip().endswith("l -> d/f")


def test_partition_table():
    table = guest_parts.partition_table(1024 * 2048)
    assert len(table) == 512 - 446
    assert table[0] == 0x80
    assert struct.unpack("<II", table[8:16]) == (2048, 1023 * 2048)
    assert table[-2:] == b"\x55\xaa"


def test_ova_is_a_tar_that_starts_with_a_valid_descriptor(tmp_path):
    vmdk = tmp_path / "disk.vmdk"
    vmdk.write_bytes(b"KDMV" * 300)
    ova.write_ova(tmp_path / "crm.ova", "crm", Template((FILES / "crm.ovf").read_text()), vmdk, 512 << 20)
    with tarfile.open(tmp_path / "crm.ova") as tar:
        contents = {name: tar.extractfile(name).read() for name in tar.getnames()}
    assert list(contents) == ["crm.ovf", "crm.mf", "crm-disk1.vmdk"]
    for line in contents["crm.mf"].decode().splitlines():
        name, digest = line.removeprefix("SHA256(").split(")= ")
        assert hashlib.sha256(contents[name]).hexdigest() == digest
    envelope = ET.fromstring(contents["crm.ovf"])
    space = "{http://schemas.dmtf.org/ovf/envelope/1}"
    reference = envelope.find(f"{space}References/{space}File")
    assert reference.get(f"{space}href") == "crm-disk1.vmdk"
    assert reference.get(f"{space}size") == "1200"
    assert envelope.find(f".//{space}Disk").get(f"{space}capacity") == str(512 << 20)


def test_what_the_guest_runs_is_a_program():
    for path in [
        FILES / "init",
        *(FILES / "root" / "bin").iterdir(),
        *(FILES / "root" / "srv" / "cgi-bin").iterdir(),
    ]:
        assert path.read_text().startswith("#!/bin/sh\n"), path
