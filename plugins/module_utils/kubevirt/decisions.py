# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a field of the Estate in the VirtualMachine: its meaning is kept (None), it is Changed or Dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import LegacyVm


@dataclass(frozen=True)
class Changed:
    """The field has another value in the manifest."""

    becomes: str
    reason: str


@dataclass(frozen=True)
class Dropped:
    """The field is not in the manifest."""

    reason: str


Outcome: TypeAlias = "Changed | Dropped | None"
Decide = Callable[[LegacyVm, object, str], "Outcome"]


def kept(_vm: LegacyVm, _item: object, _rest: str) -> None:
    """The meaning is kept."""


def dropped(reason: str) -> Decide:
    """Return a decision that always drops."""
    return lambda vm, item, rest: Dropped(reason)


def differs(old: Callable[[LegacyVm, object], object], new: Callable[[LegacyVm, object], object], reason: str) -> Decide:
    """Return a decision that compares the source's value with the manifest's."""

    def decide(vm: LegacyVm, item: object, _rest: str) -> Outcome:
        before, after = str(old(vm, item)), str(new(vm, item))
        return None if before.lower() == after.lower() else Changed(after, reason)

    return decide


def unless(condition: Callable[[LegacyVm, object], object], reason: str) -> Decide:
    """Return a decision that drops the field unless the condition holds."""
    return lambda vm, item, rest: None if condition(vm, item) else Dropped(reason)
