#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: helm_release
short_description: Install, upgrade or remove a Helm release
version_added: 0.1.0
description:
  - Installs or upgrades a release when its objects, its values or its status differ from what is wanted. It compares what
    Helm renders with what Helm has installed, so it needs no plugin of Helm.
  - Applies the definitions in the chart's C(crds) folders before each upgrade, as server-side apply by M(tandem.hybrid.objects) does.
    Helm itself installs them once and never upgrades them.
  - A release that an interrupted run has left pending is undone first.
  - O(state=absent) removes only a release that this module has installed for the same O(component). The definitions stay;
    remove them by M(tandem.hybrid.objects) with the component.
  - A chart whose render differs each time, because it makes up passwords or certificates, changes each time.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.cluster
  - tandem.hybrid.attributes.changing
requirements:
  - helm >= 3.14
options:
  state:
    description: Whether the release should exist.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Name of the release.
    type: str
    required: true
  namespace:
    description: Namespace of the release. It must exist.
    type: str
    required: true
  component:
    description: Value of the label C(tandem.hybrid/component) on the release and the definitions.
    type: str
    required: true
  chart:
    description: The chart. Its name in O(repository), an C(oci://) URL, a folder or a packed chart.
    type: str
  repository:
    description: URL of the chart repository.
    type: str
  version:
    description: Version of the chart. Ignored if O(chart) is a folder or a file.
    type: str
  values:
    description: Values for the chart. Whatever was given before is forgotten.
    type: dict
    default: {}
  binary:
    description: The program C(helm), as a path or as a name in E(PATH).
    type: str
    default: helm
  timeout_seconds:
    description: How long removing may take, in seconds.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Install NVIDIA's GPU operator
  tandem.hybrid.helm_release:
    name: gpu-operator
    namespace: gpu-operator
    component: gpu_operator
    chart: gpu-operator
    repository: https://helm.ngc.nvidia.com/nvidia
    version: v26.7.0
    values:
      mig:
        strategy: mixed
"""

RETURN = r"""
action:
  description: What happened to the release. C(created), C(changed), C(unchanged), C(deleted), C(absent) or C(kept) (not installed by Tandem).
  returned: success
  type: str
  sample: created
definitions:
  description: What happened to the chart's definitions.
  returned: success
  type: list
  elements: dict
  sample:
    - {api_version: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, name: clusterpolicies.nvidia.com, namespace: null, action: created}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import CLUSTER, answer
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.manage import release


def main():
    module = AnsibleModule(
        argument_spec={
            **CLUSTER,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str", "required": True},
            "component": {"type": "str", "required": True},
            "chart": {"type": "str"},
            "repository": {"type": "str"},
            "version": {"type": "str"},
            "values": {"type": "dict", "default": {}},
            "binary": {"type": "str", "default": "helm"},
            "timeout_seconds": {"type": "int", "default": 300},
        },
        required_if=[("state", "present", ("chart",))],
        supports_check_mode=True,
    )
    answer(module, lambda: release(module.params, check=module.check_mode, diff=module._diff))


if __name__ == "__main__":
    main()
