# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Verification document on disk, to which every check adds its line."""

from __future__ import annotations

import datetime
import os
from dataclasses import replace

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, files
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.verification import Check, Verification, record


def note(path: str | None, checks: list[Check], plan: Plan | None = None) -> dict:
    """Put checks into the document at `path` (made if absent, nothing written without a path) and return a module's result.

    With a plan, checks of workloads that it doesn't know are dropped and its digest is noted. A record of what was seen is no
    change of what is managed, so `changed` is false.
    """
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")  # noqa: UP017
    stamped = [replace(check, at=now) for check in checks]
    if path:
        before = files.read(Verification, path) if os.path.exists(path) else Verification([])
        after = record(before, stamped)
        if plan:
            known = {one.workload for one in plan.assignments}
            after = Verification([check for check in after.checks if check.subject in known], codec.digest(plan))
        files.write(path, codec.pretty(after))
    bad = [check for check in stamped if not check.ok]
    return {
        "changed": False,
        "ok": not bad,
        "checks": [codec.dump(check) for check in stamped],
        "sentence": "; ".join(f"{check.subject}: {check.sentence}" for check in (bad or stamped)),
    }


def from_result(name: str, subject: str, result: dict) -> Check:
    """Return the check that a script's result stands for."""
    data = {key: value for key, value in result.items() if key not in ("ok", "sentence")}
    return Check(name, subject, result.get("ok") is True, str(result.get("sentence", "no sentence")), data=data)
