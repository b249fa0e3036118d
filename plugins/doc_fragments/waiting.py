# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  wait:
    description:
      - Whether to wait until the objects are ready.
      - In check mode nothing is waited for.
    type: bool
  timeout_seconds:
    description:
      - How long to wait, in seconds. On giving up, the message says which object is not ready, which pod holds it up, and why.
    type: int
"""
