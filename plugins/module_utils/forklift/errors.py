# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError


class ForkliftError(TandemError):
    """A VM can't be handed to Forklift as asked."""
