# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image with virt-v2v, which converts guests. No lab has it unless it is asked for: it takes half a gigabyte."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab import oci
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Artifact
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.packages import root_file_system

NAME = "tandem.local/conversion:1"
SUITE = "bookworm"
# libguestfs makes a small VM of Debian's kernel for clouds and of what dpkg says is installed.
PACKAGES = ("virt-v2v", "nbdkit", "libguestfs-xfs", "qemu-system-x86", "qemu-utils", "linux-image-cloud-amd64")


def conversion_image() -> Artifact:
    """tandem.local/conversion:1: Debian with virt-v2v."""

    def build(out: Path, needs: Mapping[str, Path]) -> None:
        with tempfile.TemporaryDirectory(dir=out.parent) as work:
            base = Path(work, "rootfs.tar")
            root_file_system(base, SUITE, PACKAGES)
            oci.write_archive(out / "image.tar", [oci.Image(NAME, base=[base], user="107:107")])

    return Artifact("conversion-image", {"packages": " ".join(PACKAGES), "suite": SUITE}, build)
