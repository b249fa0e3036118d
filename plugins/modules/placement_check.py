#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: placement_check
short_description: Say whether a plan still holds on today's capacity, and what drifted
version_added: 0.1.0
description:
  - Verifies a Plan against a Capacity and a Demand with a checker that shares no code with the planner.
  - Also says which nodes and workloads of the capacity differ from those that the plan was made for, when O(planned_capacity_src) is given.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.attributes.reading
options:
  capacity_src:
    description: Path of the Capacity document of today.
    type: path
    required: true
  demand_src:
    description: Path of the Demand document.
    type: path
    required: true
  plan_src:
    description: Path of the Plan document.
    type: path
    required: true
  planned_capacity_src:
    description: Path of the Capacity document that the plan was made for.
    type: path
  fail:
    description: Whether a plan that does not hold fails the task.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Check the plan before it is carried out
  tandem.hybrid.placement_check:
    capacity_src: .tandem/capacity.json
    demand_src: .tandem/demand.json
    plan_src: .tandem/plan.json
"""

RETURN = r"""
holds:
  description: Whether the plan holds.
  returned: success
  type: bool
violations:
  description: One sentence for each thing that does not hold.
  returned: success
  type: list
  elements: str
drift:
  description: One sentence for each difference of the documents from those that the plan was made for.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import answer
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.command import verify


def main():
    module = AnsibleModule(
        argument_spec={
            "capacity_src": {"type": "path", "required": True},
            "demand_src": {"type": "path", "required": True},
            "plan_src": {"type": "path", "required": True},
            "planned_capacity_src": {"type": "path"},
            "fail": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    answer(module, lambda: verify(**module.params))


if __name__ == "__main__":
    main()
