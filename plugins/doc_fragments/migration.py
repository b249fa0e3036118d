# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  plan_src:
    description: The plan, a JSON file as M(tandem.hybrid.placement_plan) writes it.
    type: path
    required: true
  estate_src:
    description: The estate, a JSON file with the legacy VMs.
    type: path
    required: true
  settings:
    description:
      - How to migrate. The keys are the variables of the role P(tandem.hybrid.migration#role) without their prefix C(migration_),
        which documents them. An unknown or ill-typed key is refused.
    type: dict
    default: {}
  progress_dest:
    description: File to which progress is appended, one JSON object a line.
    type: path
"""
