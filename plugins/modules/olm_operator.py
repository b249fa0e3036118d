#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: olm_operator
short_description: Subscribe to an operator of the Operator Lifecycle Manager
version_added: 0.1.0
description:
  - Applies the namespace, an OperatorGroup for it (if it has none) and the Subscription, and waits until the ClusterServiceVersion
    (CSV) has succeeded.
  - With O(approval=manual) it approves the InstallPlan that carries the wanted CSV, once the plan asks for it. Later versions then wait
    for a person.
  - O(state=absent) removes the Subscription, if Tandem created it, and the CSV that it installed. The namespace, the group and the
    definitions stay.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.cluster
  - tandem.hybrid.attributes.changing
options:
  state:
    description: Whether the Subscription should exist.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Name of the package, and of the Subscription.
    type: str
    required: true
  namespace:
    description: Namespace of the operator. It watches this namespace, or the cluster if it is made to.
    type: str
    required: true
  component:
    description: Value of the label C(tandem.hybrid/component) on what is created.
    type: str
    required: true
  channel:
    description: Channel of the package.
    type: str
  source:
    description: Name of the CatalogSource.
    type: str
  source_namespace:
    description: Namespace of the CatalogSource.
    type: str
    default: openshift-marketplace
  starting_csv:
    description: Name of the CSV to install first. Without it the channel's head.
    type: str
  approval:
    description: Whether OLM installs new versions by itself.
    type: str
    choices: [automatic, manual]
    default: automatic
  timeout_seconds:
    description: How long to wait for the CSV, in seconds.
    type: int
    default: 900
"""

EXAMPLES = r"""
- name: Subscribe to NVIDIA's GPU operator
  tandem.hybrid.olm_operator:
    name: gpu-operator-certified
    namespace: nvidia-gpu-operator
    component: gpu_operator
    channel: v26.7
    source: certified-operators
  register: operator
"""

RETURN = r"""
objects:
  description: What happened to each object.
  returned: success
  type: list
  elements: dict
  sample:
    - {api_version: operators.coreos.com/v1alpha1, kind: Subscription, name: gpu-operator-certified, namespace: nvidia-gpu-operator, action: created}
csv:
  description: Name of the CSV, null in check mode on a cluster that does not have it.
  returned: success
  type: str
  sample: gpu-operator-certified.v26.7.0
examples:
  description: The custom resources that the CSV suggests, by kind.
  returned: success
  type: dict
  sample:
    ClusterPolicy: {apiVersion: nvidia.com/v1, kind: ClusterPolicy, metadata: {name: gpu-cluster-policy}, spec: {}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import CLUSTER, answer
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.manage import olm_operator


def main():
    module = AnsibleModule(
        argument_spec={
            **CLUSTER,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str", "required": True},
            "component": {"type": "str", "required": True},
            "channel": {"type": "str"},
            "source": {"type": "str"},
            "source_namespace": {"type": "str", "default": "openshift-marketplace"},
            "starting_csv": {"type": "str"},
            "approval": {"type": "str", "choices": ["automatic", "manual"], "default": "automatic"},
            "timeout_seconds": {"type": "int", "default": 900},
        },
        required_if=[("state", "present", ("channel", "source"))],
        supports_check_mode=True,
    )
    answer(module, lambda: olm_operator(module.params, check=module.check_mode, diff=module._diff))


if __name__ == "__main__":
    main()
