# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that talk to a cluster take its address in one way, settable in one place."""
from __future__ import annotations

import ast
import pathlib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]


def documentation(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "DOCUMENTATION":
            return yaml.safe_load(node.value.value)
    raise AssertionError(f"{path} has no DOCUMENTATION")


def test_every_module_with_a_kubeconfig_is_in_the_action_group():
    group = set(yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["tandem"])
    modules = {path.stem: documentation(path) for path in (ROOT / "plugins" / "modules").glob("*.py")}
    with_cluster = {name for name, text in modules.items()
                    if "tandem.hybrid.cluster" in (text.get("extends_documentation_fragment") or [])
                    or "kubeconfig" in (text.get("options") or {})}
    assert with_cluster, "no module talks to a cluster"
    assert group == with_cluster
