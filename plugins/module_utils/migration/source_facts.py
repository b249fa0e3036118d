# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every kind of source tells of a VM before it is moved."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceDisk:
    """A disk as the hypervisor has it now: `target` is its name in the guest's definition, `path` the file or device behind it."""

    target: str
    path: str
    format: str
    size_bytes: int


@dataclass(frozen=True)
class SourceFacts:
    """What matters of a domain before it is moved; `warm_refused` says why it can only be copied while it is off."""

    running: bool
    autostart: bool
    fenced: bool
    disks: tuple[SourceDisk, ...]
    warm_refused: str = ""
