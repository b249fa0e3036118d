#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: ready
short_description: Wait until Kubernetes objects are ready
version_added: 0.1.0
description:
  - Waits until each of the objects is ready by the rules of its kind. The rules read generations, versions and reasons,
    so a status from before the last change, or a C(ready) that only says that there is nothing to do, does not count.
  - KubeVirt, CDI and HyperConverged must be deployed in their target version. An NVIDIA ClusterPolicy must be C(Reconciled),
    not ready for want of GPU nodes or of node labels. Deployments, StatefulSets, DaemonSets and Jobs must have rolled out the current
    revision. Nodes must be C(Ready) and offer the resources. Virtual machines must run. Volumes must be bound or filled.
  - Other kinds must have their C(Ready) or C(Available) condition, if they have one, or exist.
  - On giving up it says which object is not ready and why, and which pod, which container and what it says.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.cluster
  - tandem.hybrid.waiting
  - tandem.hybrid.attributes.reading
options:
  objects:
    description: The objects to wait for.
    type: list
    elements: dict
    required: true
    suboptions:
      api_version:
        description: Group and version of the object, the group in full.
        type: str
        required: true
      kind:
        description: Kind of the object.
        type: str
        required: true
      name:
        description: Name of the object.
        type: str
        required: true
      namespace:
        description: Namespace of the object.
        type: str
      version:
        description: Version that an operator must have brought its operands to.
        type: str
      resources:
        description: Amount of each resource that a Node must offer at least.
        type: dict
      phases:
        description:
          - Phases that count as ready in place of those of the kind's rule.
          - For a VirtualMachine values of C(status.printableStatus), for other kinds of C(status.phase).
        type: list
        elements: str
      conditions:
        description: Conditions and their status that count as ready in place of the kind's rule.
        type: dict
  wait:
    default: true
  timeout_seconds:
    default: 600
  progress:
    description: A file that gets a line whenever the reason changes why an object is not ready.
    type: path
notes:
  - On a local connection these lines are shown while the module waits.
seealso:
  - module: tandem.hybrid.objects
"""

EXAMPLES = r"""
- name: Wait for KubeVirt
  tandem.hybrid.ready:
    objects:
      - api_version: kubevirt.io/v1
        kind: KubeVirt
        name: kubevirt
        namespace: kubevirt
        version: v1.8.4

- name: Wait until a node offers two GPUs
  tandem.hybrid.ready:
    timeout_seconds: 900
    objects:
      - api_version: v1
        kind: Node
        name: gpu-1
        resources:
          nvidia.com/gpu: 2
"""

RETURN = r"""
ready:
  description: Whether all objects are ready; false only in check mode or without O(wait).
  returned: success
  type: bool
objects:
  description: The verdict on each object.
  returned: success
  type: list
  elements: dict
  contains:
    api_version:
      description: Group and version of the object.
      type: str
    kind:
      description: Kind of the object.
      type: str
    name:
      description: Name of the object.
      type: str
    namespace:
      description: Namespace of the object, null if it is not in one.
      type: str
    ready:
      description: Whether it is ready.
      type: bool
    reason:
      description: Why it is not, C(ready) if it is.
      type: str
  sample:
    - {api_version: apps/v1, kind: Deployment, name: web, namespace: shop, ready: false, reason: 0 of 1 replicas are available}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import CLUSTER, answer, waiting
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.manage import ready


def main():
    target = {
        "api_version": {"type": "str", "required": True},
        "kind": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
        "namespace": {"type": "str"},
        "version": {"type": "str"},
        "resources": {"type": "dict"},
        "phases": {"type": "list", "elements": "str"},
        "conditions": {"type": "dict"},
    }
    module = AnsibleModule(
        argument_spec={
            **CLUSTER,
            **waiting(wait=True, timeout_seconds=600),
            "objects": {"type": "list", "elements": "dict", "required": True, "options": target},
            "progress": {"type": "path"},
        },
        supports_check_mode=True,
    )
    answer(module, lambda: ready(module.params, check=module.check_mode))


if __name__ == "__main__":
    main()
