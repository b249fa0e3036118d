# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example: assess, plan and report from files alone, twice."""
from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]


def example(directory, *arguments):
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"}
    process = subprocess.run(
        [pathlib.Path(sys.executable).parent / "ansible-playbook", "-i", ROOT / "inventories/example/hosts.yml", ROOT / "playbooks/example.yml",
         "-e", f"tandem_directory={directory}", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-2000:]
    return process.stdout, int(re.search(r"changed=(\d+)", process.stdout).group(1))


def test_the_example_runs_and_a_second_run_changes_nothing(tmp_path):
    output, changed = example(tmp_path)
    assert changed > 0 and f"The page: file://{tmp_path}/report.html" in output and "Tandem example" in output
    report = json.loads((tmp_path / "report.json").read_text())
    kinds = {place["name"]: place["kind"] for place in report["places"]}
    assert {"orders", "warehouse-db", "analytics", "crm-production", "intranet"} == {name for name, kind in kinds.items() if kind == "vm"}
    assert {"assistant", "analyst", "embedder", "triage"} == {name for name, kind in kinds.items() if kind == "model"}
    assert not report.get("unplaced") and not any(failure.get("lost") for failure in report["failures"])
    assert [finding["vm"] for finding in report["findings"] if finding["severity"] == "block"] == ["fax"]
    assert (tmp_path / "report.xml").read_text().startswith("<?xml") and "<script" not in (tmp_path / "report.html").read_text()
    assert example(tmp_path, "--diff")[1] == 0
