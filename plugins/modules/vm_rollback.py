#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vm_rollback
short_description: Put migrated virtual machines back on their sources
version_added: 0.1.0
description:
  - Stops the VM on the cluster and fences it, gives its Lease back, takes the fence off the source and restores its power state and autostart.
  - A VM that has run on the cluster may have written there. Putting it back loses that, so it must be named in O(accept_loss);
    otherwise the module fails, says what would be lost, and touches nothing.
  - The claims with the copied disks stay.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.cluster
  - tandem.hybrid.migration
  - tandem.hybrid.attributes.changing
options:
  vms:
    description: The VMs to put back, by their names on the cluster.
    type: list
    elements: str
    required: true
  accept_loss:
    description: VMs whose writes on the cluster may be lost.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Back to the hypervisor
  tandem.hybrid.vm_rollback:
    plan_src: .tandem/plan.json
    estate_src: .tandem/estate.json
    vms: [orders]
    accept_loss: [orders]
    settings: {namespace: shop}
"""

RETURN = r"""
vms:
  description: State of each VM, rolled back or on its source.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import CLUSTER, MIGRATION, answer
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import calls


def main():
    module = AnsibleModule({
        **CLUSTER, **MIGRATION,
        "vms": {"type": "list", "elements": "str", "required": True},
        "accept_loss": {"type": "list", "elements": "str", "default": []},
    }, supports_check_mode=True)
    answer(module, lambda: calls.roll_back(module.params, module.check_mode))


if __name__ == "__main__":
    main()
