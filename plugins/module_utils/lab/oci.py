# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OCI image archives written without a container engine: uncompressed layers, each stored once."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layer import Entry, write_layer

_MEDIA = "application/vnd.oci.image"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Image:
    """An image: its full name, the layer tar files it starts from and the entries of its own layer."""

    name: str
    files: Sequence[Entry] = ()
    base: Sequence[Path] = ()
    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    user: str = ""
    env: Sequence[str] = (_PATH,)
    workdir: str = "/"
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Blob:
    digest: str
    size: int
    content: bytes | Path

    def descriptor(self, kind: str) -> dict:
        return {"mediaType": f"{_MEDIA}.{kind}", "digest": f"sha256:{self.digest}", "size": self.size}


def write_archive(out: Path, images: Iterable[Image]) -> None:
    """Writes the images into one OCI archive; the same images and layers always give the same bytes."""
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        blobs: dict[str, _Blob] = {}
        manifests = []
        layers: dict[Path, _Blob] = {}
        for number, image in enumerate(images):
            own = Path(scratch, f"{number}.tar")
            paths = list(image.base)
            if image.files:
                write_layer(own, image.files)
                paths.append(own)
            for path in paths:
                layers.setdefault(path, _file(path))
            manifests.append(_add_image(image, [layers[path] for path in paths], blobs))
        index = json.dumps({"schemaVersion": 2, "manifests": manifests}, sort_keys=True).encode()
        with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
            _write(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _write(tar, "index.json", index)
            for digest, blob in sorted(blobs.items()):
                _write(tar, f"blobs/sha256/{digest}", blob.content)


def image_names(archive: Path) -> list[str]:
    """The full names of the images in an OCI archive, sorted."""
    with tarfile.open(archive) as tar:
        index = json.load(tar.extractfile("index.json"))
    return sorted(entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"])


def _add_image(image: Image, layers: list[_Blob], blobs: dict[str, _Blob]) -> dict:
    config = _bytes(_config(image, layers))
    manifest = _bytes(
        {
            "schemaVersion": 2,
            "mediaType": f"{_MEDIA}.manifest.v1+json",
            "config": config.descriptor("config.v1+json"),
            "layers": [layer.descriptor("layer.v1.tar") for layer in layers],
        }
    )
    blobs.update({blob.digest: blob for blob in (config, manifest, *layers)})
    return {
        **manifest.descriptor("manifest.v1+json"),
        "platform": {"architecture": "amd64", "os": "linux"},
        "annotations": {
            "io.containerd.image.name": image.name,
            "org.opencontainers.image.ref.name": image.name.rsplit(":", 1)[-1],
        },
    }


def _config(image: Image, layers: list[_Blob]) -> dict:
    process = {
        "Entrypoint": list(image.entrypoint),
        "Cmd": list(image.cmd),
        "User": image.user,
        "Env": list(image.env),
        "WorkingDir": image.workdir,
        "Labels": image.labels,
    }
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {key: value for key, value in process.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in layers]},
    }


def _bytes(document: dict) -> _Blob:
    content = json.dumps(document, sort_keys=True).encode()
    return _Blob(hashlib.sha256(content).hexdigest(), len(content), content)


def _file(path: Path) -> _Blob:
    with path.open("rb") as file:
        return _Blob(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size, path)


def _write(tar: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    info = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
        return
    info.size = content.stat().st_size
    with content.open("rb") as file:
        tar.addfile(info, file)
