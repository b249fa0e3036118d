# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading an object's status: the parts that the rules of readiness are made of. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

OPERATOR_CONDITIONS = {"Available": "True", "Progressing": "False", "Degraded": "False"}


@dataclass(frozen=True)
class Expected:
    """What is expected of one object beyond its kind's own rule; empty fields expect nothing.

    `resources`: least amount of each resource a Node must offer as allocatable. `phases`: accepted values of
    `status.phase` (a VirtualMachine: `status.printableStatus`) in place of the kind's own.
    `conditions`: condition type to status, in place of the kind's own.
    """

    version: str | None = None
    resources: dict[str, str] = field(default_factory=dict)
    phases: tuple[str, ...] = ()
    conditions: dict[str, str] = field(default_factory=dict)


class Failed(Exception):
    """Raised by a rule when the object is in a state it does not leave by itself."""


def status_of(obj: dict) -> dict:
    """The status, empty if nobody has reported one."""
    return obj.get("status") or {}


def generation(obj: dict) -> list[str]:
    """Why the status may speak of an older specification."""
    observed, wanted = status_of(obj).get("observedGeneration"), obj["metadata"].get("generation")
    if observed is not None and wanted is not None and observed < wanted:
        return [f"its controller has seen generation {observed} of {wanted}"]
    return []


def condition(obj: dict, kind: str) -> dict:
    """The condition of that type, empty if there is none."""
    return next((entry for entry in status_of(obj).get("conditions") or [] if entry.get("type") == kind), {})


def conditions(obj: dict, wanted: dict[str, str]) -> list[str]:
    """Which conditions are not as wanted, or speak of an older specification."""
    reasons = []
    for kind, status in wanted.items():
        found = condition(obj, kind)
        seen, now = found.get("observedGeneration"), obj["metadata"].get("generation")
        if found.get("status") != status:
            reasons.append(f"{kind} is {found.get('status', 'not reported')}{because(found)}, not {status}")
        elif seen and now and seen < now:
            reasons.append(f"{kind} speaks of generation {seen}, not of {now}")
    return reasons


def because(found: dict) -> str:
    """` (Reason: message)` of a condition or status, empty if it gives neither."""
    parts = [part for part in (found.get("reason"), found.get("message")) if part]
    return f" ({': '.join(parts)})" if parts else ""


def phase(obj: dict, wanted: tuple[str, ...], failed: tuple[str, ...] = ()) -> list[str]:
    """Why the phase is none of the wanted; Failed if it is one that the object does not leave by itself."""
    status = status_of(obj)
    current = status.get("printableStatus" if obj["kind"] == "VirtualMachine" else "phase") or "not reported"
    if current in wanted:
        return []
    if current in failed:
        detail = next((because(entry) for entry in status.get("conditions") or [] if entry.get("message")), "")
        raise Failed(f"is {current}{detail}")
    return [f"is {current}, not {' or '.join(wanted)}"]


def same_version(observed: str | None, target: str | None, expected: str | None) -> list[str]:
    """Why an operator's operands are not of the version that is expected, or not of its own yet."""
    reasons = []
    if observed != target:
        reasons.append(f"runs version {observed or 'none'} on the way to {target or 'none'}")
    if expected and (target or observed) and (target or observed).lstrip("v") != expected.lstrip("v"):
        reasons.append(f"its operator is of version {target or observed}, not {expected}")
    return reasons
