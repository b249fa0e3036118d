# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""make bench-scheduler: a plan given to the real kube-scheduler, and the same workloads without a plan.

A control plane of its own with nodes that kwok plays. Quick: 100 nodes, 600 pods; full: 500 nodes, 3,000 pods. The pods stand in for
launcher pods and model servers: the scheduler sees requests and affinity only.
"""
from __future__ import annotations

import os
import pathlib
import subprocess
import tempfile
import time

import yaml

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster import capacity_reader
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import connect
from ansible_collections.tandem.hybrid.plugins.module_utils.lab import lifecycle
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.build import Go
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Cache, default_root
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.catalogue import catalogue, chosen
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.lab import Wanted
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker import check
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.solve import solve

from . import estates, planned_pods
from .figures import FULL, ROOT, figure, say

SOURCES = ROOT / "roles" / "lab" / "files"
NODES, PODS, TIMEOUT_SECONDS = (500, 3000, 240) if FULL else (100, 600, 120)
CASE = f"{NODES}x{PODS}"


def main() -> None:
    binaries = {one.name: Cache(default_root(os.environ)).get(one).path
                for one in chosen(catalogue(SOURCES, Go.find()), ("labkube", "kwok", "pause"))}
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(pathlib.Path(folder) / "lab", tier="control_plane", port=27643)
        try:
            lifecycle.ensure_present(layout, Wanted(binaries, SOURCES, kwok=True))
            run(layout, binaries["labkube"] / "labkube")
        finally:
            lifecycle.ensure_absent(layout)


def run(layout: Layout, labkube: pathlib.Path) -> None:
    cluster = connect(str(layout.kubeconfig), None)
    for node in estates.nodes(NODES):
        cluster.create(node)
    demand = estates.demand(NODES, PODS)
    start = time.monotonic()
    capacity = capacity_reader.read(cluster)
    figure("scheduler", CASE, "capacity_read_seconds", round(time.monotonic() - start, 2), "s", nodes=len(capacity.nodes))
    start = time.monotonic()
    plan = solve(capacity, demand)
    figure("scheduler", CASE, "plan_seconds", round(time.monotonic() - start, 2), "s", placed=len(plan.assignments), bound=plan.levels[0].bound,
           violations=len(check(capacity, demand, plan)))
    _planned(cluster, plan, demand)
    _alone(cluster, demand, "default", "default-scheduler")
    scheduler = _most_allocated(layout, labkube)
    try:
        _alone(cluster, demand, "most-allocated", "most-allocated")
    finally:
        scheduler.terminate()
        scheduler.wait(30)


def _planned(cluster, plan, demand):
    pods = planned_pods.planned(plan, demand, "planned")
    planned_pods.create(cluster, "planned", pods)
    bound = planned_pods.bindings(cluster, "planned", len(pods), TIMEOUT_SECONDS)
    wanted = {f"{one.workload}-{one.replica}": one.node for one in plan.assignments}
    right = sum(bound.get(name) == node for name, node in wanted.items())
    figure("scheduler", CASE, "bound_as_planned_percent", round(100 * right / len(wanted), 3), "%", bar=">= 100", ok=right == len(wanted),
           bound=len(bound), planned=len(wanted), elsewhere=len(bound) - right)
    _report("planned", demand, set(bound))
    _clear(cluster, "planned")


def _alone(cluster, demand, name, scheduler):
    planned_pods.create(cluster, name, planned_pods.bare(demand, name, scheduler))
    bound = planned_pods.bindings(cluster, name, PODS, TIMEOUT_SECONDS)
    _report(name, demand, set(bound))
    _clear(cluster, name)


def _report(name, demand, placed):
    figure("scheduler", f"{CASE}/{name}", "placed_pods", len(placed), "pods", asked=PODS)
    gpus = sum(4000 for number in range(NODES) if number % 5 in (1, 3))
    figure("scheduler", f"{CASE}/{name}", "gpu_share_percent", round(100 * planned_pods.gpu_thousandths(demand, placed) / gpus, 2), "%")


def _clear(cluster, namespace):
    say(f"removing the pods of {namespace}")
    cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/pods", query=[("gracePeriodSeconds", 0)])
    while cluster.list("v1", "Pod", namespace):
        time.sleep(1)


def _most_allocated(layout, labkube):
    """Start a second kube-scheduler whose only profile packs nodes (NodeResourcesFit, MostAllocated)."""
    resources = [{"name": name, "weight": 1} for name in ("cpu", "memory", "nvidia.com/gpu", estates.PASSED)]
    config = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
              "clientConnection": {"kubeconfig": str(layout.pki / "scheduler.kubeconfig"), "qps": 500, "burst": 1000},
              "leaderElection": {"leaderElect": False},
              "profiles": [{"schedulerName": "most-allocated", "pluginConfig": [{"name": "NodeResourcesFit", "args": {
                  "scoringStrategy": {"type": "MostAllocated", "resources": resources}}}]}]}
    path = layout.directory / "most-allocated.yaml"
    path.write_text(yaml.safe_dump(config))
    log = open(layout.directory / "most-allocated.log", "w")  # noqa: SIM115
    return subprocess.Popen([labkube, "kube-scheduler", f"--config={path}", "--secure-port=0"], stdout=log, stderr=log)


if __name__ == "__main__":
    main()
