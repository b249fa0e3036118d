# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification: what was checked from inside the cluster after the moves, and what came out."""
from __future__ import annotations

from dataclasses import dataclass, field

from .codec import API_VERSION


@dataclass(frozen=True)
class Check:
    """One check: `at` is UTC ISO 8601, `subject` a workload, `data` the figures behind the sentence."""

    name: str
    subject: str
    ok: bool
    sentence: str
    at: str = ""
    data: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification:
    """The latest outcome of every check, sorted by name and subject."""

    checks: list[Check]
    plan_digest: str = ""
    api_version: str = API_VERSION
    kind: str = "Verification"


def record(before: Verification, checks: list[Check]) -> Verification:
    """Return a verification in which `checks` replace those of the same name and subject."""
    new = {(check.name, check.subject): check for check in [*before.checks, *checks]}
    return Verification([new[key] for key in sorted(new)], before.plan_digest)
