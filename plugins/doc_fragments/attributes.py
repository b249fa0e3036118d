# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what would change without changing anything.
  diff_mode:
    description: Returns what has changed, or would change, when in diff mode.
  idempotent:
    description: A second run with the same options changes nothing.
  platform:
    description: Where the module can run.
    platforms: posix
"""

    CHANGING = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return what would change without changing anything.
  diff_mode:
    support: full
    description: Returns what has changed, or would change, when in diff mode.
  idempotent:
    support: full
    description: A second run with the same options changes nothing.
  platform:
    support: full
    description: Where the module can run.
    platforms: posix
"""

    READING = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode); it changes nothing in any case.
  diff_mode:
    support: N/A
    description: Changes nothing, so there is no difference to show.
  idempotent:
    support: full
    description: A second run with the same options changes nothing.
  platform:
    support: full
    description: Where the module can run.
    platforms: posix
"""
