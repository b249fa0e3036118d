#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: cluster_capacity_info
short_description: Read what a cluster has and what already uses it
version_added: 0.1.0
description:
  - Lists nodes, pods, virtual machine instances, claims, volumes and (where served) ResourceSlices, ClusterPolicy and
    NodeResourceTopology, one paginated list per kind, and writes them as a Capacity document for M(tandem.hybrid.placement_plan).
  - GPUs come from what the device plugins advertise and from the labels of GPU feature discovery. Which device of several a pod holds
    is not told by Kubernetes, so holders are counted onto devices in order.
  - Needs the rights of the ClusterRole C(tandem-planner), which the role P(tandem.hybrid.plan#role) ships.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.cluster
  - tandem.hybrid.attributes
options:
  dest:
    description: Path to write the Capacity document to; without it the document is returned.
    type: path
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
- name: Read the cluster
  tandem.hybrid.cluster_capacity_info:
    dest: .tandem/capacity.json
"""

RETURN = r"""
nodes:
  description: Number of nodes.
  returned: success
  type: int
gpus:
  description: Number of GPUs.
  returned: success
  type: int
running:
  description: Number of pods and virtual machines that use the cluster.
  returned: success
  type: int
modes:
  description: GPU mode by node.
  returned: success
  type: dict
  sample: {lab-1: mig-mixed, lab-2: vm-passthrough}
digest:
  description: Digest of the document.
  returned: success
  type: str
dest:
  description: Where the document is.
  returned: success
  type: str
capacity:
  description: The document, when O(dest) is not given.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import CLUSTER, answer
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.capacity_reader import capacity_info


def main():
    module = AnsibleModule(argument_spec={**CLUSTER, "dest": {"type": "path"}}, supports_check_mode=True)
    answer(module, lambda: capacity_info(module.params, check=module.check_mode))


if __name__ == "__main__":
    main()
