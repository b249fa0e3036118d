# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which VMs may go next: dependencies, caps, cutover windows and the failure budget."""
from __future__ import annotations

from collections import Counter
from datetime import datetime

from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import Caps, VmTask, Window


def startable(waiting: list[VmTask], running: list[VmTask], accepted: set[str], caps: Caps, depends: dict[str, list[str]]) -> list[VmTask]:
    """The waiting VMs that may start now, in order, so that no cap is passed; `depends` names VMs that must be accepted first."""
    use = Counter()
    for task in running:
        use.update(_places(task))
    chosen = []
    for task in waiting:
        places = _places(task)
        if all(name in accepted for name in depends.get(task.name, [])) and all(
                not _cap(caps, kind) or use[kind, name] < _cap(caps, kind) for kind, name in places):
            use.update(places)
            chosen.append(task)
    return chosen


def _places(task: VmTask) -> set[tuple[str, str]]:
    host = task.vm.host or task.vm.source
    return {("total", ""), ("per_host", host), ("per_node", task.node), ("per_link", f"{host} {task.node}"),
            *(("per_datastore", name) for name in task.vm.datastores)}


def _cap(caps: Caps, kind: str) -> int:
    return getattr(caps, kind)


def dependencies(rules: list, tasks: list[VmTask]) -> dict[str, list[str]]:
    """VM name to the VMs it waits for, from the estate's dependency rules (the first VM of a rule needs the others); refuses a cycle."""
    names = {task.vm.name: task.name for task in tasks} | {task.vm.id: task.name for task in tasks} | {task.name: task.name for task in tasks}
    needs: dict[str, list[str]] = {}
    for rule in rules:
        if rule.kind == "dependency":
            first, *others = [names.get(vm, "") for vm in rule.vms]
            if first:
                needs.setdefault(first, []).extend(name for name in others if name)
    _refuse_cycle(needs)
    return needs


def _refuse_cycle(needs: dict[str, list[str]]) -> None:
    state: dict[str, int] = {}

    def visit(name: str, path: list[str]) -> None:
        if state.get(name) == 2:
            return
        if state.get(name) == 1:
            raise MigrationError(f"the VMs {' -> '.join([*path[path.index(name):], name])} wait for each other; remove one dependency rule")
        state[name] = 1
        for other in needs.get(name, []):
            visit(other, [*path, name])
        state[name] = 2

    for name in sorted(needs):
        visit(name, [])


def in_window(windows: list[Window], now: datetime) -> bool:
    """Whether a cutover may start now (UTC); always when no window is given."""
    minute = now.hour * 60 + now.minute
    for window in windows:
        start, until = _minutes(window.start), _minutes(window.until)
        if start <= minute < until if start < until else (minute >= start or minute < until):
            return True
    return not windows


def _minutes(text: str) -> int:
    hours, colon, minutes = text.partition(":")
    if not (colon and hours.isdigit() and minutes.isdigit() and int(hours) < 24 and int(minutes) < 60):
        raise MigrationError(f"cutover window {text!r}: expected HH:MM in UTC, such as 22:30")
    return int(hours) * 60 + int(minutes)


def budget_spent(failures: int, failure_budget: int) -> bool:
    """Whether a wave has to stop: more VMs failed than the budget allows."""
    return failures > failure_budget
