#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: node_cleanup
short_description: Take labels and annotations off all nodes
version_added: 0.1.0
description:
  - Removes what an operator has written on the nodes and left there when it was removed.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.cluster
  - tandem.hybrid.attributes.changing
attributes:
  diff_mode:
    support: none
options:
  names:
    description:
      - Keys of labels and annotations, or domains of keys.
      - A domain stands for every key in it and in the domains under it.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Take off what KubeVirt wrote
  tandem.hybrid.node_cleanup:
    names:
      - kubevirt.io
      - cpumanager
"""

RETURN = r"""
nodes:
  description: The keys that were taken off each node which had some.
  returned: success
  type: dict
  sample:
    worker-1: [kubevirt.io/schedulable]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import CLUSTER, answer
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.manage import clean_nodes


def main():
    names = {"type": "list", "elements": "str", "required": True}
    module = AnsibleModule(argument_spec={**CLUSTER, "names": names}, supports_check_mode=True)
    answer(module, lambda: clean_nodes(module.params, check=module.check_mode))


if __name__ == "__main__":
    main()
