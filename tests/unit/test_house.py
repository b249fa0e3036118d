# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the house that a program can check: directions of imports, no I/O in pure rooms, thin modules."""
from __future__ import annotations

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = ROOT / "plugins" / "module_utils"
PREFIX = "ansible_collections.tandem.hybrid.plugins.module_utils."
MAY_IMPORT = {
    "documents": set(),
    "intake": {"documents", "kubevirt"}, "gpu": {"documents"}, "sizing": {"documents"}, "kubevirt": {"documents", "gpu"},
    "forklift": {"documents", "kubevirt"},
    "placement": {"documents", "intake", "gpu", "sizing", "kubevirt"},
    "report": {"documents", "placement", "gpu", "sizing"},
    "cluster": {"documents", "gpu", "kubevirt"}, "fitness": {"documents"}, "transfer": {"documents", "fitness"}, "lab": {"documents"},
    "migration": {"documents", "cluster", "transfer", "kubevirt", "forklift", "fitness"},
    "verification": {"documents", "cluster"},
}
PURE = {"documents", "intake", "gpu", "sizing", "placement", "kubevirt", "forklift", "fitness", "report"}
IO = {"subprocess", "socket", "requests", "urllib.request", "http.client", "kubernetes", "asyncio"}


def imports(path):
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            yield ".".join(("ansible_collections", "tandem", "hybrid", *base, *(node.module or "").split("."))).rstrip(".")
        elif isinstance(node, ast.ImportFrom):
            yield node.module


FILES = sorted(path for path in ROOMS.rglob("*.py") if path.parent != ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOMS)))
def test_imports_go_one_way(path):
    room = path.relative_to(ROOMS).parts[0]
    for name in imports(path):
        assert not re.match(r"ansible(\.|$)", name), f"{path}: no room imports ansible, found {name}"
        assert not name.startswith("ansible_collections.tandem.hybrid.plugins.modules"), f"{path} imports a module"
        if name.startswith(PREFIX):
            other = name[len(PREFIX):].split(".")[0]
            assert other == room or other in MAY_IMPORT[room], f"{path}: {room} may not import {other}"
        if room in PURE and "vsphere" not in path.name and "reader" not in path.name:
            assert name not in IO, f"{path}: the pure room {room} imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "plugins" / "modules").glob("*.py")), ids=lambda path: path.name)
def test_modules_are_documentation_and_a_short_main(path):
    text = path.read_text()
    code = re.sub(r'(DOCUMENTATION|EXAMPLES|RETURN)\s*=\s*r?("""|\'\'\')[\s\S]*?\2', "", text)
    lines = [line for line in code.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) <= 80, f"{path.name} has {len(lines)} lines of code; logic belongs in a room"
    for part in ("DOCUMENTATION", "EXAMPLES", "RETURN"):
        assert f"\n{part} = " in text, f"{path.name} lacks {part}"
