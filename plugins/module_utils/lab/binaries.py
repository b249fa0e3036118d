# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own binaries as artefacts: Kubernetes in one executable, kwok, and pid 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.build import Go
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Artifact, tree_digest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layer import File
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.oci import Image, write_archive

PAUSE_IMAGE = "tandem.local/pause:1"
KUBERNETES_VERSION = "v1.34.4"
KWOK_MODULE = "sigs.k8s.io/kwok@v0.8.0"
# kwok refuses to start without stages; these make fake nodes Ready and their pods run and end.
KWOK_STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)


def artifacts(sources: Path, go: Go) -> tuple[Artifact, ...]:
    """The artefacts that a control plane and nodes consist of; ``sources`` is the role's files directory."""
    pause = _pause(sources / "pause", go)
    return (_labkube(sources / "labkube", go), _kwok(go), pause, _pause_image(pause))


def _labkube(source: Path, go: Go) -> Artifact:
    tags = ("osusergo", "netgo")
    ldflags = _kubernetes_ldflags()

    def build(out: Path, needs: Mapping[str, Path]) -> None:
        go.build(source, out / "labkube", tags=tags, ldflags=ldflags)

    return Artifact("labkube", {"sources": tree_digest(source), "go": go.version, "ldflags": ldflags,
                                "tags": ",".join(tags)}, build)


def _kwok(go: Go) -> Artifact:
    def build(out: Path, needs: Mapping[str, Path]) -> None:
        path, version = KWOK_MODULE.split("@")
        go.install(f"{path}/cmd/kwok@{version}", out)
        stages = go.module_directory(KWOK_MODULE) / "kustomize" / "stage"
        (out / "stages.yaml").write_text("\n---\n".join((stages / name).read_text() for name in KWOK_STAGES))

    return Artifact("kwok", {"module": KWOK_MODULE, "go": go.version, "stages": " ".join(KWOK_STAGES)}, build)


def _pause(source: Path, go: Go) -> Artifact:
    def build(out: Path, needs: Mapping[str, Path]) -> None:
        go.build(source, out / "pause")

    return Artifact("pause", {"sources": tree_digest(source), "go": go.version}, build)


def _pause_image(pause: Artifact) -> Artifact:
    def build(out: Path, needs: Mapping[str, Path]) -> None:
        program = File("/pause", source=needs["pause"] / "pause", mode=0o755)
        write_archive(out / "image.tar", [Image(PAUSE_IMAGE, files=[program], entrypoint=["/pause"])])

    return Artifact("pause-image", {"name": PAUSE_IMAGE}, build, needs=(pause,))


def _kubernetes_ldflags() -> str:
    """What makes the components report their real version instead of a placeholder."""
    major, minor = KUBERNETES_VERSION.lstrip("v").split(".")[:2]
    values = {"gitVersion": KUBERNETES_VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean",
              "gitCommit": "lab", "buildDate": "2026-01-01T00:00:00Z"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(["-s -w", *(f"-X {p}.{name}={value}" for p in packages for name, value in values.items())])
