# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows why objects are not ready while module ready waits."""

from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.action.lab_artifacts import ActionModule

__all__ = ["ActionModule"]
