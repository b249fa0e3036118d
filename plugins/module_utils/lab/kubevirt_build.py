# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""KubeVirt and CDI from their Go modules: binaries, and upstream's own release manifests."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.build import Go
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Artifact, tree_digest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.commands import run
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError

KUBEVIRT_VERSION = "v1.8.4"
CDI_VERSION = "v1.65.0"
KUBEVIRT = "kubevirt.io/kubevirt"
CDI = "kubevirt.io/containerized-data-importer"

_COMMIT = "dfaa398f"
_LDFLAGS = " ".join(
    [
        "-s -w",
        *(
            f"-X kubevirt.io/client-go/version.{name}={value}"
            for name, value in {
                "gitVersion": KUBEVIRT_VERSION,
                "gitCommit": _COMMIT,
                "gitTreeState": "clean",
                "buildDate": "2026-01-01T00:00:00Z",
            }.items()
        ),
    ]
)
# These two run on the Debian base image and bind libvirt by cgo; all others must be static, for images without libc.
_DYNAMIC = ("virt-launcher", "virt-handler")
_STATIC = (
    *(f"cmd/virt-{name}" for name in ("operator", "api", "controller", "launcher-monitor", "probe", "tail")),
    *("cmd/virt-freezer", "cmd/virt-chroot", "cmd/virtctl", "cmd/virt-launcher/libvirt-hook-client"),
    *("cmd/sidecars", "tools/manifest-templator"),
)
_CDI = (
    *(f"cmd/cdi-{name}" for name in ("operator", "apiserver", "controller", "importer", "cloner")),
    *("cmd/cdi-uploadproxy", "cmd/cdi-uploadserver", "cmd/openstack-populator", "cmd/ovirt-populator"),
    *("tools/cdi-image-size-detection", "tools/cdi-containerimage-server", "tools/cdi-source-update-poller"),
    "tools/manifest-generator",
)
# What upstream's images take from the source tree besides binaries.
_KUBEVIRT_SHARE = (
    "cmd/virt-launcher/node-labeller/node-labeller.sh",
    "cmd/virt-launcher/qemu.conf",
    "cmd/virt-launcher/virtqemud.conf",
    "cmd/virt-launcher/qemu",
)


def kubevirt_binaries(sources: Path, rooms: Path, go: Go) -> Artifact:
    """KubeVirt's binaries in bin/, files of its images in share/."""

    def build(out: Path, needs: Mapping[str, Path]) -> None:
        module = go.module_directory(f"{KUBEVIRT}@{KUBEVIRT_VERSION}")
        binaries = _new(out / "bin")
        with _workspace(sources, "kubevirt", module) as source:
            dynamic = [f"{KUBEVIRT}/cmd/{name}" for name in _DYNAMIC]
            _build(go, source, binaries, dynamic, _LDFLAGS, tags=("libvirt_dlopen",), cgo=True)
            static = [f"{KUBEVIRT}/{path}" for path in _STATIC]
            _build(go, source, binaries, static, _LDFLAGS)
        container_disk = module / "cmd" / "container-disk-v2alpha" / "main.c"
        run(["cc", "-O2", "-static", "-s", "-o", str(binaries / "container-disk"), str(container_disk)])
        _share(module, _new(out / "share"), _KUBEVIRT_SHARE)

    return Artifact("kubevirt-binaries", _inputs(sources, rooms, "kubevirt", KUBEVIRT_VERSION, go), build)


def cdi_binaries(sources: Path, rooms: Path, go: Go) -> Artifact:
    """CDI's binaries in bin/, files of its images in share/."""

    def build(out: Path, needs: Mapping[str, Path]) -> None:
        module = go.module_directory(f"{CDI}@{CDI_VERSION}")
        with _workspace(sources, "cdi", module) as source:
            packages = [f"{CDI}/{path}" for path in _CDI]
            _build(go, source, _new(out / "bin"), packages, "-s -w", tags=("netgo", "osusergo"), cgo=True)
        _share(module, _new(out / "share"), ("cmd/cdi-cloner/cloner_startup.sh",))

    return Artifact("cdi-binaries", _inputs(sources, rooms, "cdi", CDI_VERSION, go), build)


def kubevirt_manifests(go: Go, binaries: Artifact) -> Artifact:
    """kubevirt-operator.yaml and kubevirt-cr.yaml as KubeVirt's release has them."""

    def build(out: Path, needs: Mapping[str, Path]) -> None:
        module = go.module_directory(f"{KUBEVIRT}@{KUBEVIRT_VERSION}")
        templator = str(needs[binaries.name] / "bin" / "manifest-templator")
        for name in ("kubevirt-operator", "kubevirt-cr"):
            files = ["--process-files", f"--generated-manifests-dir={module}/manifests/generated/"]
            between = out / f"{name}.yaml.in"
            template = f"--input-file={module}/manifests/release/{name}.yaml.in"
            run([templator, *files, template], output=between)
            variables = [
                "--process-vars",
                f"--kubevirt-logo-path={module}/assets/kubevirt_logo.png",
                "--namespace=kubevirt",
                f"--container-prefix={Upstream(go).kubevirt_prefix}",
                f"--container-tag={KUBEVIRT_VERSION}",
                f"--csv-version={KUBEVIRT_VERSION.lstrip('v')}",
                "--image-pull-policy=IfNotPresent",
                "--verbosity=2",
                "--infra-replicas=1",
            ]
            run([templator, *variables, f"--input-file={between}"], output=out / f"{name}.yaml")
            between.unlink()

    return Artifact("kubevirt-manifests", {"version": KUBEVIRT_VERSION}, build, needs=(binaries,))


