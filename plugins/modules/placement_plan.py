#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: placement_plan
short_description: Plan where VMs and AI containers run together, with a proof
version_added: 0.1.0
description:
  - Reads a Capacity and a Demand document and computes a Plan; node, GPU and MIG slots of every workload, waves of moves, what happens
    when a node fails, and for each level of the objective its value, its proven bound and the gap.
  - An independent checker verifies the plan; a plan that it rejects is not written.
  - The same documents give the same bytes.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.attributes.changing
options:
  capacity_src:
    description: Path of the Capacity document.
    type: path
    required: true
  demand_src:
    description: Path of the Demand document.
    type: path
    required: true
  dest:
    description: Path to write the Plan document to.
    type: path
    required: true
  engine:
    description:
      - V(auto) uses OR-Tools for problems small enough for a complete proof where it is installed, and pure Python else. Where a larger
        problem is short of room, workloads without rules are packed by compiled code if numba is installed.
      - V(core) uses pure Python only.
      - V(exact) fails if OR-Tools is missing.
    type: str
    choices: [auto, core, exact]
    default: auto
  require_all:
    description: Fail, writing nothing, when a workload has no place or a restart after a failure is lost.
    type: bool
    default: false
  why:
    description: Name of a workload or a node; RV(why) tells why it is planned as it is.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Plan VMs and models together
  tandem.hybrid.placement_plan:
    capacity_src: .tandem/capacity.json
    demand_src: .tandem/demand.json
    dest: .tandem/plan.json
  register: plan

- name: Show the plan
  ansible.builtin.debug:
    var: plan.lines
"""

RETURN = r"""
summary:
  description: Counts, digest, engine and the levels of the objective.
  returned: success
  type: dict
  sample: {placed: 5, unplaced: 0, digest: "sha256:0a1b"}
lines:
  description: The plan as text.
  returned: success
  type: list
  elements: str
why:
  description: The answer to O(why), line by line.
  returned: success
  type: list
  elements: str
dest:
  description: Where the plan is.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import answer
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.command import plan


def main():
    module = AnsibleModule(
        argument_spec={
            "capacity_src": {"type": "path", "required": True},
            "demand_src": {"type": "path", "required": True},
            "dest": {"type": "path", "required": True},
            "engine": {"type": "str", "choices": ["auto", "core", "exact"], "default": "auto"},
            "require_all": {"type": "bool", "default": False},
            "why": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    answer(module, lambda: plan(**module.params, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
