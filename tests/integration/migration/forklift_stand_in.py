# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for Forklift's controller: calls what it is told ready, and plays a script of status changes for every Migration."""
from __future__ import annotations

import pathlib
import threading
import time
from datetime import UTC, datetime

import yaml

API = "forklift.konveyor.io/v1beta1"
CRDS = pathlib.Path(__file__).parent / "forklift_crds"
GIB_IN_MB = 1024
STEP_SECONDS = 2.5


def definitions():
    """Forklift's CustomResourceDefinitions."""
    return [yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) for path in sorted(CRDS.glob("*.yaml"))]


def condition(kind, category="Required", message="", **more):
    return {"type": kind, "status": "True", "category": category, "message": message,
            "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), **more}


def step(name, completed=0, started=True, error=None):
    return {"name": name, "progress": {"completed": completed, "total": GIB_IN_MB}, "annotations": {"unit": "MB"},
            **({"started": "2026-01-01T00:00:00Z"} if started else {}), **({"error": {"phase": "Running", "reasons": [error]}} if error else {})}


COPYING = ({"phase": "CopyDisks", "pipeline": [step("DiskTransfer", 512)]}, [condition("Running")])
COPIED = ({"phase": "WaitForDataVolumesStatus", "pipeline": [step("DiskTransfer", 1024)], "warm": {"successes": 1, "failures": 0, "consecutiveFailures": 0}},
          [condition("Running")])
SUCCEEDED = ({"phase": "Completed", "pipeline": [step("DiskTransfer", 1024)], "completed": "2026-01-01T00:00:00Z", "conditions": [condition("Succeeded")]},
             [condition("Succeeded", message="The migration has SUCCEEDED.")])
FAILED = ({"phase": "Completed", "pipeline": [step("DiskTransfer", 700, error="VDDK: the snapshot of vm-42 has gone")], "completed": "2026-01-01T00:00:00Z",
           "error": {"phase": "CopyDisks", "reasons": ["VDDK: the snapshot of vm-42 has gone"]}, "conditions": [condition("Failed")]},
          [condition("Failed", message="The migration has FAILED.")])
CANCELED = ({"phase": "Completed", "pipeline": [step("DiskTransfer", 700)], "conditions": [condition("Canceled", message="The VM was canceled.")]},
            [condition("Canceled")])


class StandIn(threading.Thread):
    """Plays `script`, a status every 2.5 s; one after COPIED waits for the cutover of a warm plan; `blocked` is put on plans instead of Ready."""

    def __init__(self, cluster, namespace, script, blocked=(), after=lambda _plan: None):
        super().__init__(daemon=True)
        self.cluster, self.namespace, self.script, self.blocked, self.after = cluster, namespace, list(script), list(blocked), after
        self.ended, self.errors, self.ended_at = threading.Event(), [], 0.0
        self._places, self._played_at = {}, 0.0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()
        assert not self.errors, self.errors

    def run(self):
        while not self.ended.wait(0.4):
            try:
                for kind in ("Provider", "NetworkMap", "StorageMap", "Plan"):
                    for obj in self.cluster.list(API, kind, self.namespace):
                        self._judge(obj)
                for migration in self.cluster.list(API, "Migration", self.namespace):
                    self._play(migration)
            except Exception as error:  # told to the test
                self.errors.append(repr(error))
                return

    def _judge(self, obj):
        wanted = self.blocked if obj["kind"] == "Plan" and self.blocked else [condition("Ready", message="ready")]
        status = {"observedGeneration": obj["metadata"]["generation"], "conditions": wanted}
        if obj.get("status", {}).get("observedGeneration") != status["observedGeneration"]:
            self._patch(obj, status)

    def _play(self, migration):
        name = migration["metadata"]["name"]
        plan = self.cluster.get(API, "Plan", migration["spec"]["plan"]["name"], self.namespace)
        place = self._places.get(name, 0)
        canceled = migration["spec"].get("cancel") and self.script[place - 1] is not CANCELED
        warm = plan["spec"]["type"] == "warm"
        if place and self.script[place - 1] is COPIED and warm and not migration["spec"].get("cutover") and not canceled:
            return
        if not canceled and (place >= len(self.script) or any(vm["phase"] == "Completed" for vm in migration.get("status", {}).get("vms", []))):
            return
        if time.monotonic() - self._played_at < STEP_SECONDS:
            return
        self._played_at = time.monotonic()
        vm, conditions = CANCELED if canceled else self.script[place]
        if conditions[0]["type"] == "Succeeded":
            self.after(plan)
        entry = plan["spec"]["vms"][0]
        # Forklift names a VM by both once its inventory has found it.
        both = {"id": entry.get("id", "id-of-the-inventory"), "name": entry.get("name", "name-of-the-inventory")}
        self._patch(migration, {"observedGeneration": migration["metadata"]["generation"], "conditions": conditions, "vms": [{**both, **vm}]})
        self._places[name] = len(self.script) if canceled else place + 1
        if vm["phase"] == "Completed":
            self.ended_at = time.monotonic()

    def _patch(self, obj, status):
        self.cluster.patch(API, obj["kind"], obj["metadata"]["name"], self.namespace, {"status": status}, subresource="status")
