# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Forklift's controller says of its objects: ready, blocked, and how far a VM is."""
from __future__ import annotations

from dataclasses import dataclass

BLOCKING = ("Critical", "Error")
ENDS = {"Succeeded": "succeeded", "Failed": "failed", "Canceled": "canceled"}


@dataclass(frozen=True)
class VmState:
    """How far a VM is; `outcome` is empty while it is on its way, then succeeded, failed or canceled with the reason in `message`.

    `precopies` counts the copies that a warm migration has completed; bytes are of the step that runs.
    """

    phase: str = ""
    step: str = ""
    done_bytes: int = 0
    total_bytes: int = 0
    precopies: int = 0
    outcome: str = ""
    message: str = ""


def ready(obj: dict) -> bool:
    """Tell whether the controller has seen this generation of the object and calls it ready."""
    status = obj.get("status") or {}
    return status.get("observedGeneration", 0) >= obj["metadata"].get("generation", 1) and any(item["type"] == "Ready" for item in _true(status))


def blockers(obj: dict) -> list[str]:
    """Return the sentences of what keeps this generation of the object from ever being ready.

    What only waits for another object (types ending in NotReady) is none, unless it is not supported at all.
    """
    status = obj.get("status") or {}
    if status.get("observedGeneration", 0) < obj["metadata"].get("generation", 1):
        return []
    return [_sentence(item) for item in _true(status) if item.get("category") in BLOCKING
            and (not item["type"].endswith("NotReady") or item.get("reason") == "NotSupported")]


def waits_for(obj: dict) -> str:
    """Return what an object that is not ready waits for."""
    return "; ".join(_sentence(item) for item in _true(obj.get("status") or {}) if item.get("category") in (*BLOCKING, "Warn")) \
        or "its controller has not looked at it"


def vm_state(migration: dict, reference: dict) -> VmState:
    """Return how far the VM of a Migration is; `reference` is its entry in the plan's spec."""
    status = migration.get("status") or {}
    for vm in status.get("vms") or []:
        if all(vm.get(key) == value for key, value in reference.items()):
            return _vm(vm, _outcome(vm) or _outcome(status), status)
    outcome = _outcome(status)
    blocked = [_sentence(item) for item in _true(status) if item.get("category") in BLOCKING]
    return VmState(outcome=outcome or ("failed" if blocked else ""), message="; ".join(blocked) or _ending(status, outcome))


def _vm(vm: dict, outcome: str, status: dict) -> VmState:
    steps = vm.get("pipeline") or []
    running = next((step for step in steps if step.get("started") and not step.get("completed")), {})
    progress = running.get("progress") or {}
    unit = 2**20 if (running.get("annotations") or {}).get("unit") == "MB" else 0  # steps that don't copy count other things
    errors = [f"{entry.get('name') or entry['error'].get('phase', '')}: {'; '.join(entry['error'].get('reasons') or ['no reason given'])}"
              for entry in (*steps, {**vm, "name": ""}) if entry.get("error")]
    if errors and vm.get("completed") and not outcome:
        outcome = "failed"
    message = "; ".join(dict.fromkeys(errors)) or _ending(vm, outcome) or _ending(status, outcome)
    return VmState(str(vm.get("phase", "")), str(running.get("name", "")), int(progress.get("completed", 0)) * unit, int(progress.get("total", 0)) * unit,
                   int((vm.get("warm") or {}).get("successes", 0)), outcome, message)


def _true(status: dict) -> list[dict]:
    return [item for item in status.get("conditions") or [] if str(item.get("status")).lower() == "true"]


def _outcome(status: dict) -> str:
    """Return how it ended; a failure or cancellation outweighs a success."""
    found = {ENDS[item["type"]] for item in _true(status) if item["type"] in ENDS}
    return next((name for name in ("failed", "canceled", "succeeded") if name in found), "")


def _ending(status: dict, outcome: str) -> str:
    return "; ".join(_sentence(item) for item in _true(status) if outcome and ENDS.get(item["type"]) == outcome)


def _sentence(item: dict) -> str:
    items = f" ({', '.join(map(str, item['items']))})" if item.get("items") else ""
    advice = f"; {item['suggestion']}" if item.get("suggestion") else ""
    return f"{item['type']}: {item.get('message') or item.get('reason') or 'no message'}{items}{advice}"
