# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files from the package registries that this machine already uses: Debian archive and PyPI."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.commands import run
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Documentation has no reader in a container; translations need locales that aren't installed.
_UNWANTED = ("man", "doc", "info", "locale", "i18n", "lintian", "gdb", "gcc", "bash-completion")
# /usr/bin first: mmdebstrap's tar filter starts a `python3` that a version manager's wrapper slows a lot.
_PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def debian_mirror() -> str:
    """The Debian archive that this machine's apt uses; LabError where apt knows none."""
    wanted = ["--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian", "Label: Debian"]
    mirrors = run(["apt-get", "indextargets", *wanted]).split()
    if not mirrors:
        raise LabError("apt has no lists of a Debian archive; run `apt-get update` on this machine first")
    return mirrors[0]


def root_file_system(out: Path, suite: str, packages: Sequence[str]) -> None:
    """Writes a minimal Debian root file system with the packages to the tar file `out` (needs root)."""
    run(
        [
            "mmdebstrap",
            "--variant=minbase",
            "--mode=root",
            "--keyring=/usr/share/keyrings",
            '--aptopt=APT::Install-Recommends "false"',
            '--aptopt=Acquire::Languages "none"',
            *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _UNWANTED),
            "--dpkgopt=force-unsafe-io",
            f"--include={','.join(packages)}",
            "--format=tar",
            suite,
            str(out),
            debian_mirror(),
        ],
        environment={**_PATH, "SOURCE_DATE_EPOCH": "1"},
    )


class Apt:
    """Downloads packages of one Debian suite by lists of its own, in `directory`: the machine's stay as they are."""

    def __init__(self, directory: Path, suite: str) -> None:
        for name in ("lists/partial", "cache/archives/partial"):
            (directory / name).mkdir(parents=True)
        (directory / "status").touch()
        source = f"deb [signed-by={_KEYRING}] {debian_mirror()} {suite} main\n"
        (directory / "sources.list").write_text(source)
        settings = {
            "Dir::State": directory,
            "Dir::State::status": directory / "status",
            "Dir::State::lists": directory / "lists",
            "Dir::Cache": directory / "cache",
            "Dir::Etc::sourcelist": directory / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferencesparts": "-",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
        }
        file = directory / "apt.conf"
        file.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
        self._environment = {"APT_CONFIG": str(file)}
        run(["apt-get", "-q", "update"], environment=self._environment)

    def download(self, packages: Sequence[str], out: Path) -> list[Path]:
        """Downloads packages, without what they depend on, into the empty directory `out`."""
        run(["apt-get", "-q", "download", *packages], out, self._environment)
        return sorted(out.glob("*.deb"))

    def depends(self, package: str) -> list[str]:
        """The names of the packages that a package depends on."""
        shown = run(["apt-cache", "depends", "--important", package], environment=self._environment)
        return [line.split()[-1] for line in shown.splitlines() if "Depends:" in line]


def unpack_debs(debs: Sequence[Path], root: Path) -> dict[str, str]:
    """Unpacks Debian packages into `root`, running none of their scripts; returns versions by package."""
    versions = {}
    for deb in debs:
        name, version = run(["dpkg-deb", "--show", "--showformat=${Package} ${Version}", str(deb)]).split()
        versions[name] = version
        archive = root.parent / f"{name}.tar"
        run(["dpkg-deb", "--fsys-tarfile", str(deb)], output=archive)
        run(["tar", "--extract", "--keep-directory-symlink", f"--directory={root}", f"--file={archive}"])
        archive.unlink()
    return versions


def download_wheel(out: Path, requirement: str) -> Path:
    """Downloads one wheel from PyPI, without what it depends on, into the directory `out`."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    run([*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", f"--dest={out}", requirement])
    (wheel,) = out.glob("*.whl")
    return wheel
