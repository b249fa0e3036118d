# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM that Forklift moves: its objects applied from our plan, its status followed, its end reported."""
from __future__ import annotations

import time
from datetime import UTC, datetime

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.apply import Change, Options, apply, plan
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.enforcement import labels as workload_labels
from ansible_collections.tandem.hybrid.plugins.module_utils.forklift import render, status
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.maps import maps
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import jobs, target
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import FORKLIFT, VM_LABEL, VmTask, kubernetes_name
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.phases import Context, Migration, Waiting
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.rollback import needed
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.waves import in_window

POLL_SECONDS = 2.0
CANCEL_SECONDS = 300
OPTIONS = Options(component="migration")


def require(cluster: Cluster, tasks: list[VmTask]) -> None:
    """Raise MigrationError unless the cluster serves Forklift's kinds, when one of the VMs needs it."""
    missing = [kind for kind in render.KINDS if not cluster.serves(render.API, kind)] if tasks else []
    if missing:
        raise MigrationError(f"{', '.join(task.name for task in tasks)}: to be moved by Forklift, but the cluster does not serve {missing[0]} of"
                             f" {render.API}; install Forklift (or MTV), or stop the VM and set migration_engine to tandem")


def rendered(task: VmTask) -> render.Rendered:
    """Forklift's objects for a VM; pure."""
    settings = task.settings
    affinity = task.rendered.virtual_machine["spec"]["template"]["spec"].get("affinity", {})
    name = kubernetes_name(f"{settings.namespace}-{task.name}")
    return render.render(task.vm, render.Target(task.name, settings.namespace, name, affinity, {VM_LABEL: task.name, **workload_labels(task.name)}),
                         maps(settings.network_map, settings.storage_map, settings.device_map), settings.forklift)


def objects(task: VmTask) -> list[dict]:
    """What `prepare` applies."""
    service = jobs.service(task)
    return [*rendered(task).objects, *([service] if service else [])]


def changes(cluster: Cluster, task: VmTask) -> list[Change]:
    """What applying would change; nothing is written."""
    return [change for change in plan(cluster, objects(task), OPTIONS, check=True) if change.action != "unchanged"]


