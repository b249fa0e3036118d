# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab looks like at the moment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.tandem.hybrid.plugins.module_utils.lab import preflight
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.api import Api
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.lifecycle import recorded
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import (
    Processes,
    children,
    memory_bytes,
)


def info(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The result of module lab_info."""
    lab = status(Path(parameters["directory"]))
    return {"changed": False, "lab": lab, "summary": summary(lab), "missing_packages": preflight.missing_packages()}


def summary(lab: Mapping[str, Any]) -> list[str]:
    """The lab in a few lines for people."""
    if lab["state"] == "absent":
        return ["there is no lab"]
    nodes = ", ".join(f"{node['name']} {'Ready' if node['ready'] else 'not Ready'}" for node in lab["nodes"])
    memory = ", ".join(f"{one['name']} {one['memory_bytes'] // 2**20} MiB" if one["pid"] else f"{one['name']} ENDED"
                       for one in lab["processes"])
    return [
        f"lab {lab['lab_id']}, tier {lab['tier']}: {lab['server']} {'serves' if lab['serving'] else 'does not serve'}",
        f"nodes: {nodes or 'none'}",
        f"processes: {memory}",
        f"kubeconfig: {lab['kubeconfig']}",
        f"kubectl: {lab['kubectl']}",
    ]


def status(directory: Path) -> dict[str, Any]:
    """State, processes (memory in bytes) and nodes of the lab in the directory."""
    layout = recorded(directory)
    if layout is None:
        return {"state": "absent"}
    processes, api = Processes(layout.run, layout.logs), Api(layout)
    pids = {name: processes.pid(name) for name in processes.names()}
    first_pids = {layout.node_name(int(name.removeprefix("node-"))): next(iter(children(pid)), 0)
                  for name, pid in pids.items() if name.startswith("node-") and pid}
    serving = api.ready()
    nodes = sorted(api.nodes().items()) if serving else []
    return {
        "state": "present",
        "tier": layout.tier,
        "lab_id": layout.lab_id,
        "server": layout.server,
        "serving": serving,
        "kubeconfig": str(layout.kubeconfig),
        "kubectl": str(layout.kubectl),
        "nodes": [{"name": name, "ready": bool(heartbeat), "pid": first_pids.get(name, 0)} for name, heartbeat in nodes],
        "processes": [{"name": name, "pid": pid or 0, "memory_bytes": memory_bytes(pid) if pid else 0}
                      for name, pid in pids.items()],
    }
