# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Presence and absence of the lab's legacy side."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.lifecycle import recorded
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.source import Source


def ensure(parameters: Mapping[str, Any], check_only: bool) -> dict[str, Any]:
    """Bring the source into the state that the parameters of module lab_source ask for; returns the module's result."""
    started = time.monotonic()
    directory, wanted = Path(parameters["directory"]), parameters["state"] == "present"
    layout = recorded(directory)
    if layout is None and not wanted:
        return {"steps": [], "changed": False, "seconds": 0.0}
    if layout is None or not layout.full:
        raise LabError(f"there is no lab of the tier full in {directory} that legacy VMs could run beside")
    source = Source(layout, Path(parameters["sources"]), Path(parameters["guests"]))
    steps = []
    for step in source.steps() if wanted else source.absent_steps():
        if not check_only:
            step.run()
        steps.append(step.what)
    diff = {"before": "", "after": "".join(f"{step}\n" for step in steps)}
    seconds = round(time.monotonic() - started, 1)
    result = {"steps": steps, "changed": bool(steps), "diff": diff, "seconds": seconds}
    return {**result, "source": source.facts()} if wanted else result
