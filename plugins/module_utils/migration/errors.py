# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError


class MigrationError(TandemError):
    """A migration can't go on; the text says which VM, why, and what helps."""


class Held(MigrationError):
    """Another run holds the lease."""


class SourceChanged(MigrationError):
    """What was copied no longer belongs to the source's present state (bitmap lost, disk resized, snapshot taken)."""
