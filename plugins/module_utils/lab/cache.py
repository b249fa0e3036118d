# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The artefact cache: what was built from what, kept outside the checkout and never trusted blindly."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError

MANIFEST = "manifest.json"
FULL_HASH_LIMIT_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True)
class Artifact:
    """Something that can be built from declared inputs, and from other artefacts.

    ``build(out, needs)`` fills the empty directory ``out``; ``needs`` maps the name of each needed artefact
    to its directory. Whatever can change the result belongs into ``inputs``: versions, flags, digests of files.
    """

    name: str
    inputs: Mapping[str, str]
    build: Callable[[Path, Mapping[str, Path]], None]
    needs: tuple[Artifact, ...] = field(default=())

    @property
    def key(self) -> str:
        """Digest of everything that the result depends on."""
        inputs = {"name": self.name, "inputs": dict(self.inputs), "needs": {n.name: n.key for n in self.needs}}
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Built:
    """An artefact in the cache; ``seconds`` is what its build took, 0 when it was there already."""

    name: str
    key: str
    path: Path
    built: bool
    seconds: float = 0.0


class Cache:
    """Artefacts under ``root/<name>/<key>/``; ``say`` gets one line before and after each build."""

    def __init__(self, root: Path, say: Callable[[str], None] = lambda line: None) -> None:
        self.root = root
        self._say = say

    def path(self, artifact: Artifact) -> Path:
        """Where the artefact is, or will be."""
        return self.root / artifact.name / artifact.key[:32]

    def has(self, artifact: Artifact) -> bool:
        """Whether the artefact is there, complete and unchanged since it was built."""
        return _problem(self.path(artifact), artifact) is None

    def get(self, artifact: Artifact) -> Built:
        """Return the artefact, building it and what it needs if absent or damaged.

        Raises LabError when a build fails; nothing of a failed build stays in the cache.
        """
        path = self.path(artifact)
        with _locked(self.root / artifact.name / ".lock"):
            problem = _problem(path, artifact)
            if problem is None:  # what it was built from need not be there, or be hashed, any more
                return Built(artifact.name, artifact.key, path, built=False)
            needs = {need.name: self.get(need).path for need in artifact.needs}
            self._say(f"building {artifact.name} ({problem})")
            started = time.monotonic()
            self._build(artifact, needs, path)
            seconds = round(time.monotonic() - started, 1)
            self._say(f"built {artifact.name} in {seconds} s")
            return Built(artifact.name, artifact.key, path, built=True, seconds=seconds)

    def _build(self, artifact: Artifact, needs: Mapping[str, Path], path: Path) -> None:
        for left in path.parent.glob(".new-*"):  # of a killed build: the lock says nobody works on it
            shutil.rmtree(left)
        work = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
        try:
            out = work / "out"
            out.mkdir()
            artifact.build(out, needs)
            manifest = {
                "name": artifact.name,
                "key": artifact.key,
                "inputs": dict(artifact.inputs),
                "needs": {need.name: need.key for need in artifact.needs},
                "outputs": {str(f.relative_to(out)): _record(f) for f in sorted(out.rglob("*")) if _is_file(f)},
            }
            (out / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
            if path.exists():
                shutil.rmtree(path)
            os.rename(out, path)
        finally:
            shutil.rmtree(work)


def default_root(environment: Mapping[str, str]) -> Path:
    """``$TANDEM_CACHE``, else ``~/.cache/tandem``."""
    chosen = environment.get("TANDEM_CACHE")
    return Path(chosen) if chosen else Path(environment.get("HOME", "/")) / ".cache" / "tandem"


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tree_digest(*paths: Path) -> str:
    """SHA-256 over names, executable bits and bytes of the files given or below the directories given."""
    total = hashlib.sha256()
    for top in paths:
        for file in [top] if top.is_file() else sorted(f for f in top.rglob("*") if _is_file(f)):
            name = file.name if file == top else str(file.relative_to(top))
            total.update(f"{name} {os.access(file, os.X_OK)} {file_digest(file)}\n".encode())
    return total.hexdigest()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts


def _record(path: Path) -> dict[str, str | int]:
    status = path.stat()
    return {"sha256": file_digest(path), "size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _problem(path: Path, artifact: Artifact) -> str | None:
    """Why the cached copy can't be used; None when it can."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        outputs, key = manifest["outputs"], manifest["key"]
    except FileNotFoundError:
        return "not in the cache"
    except (ValueError, KeyError, TypeError):
        return "its manifest is damaged"
    if key != artifact.key:
        return "its manifest is of something else"
    for name, record in outputs.items():
        if not _intact(path / name, record):
            return f"{name} was changed after it was built"
    return None


def _intact(path: Path, record: Mapping[str, str | int]) -> bool:
    if not path.is_file() or path.stat().st_size != record["size_bytes"]:
        return False
    if path.stat().st_size > FULL_HASH_LIMIT_BYTES and path.stat().st_mtime_ns == record["mtime_ns"]:
        return True  # hashing gigabytes at each start would cost more than it guards against
    return file_digest(path) == record["sha256"]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("w")
    except OSError as error:
        raise LabError(f"the artefact cache {path.parent} can't be written: {error.strerror}") from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
