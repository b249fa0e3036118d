#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: placement_demand
short_description: Join legacy VMs, models and policies into one Demand
version_added: 0.1.0
description:
  - VMs come from an Estate document, with what their launcher pods will request; models from Demand documents of
    M(tandem.hybrid.model_sizing_info); rules and policies from O(policy).
  - VMs that a concern blocks are left out and named.
  - Affinity, anti-affinity and dependency rules of the source are translated; rules that bind VMs to hosts of the source are named in
    RV(host_rules), as these hosts have no counterpart in the cluster.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.attributes
options:
  estate_src:
    description: Path of the Estate document.
    type: path
  models_src:
    description: Paths of Demand documents with models.
    type: list
    elements: path
    default: []
  policy:
    description:
      - Has the keys C(workloads) (what you wish for a workload, by its name), C(affinities), C(spreads), C(licenses) and C(policy), each
        with the fields of the Demand document, C(docs/schemas/demand.json). An unknown field is an error.
    type: dict
    default: {}
  namespace:
    description: Namespace of the VMs.
    type: str
    default: ""
  dest:
    description: Path to write the Demand document to.
    type: path
    required: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  platform:
    support: full
"""

EXAMPLES = r"""
- name: Join VMs and models
  tandem.hybrid.placement_demand:
    estate_src: .tandem/estate.json
    models_src: [.tandem/models.json]
    namespace: legacy
    policy:
      workloads:
        orders: {priority: 100}
        assistant: {after: [orders]}
      affinities:
        - {name: databases-apart, workloads: [db-1, db-2]}
      policy:
        failover: [{min_priority: 100}]
    dest: .tandem/demand.json
"""

RETURN = r"""
workloads:
  description: Names of the workloads.
  returned: success
  type: list
  elements: str
left_out:
  description: One sentence for each VM that a concern blocks.
  returned: success
  type: list
  elements: str
host_rules:
  description: Names of the source's rules that bind VMs to hosts.
  returned: success
  type: list
  elements: str
digest:
  description: Digest of the document.
  returned: success
  type: str
dest:
  description: Where the document is.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import answer
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.command import write_demand


def main():
    module = AnsibleModule(
        argument_spec={
            "estate_src": {"type": "path"},
            "models_src": {"type": "list", "elements": "path", "default": []},
            "policy": {"type": "dict", "default": {}},
            "namespace": {"type": "str", "default": ""},
            "dest": {"type": "path", "required": True},
        },
        required_one_of=[["estate_src", "models_src"]],
        supports_check_mode=True,
    )
    answer(module, lambda: write_demand(**module.params, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
