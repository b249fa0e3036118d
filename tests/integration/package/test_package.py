# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The built collection: what is in it, and that it works when nothing else of the checkout is there."""
from __future__ import annotations

import json
import pathlib
import re
import tarfile

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
ALLOWED = re.compile(r"(MANIFEST\.json|FILES\.json|README\.md|CHANGELOG\.rst|LICENSE|requirements\.txt|bindep\.txt"
                     r"|(meta|changelogs|playbooks|roles|plugins|inventories|extensions)(/.*)?)$")
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
PLUGINS = sorted((kind, path.stem) for kind, folder, suffix in (
    ("module", "modules", ".py"), ("filter", "filter", ".yml"), ("inventory", "inventory", ".py"))
    for path in (ROOT / "plugins" / folder).glob("*" + suffix) if path.stem != "__init__")
ROLES = sorted(path.name for path in (ROOT / "roles").glob("*/"))


def test_the_tarball_holds_only_what_is_allowed(installed):
    with tarfile.open(installed.tarball) as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert [name for name in names if not ALLOWED.match(name)] == []
    assert [name for name in names if re.search(r"__pycache__|\.pyc$|\.tandem|\.retry$", name)] == []
    assert [member.name for member in members if member.issym() or member.islnk()] == []
    assert "plugins/module_utils/documents/plan.py" in names


def test_nothing_callable_is_missing_from_the_tarball(installed):
    with tarfile.open(installed.tarball) as archive:
        names = set(archive.getnames())
    for folder in ("plugins", "roles", "playbooks", "meta"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert str(path.relative_to(ROOT)) in names


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_playbooks_run_by_their_full_name(installed, name):
    result = installed.run("ansible-playbook", f"tandem.hybrid.{name}", "--syntax-check", "-i", "localhost,")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("kind", sorted({kind for kind, _name in PLUGINS}))
def test_plugins_are_documented(installed, kind):
    names = [f"tandem.hybrid.{name}" for one, name in PLUGINS if one == kind]
    page = installed.run("ansible-doc", "-t", kind, *names)
    assert page.returncode == 0, page.stderr
    assert page.stdout.count("EXAMPLES") >= len(names)
    data = installed.run("ansible-doc", "-t", kind, "--json", *names)
    assert data.returncode == 0, data.stderr
    found = json.loads(data.stdout)
    assert sorted(found) == sorted(names)
    assert [name for name in names if not (found[name]["doc"]["short_description"] and found[name]["examples"])] == []


@pytest.mark.parametrize("name", ROLES)
def test_roles_document_every_variable(installed, name):
    result = installed.run("ansible-doc", "-t", "role", f"tandem.hybrid.{name}")
    assert result.returncode == 0, result.stderr
    specification = yaml.safe_load((ROOT / "roles" / name / "meta" / "argument_specs.yml").read_text())
    options = specification["argument_specs"]["main"].get("options") or {}
    defaults_file = ROOT / "roles" / name / "defaults" / "main.yml"
    defaults = yaml.safe_load(defaults_file.read_text()) if defaults_file.exists() else {}
    assert sorted(set(defaults or {}) - set(options)) == [], "defaults without a line in argument_specs"
    assert [option for option in options if not option.startswith((f"{name}_", "tandem_"))] == []
    assert (ROOT / "roles" / name / "README.md").exists()


def test_every_full_name_used_in_roles_and_playbooks_exists(installed):
    used = set()
    for folder in ("roles", "playbooks"):
        for path in (ROOT / folder).rglob("*.yml"):
            if "files" not in path.parts:
                used |= set(re.findall(r"^\s*(?:- )?(tandem\.hybrid\.[a-z_]+|kubernetes\.core\.[a-z0-9_]+):", path.read_text(), re.M))
    for name in sorted(used):
        if name.startswith("tandem."):
            assert (ROOT / "plugins" / "modules" / (name.rsplit(".", 1)[1] + ".py")).exists(), name
        else:
            assert installed.run("ansible-doc", "-t", "module", name).returncode == 0, name


def test_modules_that_reach_the_cluster_are_in_the_action_group():
    group = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["tandem"]
    reach = [path.stem for path in (ROOT / "plugins" / "modules").glob("*.py") if "tandem.hybrid.cluster" in path.read_text()]
    assert sorted(set(reach) - {name.removeprefix("tandem.hybrid.") for name in group}) == []


def requirements(path):
    return {line.strip() for line in (ROOT / path).read_text().splitlines() if line[:1] not in "#-"}


def test_runtime_dependencies_are_told_once():
    """An execution environment has its own Ansible, and compilers that a controller need not have."""
    runtime = {line for line in requirements("requirements.txt") if not line.startswith("ansible==")}
    assert runtime | requirements("requirements-lab.txt") == requirements("meta/ee-requirements.txt")


def test_ansible_builder_finds_what_an_execution_environment_needs(installed, tmp_path):
    result = installed.run("ansible-builder", "introspect", str(installed.folder))
    assert result.returncode == 0, result.stderr
    found = yaml.safe_load(result.stdout)
    names = {re.split(r"[<>= ]", line)[0] for line in found["python"]}
    assert {"kubernetes", "ortools", "pyvmomi", "libvirt-python"} <= names
    assert any(line.startswith("qemu-utils ") for line in found["system"])
    result = installed.run("ansible-builder", "create", "-f", str(ROOT / "execution-environment.yml"), "-c", str(tmp_path / "context"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "tandem.hybrid" in (tmp_path / "context" / "_build" / "requirements.yml").read_text()


def test_openshift_client_works_with_the_pinned_kubernetes_client():
    """`openshift` is in the environment for playbooks of users that still import it; nothing of ours does."""
    from openshift.dynamic import DynamicClient
    from openshift.helper.hashes import generate_hash

    assert callable(DynamicClient)
    first, second = ({"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": value}} for value in "12")
    assert generate_hash(first) == generate_hash(dict(first)) != generate_hash(second)
    for path in [*(ROOT / "plugins").rglob("*.py")]:
        assert not re.search(r"^\s*(import|from) openshift", path.read_text(), re.M), path
