# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GPU operator stand-in's own tests, in Go: against a kubelet's registration service, and its tables."""

from __future__ import annotations

import subprocess

from ansible_collections.tandem.hybrid.plugins.module_utils.lab import kubevirt_build
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.build import Go


def test_go_tests_pass(lab_sources):
    go = Go.find()
    module = go.module_directory(f"{kubevirt_build.KUBEVIRT}@{kubevirt_build.KUBEVIRT_VERSION}")
    with kubevirt_build._workspace(lab_sources, "kubevirt", module) as source:
        command = [go.binary, "test", "-trimpath", "-mod=mod", "./gpu-stand-in"]
        done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
