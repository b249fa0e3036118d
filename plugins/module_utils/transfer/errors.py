# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures of the room, each with the reason code that the orchestration reads."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError

EXIT_COMPLETE, EXIT_RESUMABLE, EXIT_PERMANENT = 0, 3, 42


class TransferError(TandemError):
    """A failure that running again does not cure; `reason` is a stable code."""

    exit_code = EXIT_PERMANENT

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Resumable(TransferError):
    """A failure after which the same command, run again, goes on where it stopped."""

    exit_code = EXIT_RESUMABLE
