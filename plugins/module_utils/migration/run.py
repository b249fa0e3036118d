# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run: the VMs of one wave, as many at once as the caps allow, until all are done or the failure budget is spent."""
from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Estate
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import Journal
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import certificates, delegated, source_libvirt, waves
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.delegated import Delegated
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import Held, MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.fence import RunLock
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.hypervisor import Host
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.journal_store import JournalStore
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import FORKLIFT, LABELS, Settings, VmTask, tasks
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.phases import Context, Migration, Waiting
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.plan_steps import describe, progress
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.progress import Progress
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.recheck import recheck, why_not
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.rollback import loss, needed, rollback
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.source_file import FileSource
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.source_vsphere import VsphereSource

PORTS = 16


@dataclass
class Outcome:
    """What a run did: per VM its state (accepted, waiting, failed, rolled back, not started), and the sentences of failures."""

    changed: bool = False
    states: dict[str, dict] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


class Run:
    """One connection, one journal, one lease: everything a module call works with."""

    def __init__(self, cluster: Cluster, plan: Plan, estate: Estate, settings: Settings, progress_path: str = ""):
        self.cluster, self.settings, self.estate = cluster, settings, estate
        self.tasks = tasks(plan, estate, settings)
        self._index = {task.name: number for number, task in enumerate(self.tasks)}
        self._progress = Progress(progress_path)
        self._connections: dict[str, object] = {}

    def chosen(self, wave: int | None, names: list[str]) -> list[VmTask]:
        """The VMs of a wave (all when None), or those named; raises MigrationError for an unknown name."""
        unknown = sorted(set(names) - set(self._index))
        if unknown:
            raise MigrationError(f"{unknown[0]}: no VM of this name in plan and estate; there are {', '.join(sorted(self._index)) or 'none'}")
        return [task for task in self.tasks if (wave is None or task.wave == wave) and (not names or task.name in names)]

    def steps(self, chosen: list[VmTask]) -> dict[str, list[str]]:
        """What is left to do for each VM; reads the journal, touches nothing."""
        events = self._journal().events
        steps = {task.name: describe(task, progress(events, task.name)) for task in chosen}
        delegated.require(self.cluster, self._delegated([task for task in chosen if steps[task.name]]))
        return steps

    def changes(self, chosen: list[VmTask]) -> list[dict]:
        """What the Forklift objects of the VMs that are not accepted would change, as diffs."""
        events = self._journal().events
        return [change.diff for task in self._delegated(chosen) if not progress(events, task.name).accepted
                for change in delegated.changes(self.cluster, task)]

    def migrate(self, chosen: list[VmTask], plan_digest: str) -> Outcome:
        """Migrate the VMs; raises Held when another run is at work."""
        journal = self._journal()
        outcome = Outcome(states={task.name: {"state": "accepted"} for task in chosen if progress(journal.events, task.name).accepted})
        waiting = [task for task in chosen if task.name not in outcome.states]
        if not waiting:
            return self._summed(outcome, journal)
        depends = waves.dependencies(self.estate.rules, self.tasks)
        delegated.require(self.cluster, self._delegated(waiting))
        own = [task for task in waiting if task.engine != FORKLIFT]
        if not self._has_namespace():
            self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.settings.namespace, "labels": LABELS}})
        with RunLock(self.cluster, self.settings.namespace, self.settings.lease_seconds) as lock:
            journal = self._journal()
            outcome.changed = True
            self._progress.say("", event="started", pid=os.getpid())
            journal.append("", "run", "started", {"plan": plan_digest, "holder": lock.holder, "vms": [task.name for task in waiting]})
            hosts = self._hosts(own)
            if own:
                certificates.ensure(self.cluster, self.settings, hosts)
            self._work(waiting, journal, lock, outcome, depends)
            if all(progress(journal.events, task.name).accepted for task in self.tasks):
                certificates.remove(self.cluster, self.settings, hosts)
            journal.append("", "run", "done", {"states": {name: item["state"] for name, item in outcome.states.items()}})
        return self._summed(outcome, journal)

    def _work(self, waiting: list[VmTask], journal: JournalStore, lock: RunLock, outcome: Outcome, depends: dict) -> None:
        running: dict[Future, VmTask] = {}
        with ThreadPoolExecutor(max_workers=max(len(waiting), 1)) as pool:
            while waiting or running:
                accepted = {task.name for task in self.tasks if progress(journal.events, task.name).accepted}
                stop = waves.budget_spent(len(outcome.failures), self.settings.failure_budget)
                for task in [] if stop else waves.startable(waiting, list(running.values()), accepted, self.settings.caps, depends):
                    waiting.remove(task)
                    running[pool.submit(self._one, task, journal, lock, outcome)] = task
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    running.pop(future)
                    future.result()
        for task in waiting:
            outcome.states[task.name] = {"state": "not started"}

    def _one(self, task: VmTask, journal: JournalStore, lock: RunLock, outcome: Outcome) -> None:
        context = None
        try:
            context = self._context(task, journal, lock.check)
            (Delegated if task.engine == FORKLIFT else Migration)(context).run()
            outcome.states[task.name] = {"state": "accepted"}
        except Waiting as error:
            outcome.states[task.name] = {"state": "waiting", "message": str(error)}
        except Held as error:
            outcome.states[task.name] = {"state": "failed", "message": str(error)}
            outcome.failures.append(str(error))
        except TandemError as error:
            self._failed(task, context, error, outcome)

    def _failed(self, task: VmTask, context: Context | None, error: TandemError, outcome: Outcome) -> None:
        outcome.failures.append(str(error))
        outcome.states[task.name] = {"state": "failed", "message": str(error)}
        self._progress.say(task.name, event="failed", message=str(error))
        if context is None:
            return
        context.note(context.state().next, "failed", message=str(error))
        stopped = "quiesce" in context.state().done
        if stopped and task.settings.rollback_on_failure and not loss(context):
            rollback(context, False, str(error))
            outcome.states[task.name]["state"] = "rolled back"

    def roll_back(self, chosen: list[VmTask], accept_loss: list[str]) -> Outcome:
        """Put the VMs back on their sources; raises MigrationError, before anything is touched, for a loss that was not accepted."""
        outcome = Outcome()
        if not self._has_namespace():
            raise MigrationError(f"namespace {self.settings.namespace} does not exist; nothing was migrated there")
        with RunLock(self.cluster, self.settings.namespace, self.settings.lease_seconds) as lock:
            journal = self._journal()
            contexts = [self._context(task, journal, lock.check) for task in chosen]
            for context in contexts:
                if context.task.engine == FORKLIFT:
                    Delegated(context).must_be_on_its_way()
                    continue
                lost = loss(context)
                if lost and context.task.name not in accept_loss:
                    raise MigrationError(f"{context.task.name}: a rollback loses {lost}; name it in accept_loss to go on")
            for context in contexts:
                done = Delegated(context).cancel() if context.task.engine == FORKLIFT else rollback(
                    context, context.task.name in accept_loss, "asked for by the operator")
                outcome.states[context.task.name] = {"state": "rolled back" if done else "on its source"}
                outcome.changed |= done
        return outcome

    def recheck(self, chosen: list[VmTask], check: bool) -> Outcome:
        """Compare stored disks with their manifests; VMs that have run since are said to be skipped, with the reason."""
        outcome = Outcome()
        events = self._journal().events
        reasons = {task.name: why_not(progress(events, task.name)) for task in chosen}
        outcome.states = {name: {"state": "skipped", "message": reason} for name, reason in reasons.items() if reason}
        todo = [task for task in chosen if not reasons[task.name]]
        if check or not todo:
            return outcome
        with RunLock(self.cluster, self.settings.namespace, self.settings.lease_seconds) as lock:
            journal = self._journal()
            certificates.ensure(self.cluster, self.settings, [])
            for task in todo:
                try:
                    roots = recheck(self._context(task, journal, lock.check), task.settings.copy_timeout_seconds)
                    outcome.states[task.name] = {"state": "identical", "roots": roots}
                except MigrationError as error:
                    outcome.states[task.name] = {"state": "different", "message": str(error)}
                    outcome.failures.append(str(error))
        return outcome

    def to_roll_back(self, chosen: list[VmTask]) -> list[VmTask]:
        """Those of the VMs that are not on their source."""
        journal = self._journal()
        return [task for task in chosen if needed(self._context(task, journal, lambda: None))]

    def journal_document(self, plan_digest: str) -> Journal:
        """The journal as it stands in the cluster."""
        return self._journal().document(plan_digest)

    def _context(self, task: VmTask, journal: JournalStore, check: Callable[[], None]) -> Context:
        return Context(self.cluster, task, journal, self._source(task), self.settings.exporter_port + PORTS * self._index[task.name], check,
                       lambda **data: self._progress.say(task.name, **data))

    def _source(self, task: VmTask):
        if task.engine == FORKLIFT:
            return None
        if not Host.is_libvirt(task.vm.source):
            if task.vm.source.startswith("vsphere://"):
                return VsphereSource(task, Host(""), lambda **data: self._progress.say(task.name, **data))
            if "://" in task.vm.source:
                raise MigrationError(f"{task.name}: disks of {task.vm.source} are not copied by Tandem; export the VM as an OVA and assess that, or"
                                     " move it with Forklift")
            return FileSource(task, Host(""))
        if task.vm.source not in self._connections:
            self._connections[task.vm.source] = source_libvirt.connect(task.vm.source)
        connection, host = self._connections[task.vm.source], Host(task.vm.source)
        return source_libvirt.LibvirtSource(connection, task.vm.uuid, task.vm.name, host, self.settings.scratch_directory)

    @staticmethod
    def _delegated(chosen: list[VmTask]) -> list[VmTask]:
        return [task for task in chosen if task.engine == FORKLIFT]

    @staticmethod
    def _hosts(chosen: list[VmTask]) -> list[Host]:
        uris = {task.vm.source if Host.is_libvirt(task.vm.source) else "" for task in chosen}
        return [Host(uri) for uri in sorted(uris)]

    def _journal(self) -> JournalStore:
        return JournalStore(self.cluster, self.settings.namespace)

    def _has_namespace(self) -> bool:
        return self.cluster.get("v1", "Namespace", self.settings.namespace) is not None

    @staticmethod
    def _summed(outcome: Outcome, journal: JournalStore) -> Outcome:
        for name, item in outcome.states.items():
            state = progress(journal.events, name)
            found = state.done.get("check", {})
            item |= {"next": state.next, **{key: found[key] for key in ("node", "downtime_seconds", "predicted_seconds") if found.get(key) is not None}}
        return outcome