class Delegated(Migration):
    """The state machine of a VM whose copy is Forklift's; windows hold its cutover back as they do for ours."""

    def __init__(self, context: Context):
        super().__init__(context)
        self._rendered = rendered(self.task)
        self._vm = self._rendered.plan["spec"]["vms"][0]
        self._reference = {key: self._vm[key] for key in ("id", "name") if key in self._vm}
        self._warm = self._rendered.plan["spec"]["type"] == "warm"

    def inspect(self) -> dict:
        """Find Forklift and the Providers; those that are not made here must be there."""
        require(self.context.cluster, [self.task])
        pair = self._rendered.plan["spec"]["provider"]
        for side in ("destination",) if self._rendered.provider else ("source", "destination"):
            if self._get("Provider", pair[side]["name"]) is None:
                raise MigrationError(f"{self.task.name}: Forklift has no Provider {pair[side]['namespace']}/{pair[side]['name']}; create it, or give"
                                     " its url and secret")
        lost = "the tolerations of the plan are lost, Forklift's Plan has no field for them" if self._tolerations() else ""
        return {"mode": FORKLIFT, "running": self.task.vm.power_state == "running", "warm": self._warm, "why": lost}

    def prepare(self) -> dict:
        """Apply Provider, maps and plan one by one, as each is judged by the state of those before."""
        for obj in objects(self.task):
            apply(self.context.cluster, [obj], OPTIONS)
            if obj["apiVersion"] == render.API:
                self._wait_ready(obj["kind"], obj["metadata"]["name"])
        return {"plan": self._rendered.plan["metadata"]["name"], "node": self.task.node}

    def forklift(self) -> dict:
        """Run the plan once, or follow the run that is there; raises MigrationError with Forklift's own reasons when it fails."""
        said, said_at, deadline = status.VmState(), time.monotonic(), time.monotonic() + self.task.settings.copy_timeout_seconds
        name = self._current() or self._start()
        while True:
            self.context.check()
            migration = self._get("Migration", name)
            if migration is None:
                raise MigrationError(f"{self.task.name}: Forklift's Migration {name} was deleted while it ran")
            state = status.vm_state(migration, self._reference)
            if state.outcome == "succeeded":
                return {"migration": name, "precopies": state.precopies}
            if state.outcome:
                raise MigrationError(f"{self.task.name}: Forklift's Migration {name} {state.outcome}: {state.message or 'it gives no reason'}")
            if state != said:
                self.context.say(phase="forklift", **_line(state, (state.done_bytes - said.done_bytes) / (time.monotonic() - said_at)))
                said, said_at = state, time.monotonic()
            if self._warm and state.precopies and not migration["spec"].get("cutover"):
                self._cut_over(name)
            if time.monotonic() > deadline:
                raise MigrationError(f"{self.task.name}: Forklift's Migration {name} did not end within"
                                     f" {self.task.settings.copy_timeout_seconds} s, it is in {state.phase}")
            time.sleep(POLL_SECONDS)

    def check(self) -> dict:
        """The VM that Forklift made must run on a node of the plan, and answer."""
        if self.context.cluster.get(target.API, "VirtualMachine", self.task.name, self.task.settings.namespace) is None:
            raise MigrationError(f"{self.task.name}: Forklift says that it succeeded, but there is no VirtualMachine"
                                 f" {self.task.settings.namespace}/{self.task.name}")
        vmi = target.wait_running(self.context.cluster, self.task, self.context.check, lambda **data: self.context.say(phase="check", **data))
        node, allowed = vmi["status"].get("nodeName"), _allowed(self._rendered.plan)
        if allowed and node not in allowed:
            raise MigrationError(f"{self.task.name}: runs on {node}, the plan allows {', '.join(allowed)}")
        asked = target.probe(self.context.cluster, self.task, lambda **_data: None) if self.task.settings.probe else ""
        cutover = next((float(event.data["at"]) for event in reversed(self.context.journal.events)
                        if event.subject == self.task.name and event.event == "cutover"), None)
        return {"probe": asked, "node": node, "downtime_seconds": round(time.time() - cutover, 2) if cutover else None}

    def accept(self) -> dict:
        """Nothing of ours is left at the source; Forklift's objects stay as its record."""
        return {}

    def cancel(self) -> bool:
        """Have Forklift cancel the VM, which starts the source again if it ran; False when there is nothing to take back."""
        self.must_be_on_its_way()
        if not needed(self.context):
            return False
        name = self._current()
        if name:
            self.context.cluster.patch(render.API, "Migration", name, self.task.settings.forklift.namespace, {"spec": {"cancel": [self._reference]}})
            deadline = time.monotonic() + CANCEL_SECONDS
            while not status.vm_state(self._get("Migration", name) or {}, self._reference).outcome:
                if time.monotonic() > deadline:
                    raise MigrationError(f"{self.task.name}: Forklift did not cancel Migration {name} within {CANCEL_SECONDS} s")
                time.sleep(POLL_SECONDS)
        self.context.note("rollback", "rolled-back", reason="asked for by the operator", lost="", migration=name)
        return True

    def must_be_on_its_way(self) -> None:
        """Raise MigrationError once Forklift has moved the VM: it has no way back."""
        if "forklift" in self.context.state().done:
            raise MigrationError(f"{self.task.name}: Forklift has moved it; to go back, stop {self.task.settings.namespace}/{self.task.name} and start"
                                 f" {self.task.vm.name} at {self.task.vm.source}, what it wrote on the cluster is lost")

    # ---- helpers

    def _tolerations(self) -> list[dict]:
        return self.task.rendered.virtual_machine["spec"]["template"]["spec"].get("tolerations", [])

    def _get(self, kind: str, name: str) -> dict | None:
        return self.context.cluster.get(render.API, kind, name, self.task.settings.forklift.namespace)

    def _wait_ready(self, kind: str, name: str) -> None:
        deadline = time.monotonic() + self.task.settings.start_timeout_seconds
        while not status.ready(found := self._get(kind, name) or {"metadata": {}}):
            blocked = status.blockers(found)
            if blocked:
                raise MigrationError(f"{self.task.name}: Forklift refuses {kind} {name}: {'; '.join(blocked)}")
            if time.monotonic() > deadline:
                raise MigrationError(f"{self.task.name}: Forklift's {kind} {name} is not ready after {self.task.settings.start_timeout_seconds} s:"
                                     f" {status.waits_for(found)}")
            self.context.check()
            time.sleep(POLL_SECONDS)

    def _migrations(self) -> list[dict]:
        wanted = self._rendered.plan["metadata"]
        found = self.context.cluster.list(render.API, "Migration", wanted["namespace"])
        own = [item for item in found if item["spec"]["plan"].get("name") == wanted["name"]]
        return sorted(own, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))

    def _current(self) -> str:
        """The Migration that runs or has succeeded; empty when there is none or the last one failed."""
        last = self._migrations()[-1:]
        over = [item for item in last if status.vm_state(item, self._reference).outcome in ("failed", "canceled")]
        return "" if over or not last else last[0]["metadata"]["name"]

    def _start(self) -> str:
        if not self._warm and not in_window(self.task.settings.windows, datetime.now(UTC)):
            raise Waiting(f"{self.task.name}: waits for its cutover window")
        earlier = self._migrations()
        if earlier:
            self.prepare()  # what made the last attempt fail may have been mended in the maps
        numbers = [int(number) for item in earlier if (number := item["metadata"]["name"].rpartition("-")[2]).isdigit()]
        made = render.migration(self._rendered.plan, max(numbers, default=0) + 1)
        made["metadata"]["labels"] = jobs.labels(self.task)
        self.context.note("forklift", "begun", migration=made["metadata"]["name"])
        self.context.cluster.create(made)
        return made["metadata"]["name"]

    def _cut_over(self, name: str) -> None:
        if not in_window(self.task.settings.windows, datetime.now(UTC)):
            raise Waiting(f"{self.task.name}: copied, Forklift goes on copying what changes; waits for its cutover window")
        self.context.note("forklift", "cutover", migration=name, at=time.time())
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.context.cluster.patch(render.API, "Migration", name, self.task.settings.forklift.namespace, {"spec": {"cutover": now}})
        self.context.say(phase="forklift", message="cutover ordered")


def _line(state: status.VmState, rate: float) -> dict:
    if state.total_bytes:
        return {"event": "progress", "done_bytes": state.done_bytes, "total_bytes": state.total_bytes, "rate_bytes_per_second": max(round(rate), 0)}
    copies = f", {state.precopies} copies done" if state.precopies else ""
    return {"message": f"{state.phase or 'waits for Forklift'}{f' ({state.step})' if state.step else ''}{copies}"}


def _allowed(plan: dict) -> list[str]:
    """The node names that the plan's affinity requires."""
    required = plan["spec"].get("targetAffinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    return [name for term in required.get("nodeSelectorTerms", []) for item in term["matchExpressions"] for name in item["values"]]
