# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules call: options in, a small result out."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import connect
from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, files
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Estate
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import Settings
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.run import Outcome, Run


def migrate(options: dict, check: bool) -> dict:
    """Migrate the VMs that the options choose; raises MigrationError with the sentences of all failures."""
    run, plan = _run(options)
    chosen = run.chosen(options["wave"], options["vms"])
    if check:
        steps = {name: found for name, found in run.steps(chosen).items() if found}
        return {"changed": bool(steps), "steps": steps, "vms": {}, "diff": [_diff(steps), *run.changes(chosen)]}
    outcome = Outcome()
    for wave in sorted({task.wave for task in chosen}):
        found = run.migrate([task for task in chosen if task.wave == wave], codec.digest(plan))
        outcome.changed |= found.changed
        outcome.states |= found.states
        outcome.failures += found.failures
        if any(item["state"] != "accepted" for item in found.states.values()):
            break
    if options["journal_dest"]:
        outcome.changed |= files.write(options["journal_dest"], codec.pretty(run.journal_document(codec.digest(plan))))
    if outcome.failures:
        raise MigrationError("; ".join(outcome.failures))
    return {"changed": outcome.changed, "vms": outcome.states, "journal": options["journal_dest"]}


def roll_back(options: dict, check: bool) -> dict:
    """Put VMs back on their sources."""
    run, _plan = _run(options)
    chosen = run.chosen(None, options["vms"])
    if check:
        steps = {task.name: ["stop and fence it on the cluster", "give back the lease", "lift the fence at the source",
                             "restore power state and autostart"] for task in run.to_roll_back(chosen)}
        return {"changed": bool(steps), "vms": {}, "diff": _diff(steps)}
    outcome = run.roll_back(chosen, options["accept_loss"])
    return {"changed": outcome.changed, "vms": outcome.states}


def recheck(options: dict, check: bool) -> dict:
    """Compare stored disks with their manifests; raises MigrationError naming those that differ."""
    run, _plan = _run(options)
    outcome = run.recheck(run.chosen(None, options["vms"]), check)
    if outcome.failures:
        raise MigrationError("; ".join(outcome.failures))
    return {"changed": False, "vms": outcome.states}


def _run(options: dict) -> tuple[Run, Plan]:
    plan, estate = files.read(Plan, options["plan_src"]), files.read(Estate, options["estate_src"])
    settings = codec.load(Settings, options["settings"], "settings")
    return Run(connect(options["kubeconfig"], options["context"]), plan, estate, settings, options["progress_dest"] or ""), plan


def _diff(steps: dict[str, list[str]]) -> dict:
    return {"before": "", "after": "".join(f"{name}\n" + "".join(f"  {step}\n" for step in found) for name, found in steps.items())}
