# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs other programs and turns their failures into one sentence."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError

SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # first of all: a user's PATH may lack sbin


def run(
    arguments: Sequence[str],
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    output: Path | None = None,
    stdin: Path | str = "",
) -> str:
    """Standard output of a program, or "" when it went to the file `output`; `stdin` is a file or a text.

    Raises LabError with the program and the end of its standard error when it is absent or fails.
    """
    done = attempt(arguments, directory, environment, output, stdin)
    if done.returncode != 0:
        reason = (done.stderr or done.stdout or "").strip()[-1000:]
        raise LabError(f"{' '.join(arguments)[:300]} failed with exit status {done.returncode}: {reason}")
    return done.stdout or ""


def attempt(
    arguments: Sequence[str],
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    output: Path | None = None,
    stdin: Path | str = "",
) -> subprocess.CompletedProcess[str]:
    """A program run to its end, whatever its exit status; LabError when it is absent."""
    path = f"{SEARCH_PATH}:{os.environ.get('PATH', '')}"
    with ExitStack() as files:
        source = {"stdin": files.enter_context(stdin.open("rb"))} if isinstance(stdin, Path) else {"input": stdin}
        sink = files.enter_context(output.open("wb")) if output else subprocess.PIPE
        try:
            return subprocess.run(arguments, cwd=directory, stdout=sink, stderr=subprocess.PIPE, check=False, text=True,
                                  errors="replace", env={**os.environ, "PATH": path, **(environment or {})}, **source)
        except FileNotFoundError as error:
            raise LabError(f"the program {arguments[0]} is needed and was not found on PATH") from error


def succeeds(arguments: Sequence[str]) -> bool:
    """Whether a program ends with status 0."""
    return attempt(arguments).returncode == 0
