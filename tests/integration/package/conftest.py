# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]


class Installed:
    """The built artefact, installed alone: what a user gets, with nothing of the checkout in reach."""

    def __init__(self, folder, tarball):
        self.folder, self.tarball = folder, tarball
        self.collection = folder / "ansible_collections" / "tandem" / "hybrid"

    def run(self, *command, **options):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        environment.update(ANSIBLE_COLLECTIONS_PATH=str(self.folder), ANSIBLE_LOCALHOST_WARNING="false",
                           ANSIBLE_DEVEL_WARNING="false", PATH=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
        return subprocess.run(command, cwd=options.pop("cwd", self.folder), env=environment, capture_output=True, text=True,
                              timeout=900, **options)


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    binaries = pathlib.Path(sys.executable).parent
    subprocess.run([binaries / "ansible-galaxy", "collection", "build", "--output-path", folder, ROOT], check=True, capture_output=True)
    (tarball,) = folder.glob("tandem-hybrid-*.tar.gz")
    result = Installed(folder, tarball)
    done = result.run("ansible-galaxy", "collection", "install", "--no-deps", "-p", folder, tarball)
    assert done.returncode == 0, done.stderr
    return result
