#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: workloads
short_description: Delete workloads that are confirmed by name, and refuse while others exist
version_added: 0.1.0
description:
  - Stands before an uninstall. It looks for objects of the given kinds, whoever created them.
  - If there is none, it does nothing. If each one is confirmed by name, it deletes them and waits until they are gone. If there
    is any other, it deletes nothing and fails with their names.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.cluster
  - tandem.hybrid.attributes.changing
attributes:
  diff_mode:
    support: none
options:
  kinds:
    description:
      - Kinds of objects that are workloads. A kind that the cluster does not know has none.
      - An object owned by one of another listed kind goes with its owner and need not be confirmed.
    type: list
    elements: dict
    required: true
    suboptions:
      api_version:
        description: Group and version of the kind, the group in full.
        type: str
        required: true
      kind:
        description: The kind.
        type: str
        required: true
      label_selector:
        description: Only objects with these labels count.
        type: str
  namespace:
    description: Only objects in this namespace count. Without it those of all namespaces do.
    type: str
  confirmed:
    description: Objects that may be deleted, each as C(namespace/name).
    type: list
    elements: str
    default: []
  confirmed_variable:
    description: Name of the variable for O(confirmed), for the message.
    type: str
    default: confirmed
  timeout_seconds:
    description: How long to wait until the objects are gone, in seconds.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Refuse while virtual machines exist, but for one
  tandem.hybrid.workloads:
    kinds:
      - api_version: kubevirt.io/v1
        kind: VirtualMachine
      - api_version: kubevirt.io/v1
        kind: VirtualMachineInstance
    confirmed:
      - test/scratch
"""

RETURN = r"""
objects:
  description: The objects that were deleted.
  returned: success
  type: list
  elements: dict
  sample:
    - {api_version: kubevirt.io/v1, kind: VirtualMachine, name: scratch, namespace: test, action: deleted}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import CLUSTER, answer
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.manage import drop_workloads


def main():
    kind = {
        "api_version": {"type": "str", "required": True},
        "kind": {"type": "str", "required": True},
        "label_selector": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec={
            **CLUSTER,
            "kinds": {"type": "list", "elements": "dict", "required": True, "options": kind},
            "namespace": {"type": "str"},
            "confirmed": {"type": "list", "elements": "str", "default": []},
            "confirmed_variable": {"type": "str", "default": "confirmed"},
            "timeout_seconds": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    answer(module, lambda: drop_workloads(module.params, check=module.check_mode))


if __name__ == "__main__":
    main()
