# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a copy is asked to do and what it did."""
from __future__ import annotations

from dataclasses import dataclass, field

from .connection import Endpoint
from .disk_journal import FULL
from .pull import Limit


@dataclass(frozen=True)
class CopyJob:
    """What to copy where; the fields are the options of the command line."""

    endpoint: Endpoint
    target: str
    state: str
    disk: str
    source_id: str
    generation: str
    mode: str = FULL
    base: str = ""
    bitmap: str = ""
    supersede: bool = False
    expected_bytes: int = 0
    threads: int = 4
    wait_seconds: float = 0.0
    retry_seconds: float = 60.0
    limit: Limit = field(default_factory=Limit)


@dataclass
class CopyResult:
    """Figures of a run, also of one that failed."""

    size_bytes: int = 0
    chunk_bytes: int = 0
    root: str = ""
    resumed: str = ""                   # "", "partly" or "complete"
    planned_bytes: int = 0              # of chunks with data
    resumed_bytes: int = 0
    copied_bytes: int = 0
    written_bytes: int = 0
    missing_bytes: int = 0
    source_errors: int = 0
    wait_seconds: float = 0.0
    copy_seconds: float = 0.0
