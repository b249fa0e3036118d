# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue of artefacts: names, what they are built from, and the commands that fetch packages."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab import catalogue, commands, images_catalogue
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.build import Go
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError

ROOT = Path(__file__).resolve().parents[3]
SOURCES = Path("roles", "lab", "files")
NEEDED = (SOURCES, Path("plugins", "module_utils"))


class Tool(Go):
    """Go of a given version, without any installed."""

    def __init__(self, version="go1.0"):
        super().__init__("go")
        self._version = version


def _keys(root, go):
    return {artifact.name: artifact.key for artifact in images_catalogue.artifacts(root / SOURCES, go)}


@pytest.fixture
def copy(tmp_path):
    for part in NEEDED:
        shutil.copytree(ROOT / part, tmp_path / part)
    return tmp_path


def test_names_are_unique_and_keys_follow_from_the_sources_alone(copy):
    names = [artifact.name for artifact in images_catalogue.artifacts(copy / SOURCES, Tool())]
    assert len(names) == len(set(names))
    assert _keys(copy, Tool()) == _keys(ROOT, Tool())
    assert set(names) < set(catalogue.catalogue(copy / SOURCES, Tool()))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("roles/lab/files/kubevirt/gpu-stand-in/main.go", {"gpu-stand-in-image"}),
        ("roles/lab/files/images/virtqemud", {"platform-images"}),
        ("plugins/module_utils/documents/errors.py", {"mover-image"}),
        (
            "roles/lab/files/kubevirt/go.mod",
            {"kubevirt-binaries", "kubevirt-manifests", "platform-images", "gpu-stand-in-image"},
        ),
    ],
)
def test_a_change_renews_just_what_depends_on_it(copy, changed, expected):
    before = _keys(copy, Tool())
    with (copy / changed).open("a") as file:
        file.write("\n")
    after = _keys(copy, Tool())
    assert {name for name in before if before[name] != after[name]} == expected


def test_another_go_renews_what_go_builds():
    before, after = _keys(ROOT, Tool()), _keys(ROOT, Tool("go2.0"))
    unchanged = {name for name in before if before[name] == after[name]}
    assert unchanged == {"debian-base", "model", "helm", "llama-server-image", "mover-image", "conversion-image", "legacy-guests"}


def test_a_failing_program_becomes_one_sentence(tmp_path):
    with pytest.raises(LabError, match=r"cat .* failed with exit status 1: .*none"):
        commands.run(["cat", str(tmp_path / "none")])
    with pytest.raises(LabError, match="no-such-program is needed"):
        commands.run(["no-such-program"])


def test_output_goes_to_a_file_or_back(tmp_path):
    assert commands.run(["echo", "text"]) == "text\n"
    assert commands.run(["echo", "text"], output=tmp_path / "out") == ""
    assert (tmp_path / "out").read_text() == "text\n"
