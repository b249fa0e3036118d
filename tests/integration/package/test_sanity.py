# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-test sanity on the built and installed artefact (a checkout can't pass: its link under collections/ is a directory link)."""
from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
SHIM = '''# The bootstrap that ansible-test looks for: pip out of its own wheel, so that the package index is all it needs.
import runpy
import sys
sys.path.insert(0, {wheel!r})
sys.argv = ["pip", "install", *(word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel"))]
runpy.run_module("pip", run_name="__main__")
'''


def test_sanity(installed, tmp_path):
    wheels = tmp_path / "wheels"
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, "pip==24.2"], check=True)
    (wheel,) = wheels.glob("pip-24.2-*.whl")
    cache = pathlib.Path.home() / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    bootstrap = cache / "get_pip_24_2.py"
    shutil.copyfile(wheel, cache / wheel.name)
    bootstrap.write_text(SHIM.format(wheel=str(cache / wheel.name)))
    shutil.copytree(ROOT / "tests" / "sanity", installed.collection / "tests" / "sanity")
    subprocess.run(["git", "init", "-q", "."], cwd=installed.collection, check=True)
    result = installed.run("ansible-test", "sanity", "--color", "no", "--python", f"3.{sys.version_info.minor}",
                           cwd=installed.collection)
    report = result.stdout + result.stderr
    assert result.returncode == 0, report[-6000:]
    assert "validate-modules" in report
