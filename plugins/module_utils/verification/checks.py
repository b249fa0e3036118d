# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the check modules call: options in, the outcome as a module's result out, and into the Verification document."""
from __future__ import annotations

from collections.abc import Callable

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster, connect
from ansible_collections.tandem.hybrid.plugins.module_utils.documents import files
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.verification import notes, residence
from ansible_collections.tandem.hybrid.plugins.module_utils.verification.jobs import Script, read_script, run
from ansible_collections.tandem.hybrid.plugins.module_utils.verification.live_migration import move_under_load

WRITER_GRACE_SECONDS = 180


def in_cluster(options: dict, check_mode: bool) -> dict:
    """Run a script in the cluster."""
    script = _script(options, options["name"], options["subject"], options["arguments"], options["timeout_seconds"])
    return _ran(options, check_mode, options["name"], options["subject"], lambda cluster: run(cluster, script))


def live_migration(options: dict, check_mode: bool) -> dict:
    """Move a virtual machine live while a script writes to it."""
    arguments = [options["url"], str(options["client_seconds"])]
    script = _script(options, "writer", options["vm"], arguments, options["client_seconds"] + WRITER_GRACE_SECONDS)
    return _ran(options, check_mode, "live-migration", options["vm"],
                lambda cluster: move_under_load(cluster, script, options["vm"], options["hops"], options["timeout_seconds"], _home(options)))


def workloads(options: dict, check_mode: bool) -> dict:
    """Compare where workloads run with the plan."""
    plan = files.read(Plan, options["plan"])
    checks = residence.look(_cluster(options), plan, options["namespace"])
    return notes.note(None if check_mode else options["dest"], checks, plan)


def _home(options: dict) -> str:
    assignments = files.read(Plan, options["plan"]).assignments if options["plan"] else []
    return next((one.node for one in assignments if one.workload == options["vm"]), "")


def _script(options: dict, name: str, subject: str, arguments: list[str], timeout_seconds: int) -> Script:
    return Script(name, options["namespace"], options["image"], read_script(options["script"]), arguments, timeout_seconds, subject)


def _ran(options: dict, check_mode: bool, name: str, subject: str, work: Callable[[Cluster], dict]) -> dict:
    cluster = _cluster(options)
    if check_mode:
        return {"changed": False, "ok": True, "checks": [], "sentence": "not run in check mode"}
    return notes.note(options["dest"], [notes.from_result(name, subject, work(cluster))])


def _cluster(options: dict) -> Cluster:
    return connect(options["kubeconfig"], options["context"])
