# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Container images of a node's containerd: what an archive holds, what the node has, and the import."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.commands import run
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError

CTR = ("ctr", "--namespace", "k8s.io", "images")


@dataclass(frozen=True)
class ArchivedImage:
    """An image in an OCI archive: its name, the digest of its manifest and that of its configuration."""

    name: str
    digest: str
    config_digest: str

    @property
    def pinned_name(self) -> str:
        """The name by configuration digest, under which KubeVirt asks for a container disk that it has seen."""
        return f"{self.name.rpartition(':')[0]}@{self.config_digest}"


def archived(archive: Path) -> list[ArchivedImage]:
    """The images of an OCI archive; LabError when it isn't one."""
    try:
        with tarfile.open(archive) as tar:
            return [_image(tar, entry) for entry in json.load(tar.extractfile("index.json"))["manifests"]]
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        raise LabError(f"{archive} is not an OCI image archive with named images: {error}") from error


def _image(tar: tarfile.TarFile, entry: dict) -> ArchivedImage:
    manifest = json.load(tar.extractfile("blobs/" + entry["digest"].replace(":", "/")))
    return ArchivedImage(entry["annotations"]["io.containerd.image.name"], entry["digest"], manifest["config"]["digest"])


def present(enter: Sequence[str]) -> dict[str, str]:
    """Name to manifest digest of every image of the node that ``enter`` leads into."""
    rows = [line.split() for line in run([*enter, *CTR, "list"]).splitlines()[1:]]
    return {row[0]: row[2] for row in rows}


def lacking(archive: Path, has: dict[str, str]) -> list[ArchivedImage]:
    """The archive's images that the node doesn't have under their names and digests."""
    return [image for image in archived(archive)
            if has.get(image.name) != image.digest or has.get(image.pinned_name) != image.digest]


def load(archive: Path, enter: Sequence[str], has: dict[str, str]) -> None:
    """Import an archive into a node, and give each new image its pinned name."""
    wanted = lacking(archive, has)
    if not wanted:
        return
    run([*enter, *CTR, "import", "-"], stdin=archive)
    for image in wanted:
        run([*enter, *CTR, "tag", "--force", image.name, image.pinned_name])