def cdi_manifests(go: Go, binaries: Artifact) -> Artifact:
    """cdi-operator.yaml and cdi-cr.yaml as CDI's release has them."""

    def build(out: Path, needs: Mapping[str, Path]) -> None:
        module = go.module_directory(f"{CDI}@{CDI_VERSION}")
        generator = str(needs[binaries.name] / "bin" / "manifest-generator")
        prefix = Upstream(go).cdi_prefix
        with tempfile.TemporaryDirectory() as generated:
            common = [
                generator,
                f"-docker-repo={prefix}",
                f"-docker-tag={CDI_VERSION}",
                f"-operator-version={CDI_VERSION}",
                "-deploy-cluster-resources=true",
                *(
                    f"-{name}-image={prefix}/cdi-{image}:{CDI_VERSION}"
                    for name, image in _CDI_IMAGE_FLAGS.items()
                ),
                "-verbosity=1",
                "-pull-policy=IfNotPresent",
                "-cr-name=cdi",
                "-namespace=cdi",
                f"-generated-manifests-path={generated}",
            ]
            everything = Path(generated, "operator-everything.yaml.in")
            resources = ["-resource-type=operator", "-resource-group=everything"]
            run([*common, *resources], output=everything)
            for name in ("cdi-operator", "cdi-cr"):
                template = f"-template={module}/manifests/templates/release/{name}.yaml.in"
                run([*common, template], output=out / f"{name}.yaml")

    return Artifact("cdi-manifests", {"version": CDI_VERSION}, build, needs=(binaries,))


_CDI_IMAGE_FLAGS = {
    "operator": "operator",
    "controller": "controller",
    "importer": "importer",
    "cloner": "cloner",
    "ovirt-populator": "importer",
    "apiserver": "apiserver",
    "uploadproxy": "uploadproxy",
    "uploadserver": "uploadserver",
}


def build_package(go: Go, sources: Path, name: str, package: str, out: Path) -> None:
    """Builds one package of our Go module `name` (kubevirt or cdi) into the static program `out`."""
    module = {"kubevirt": f"{KUBEVIRT}@{KUBEVIRT_VERSION}", "cdi": f"{CDI}@{CDI_VERSION}"}[name]
    with _workspace(sources, name, go.module_directory(module)) as source:
        _build(go, source, out, [package], "-s -w")


@dataclass(frozen=True)
class Upstream:
    """The names of upstream's images; registry and organisation are read from upstream's sources when asked for."""

    go: Go

    def kubevirt(self, name: str) -> str:
        """The full name of one of KubeVirt's images."""
        return f"{self.kubevirt_prefix}/{name}:{KUBEVIRT_VERSION}"

    def cdi(self, name: str) -> str:
        """The full name of one of CDI's images."""
        return f"{self.cdi_prefix}/{name}:{CDI_VERSION}"

    @cached_property
    def kubevirt_prefix(self) -> str:
        """Registry and organisation of KubeVirt's images."""
        module = self.go.module_directory(f"{KUBEVIRT}@{KUBEVIRT_VERSION}")
        return _search(module / "BUILD.bazel", r'repository = "(.*)/virt-operator"')

    @cached_property
    def cdi_prefix(self) -> str:
        """Registry and organisation of CDI's images."""
        module = self.go.module_directory(f"{CDI}@{CDI_VERSION}")
        return _search(module / "hack" / "build" / "config.sh", r'DOCKER_PREFIX=.*:-"(.*)"}')


def _search(path: Path, pattern: str) -> str:
    found = re.search(pattern, path.read_text())
    if not found:
        raise LabError(f"{path} does not name the registry of the images as expected")
    return found.group(1)


def _inputs(sources: Path, rooms: Path, name: str, version: str, go: Go) -> dict[str, str]:
    recipe = rooms / "lab" / "kubevirt_build.py"
    code = tree_digest(sources / name / "go.mod", sources / "libnbd", recipe)
    return {"version": version, "sources": code, "go": go.version}


@contextmanager
def _workspace(sources: Path, name: str, module: Path) -> Iterator[Path]:
    """A writable copy of our Go module, with upstream's checksums, which go completes while it builds."""
    with tempfile.TemporaryDirectory() as work:
        for directory in (name, "libnbd"):
            shutil.copytree(sources / directory, Path(work, directory))
        checksums = Path(work, name, "go.sum")
        checksums.write_bytes((module / "go.sum").read_bytes())
        yield Path(work, name)


def _build(
    go: Go,
    source: Path,
    out: Path,
    packages: Sequence[str],
    ldflags: str,
    tags: Sequence[str] = (),
    cgo: bool = False,
) -> None:
    environment = {"CGO_ENABLED": "1" if cgo else "0", "GOFLAGS": "-mod=mod"}
    go.build(source, out, packages=packages, tags=tags, ldflags=ldflags, environment=environment)


def _new(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _share(module: Path, out: Path, names: Sequence[str]) -> None:
    for name in names:
        (out / Path(name).name).write_bytes((module / name).read_bytes())
