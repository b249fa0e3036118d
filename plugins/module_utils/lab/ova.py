# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An OVA as VMware's tools export it: OVF descriptor, manifest, stream-optimised VMDK, in one tar."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from string import Template


def write_ova(out: Path, name: str, descriptor: Template, vmdk: Path, capacity_bytes: int) -> None:
    """Writes the OVA; the descriptor's placeholders are name, disk_file, disk_size_bytes and capacity_bytes."""
    disk = f"{name}-disk1.vmdk"
    ovf = descriptor.substitute(
        name=name, disk_file=disk, disk_size_bytes=vmdk.stat().st_size, capacity_bytes=capacity_bytes
    ).encode()
    with vmdk.open("rb") as file:
        disk_digest = hashlib.file_digest(file, "sha256").hexdigest()
    manifest = f"SHA256({name}.ovf)= {hashlib.sha256(ovf).hexdigest()}\nSHA256({disk})= {disk_digest}\n"
    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as tar:
        _add(tar, f"{name}.ovf", ovf)  # the descriptor comes first: OVF 1.1, section 5.3
        _add(tar, f"{name}.mf", manifest.encode())
        info = tarfile.TarInfo(disk)
        info.size = vmdk.stat().st_size
        with vmdk.open("rb") as file:
            tar.addfile(info, file)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
