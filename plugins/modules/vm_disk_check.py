#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vm_disk_check
short_description: Compare stored disks of migrated virtual machines with their manifests
version_added: 0.1.0
description:
  - Reads every byte of the copied disks again, in a Job on their node, and compares it with the SHA-256 manifest of the last copy,
    whose digest stands in the journal.
  - That makes sense only as long as the VM has not run on the cluster, such as after a copy that waits for its cutover window or after
    a rollback of a VM that never started. Others are skipped with the reason.
  - Fails with the names of the disks that differ.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.cluster
  - tandem.hybrid.migration
  - tandem.hybrid.attributes.reading
options:
  vms:
    description: Only these VMs, by their names on the cluster.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Are the copied disks still what they were?
  tandem.hybrid.vm_disk_check:
    plan_src: .tandem/plan.json
    estate_src: .tandem/estate.json
    settings: {namespace: shop}
"""

RETURN = r"""
vms:
  description: State of each VM, identical (with the digests of its disks) or skipped (with the reason).
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import CLUSTER, MIGRATION, answer
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import calls


def main():
    module = AnsibleModule({
        **CLUSTER, **MIGRATION,
        "vms": {"type": "list", "elements": "str", "default": []},
    }, supports_check_mode=True)
    answer(module, lambda: calls.recheck(module.params, module.check_mode))


if __name__ == "__main__":
    main()
