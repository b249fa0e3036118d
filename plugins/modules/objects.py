#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: objects
short_description: Apply or remove a list of Kubernetes objects
version_added: 0.1.0
description:
  - Applies objects by server-side apply with the field manager C(tandem), or removes them, whatever their kinds.
  - The objects may come in any order. Namespaces and CustomResourceDefinitions go first, custom resources last,
    and definitions are waited for until the cluster serves their kinds. Removing goes the other way round.
  - Before the first object is written, the server works out the change of each in a dry run. A mistake or a conflict in
    any object, unknown fields included, is reported and nothing is written. Objects that do not change are not written.
  - Every object that the module creates carries the labels C(app.kubernetes.io/managed-by=tandem) and
    C(tandem.hybrid/component). Objects that existed before are changed but not labelled, and O(state=absent) keeps them.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.cluster
  - tandem.hybrid.waiting
  - tandem.hybrid.attributes.changing
options:
  state:
    description:
      - V(present) applies the objects.
      - V(absent) deletes those of the objects that Tandem created and waits until they are gone. A kind that the cluster
        does not know is fine.
    type: str
    choices: [present, absent]
    default: present
  definition:
    description: The objects. An object of kind C(List) stands for its items.
    type: list
    elements: dict
  src:
    description:
      - Manifests with one or more objects each, in YAML or JSON.
      - Each is a file, a folder (every C(.yaml), C(.yml) and C(.json) file in it) or a URL.
    type: list
    elements: str
  component:
    description:
      - Value of the label C(tandem.hybrid/component) on what is created, such as the name of a role.
      - With O(state=absent) and neither O(definition) nor O(src), every object of the cluster which carries this component's
        labels is deleted.
    type: str
  namespace:
    description: Namespace of the objects that name none and need one. Without it C(default).
    type: str
  force_conflicts:
    description:
      - Whether to take over fields that belong to other field managers.
      - Otherwise such a conflict is an error that names the fields and their owners.
    type: bool
    default: false
  yield_to:
    description:
      - Field managers to which fields are left that belong to them.
      - An operator, for example, may maintain the definition that its own manifest brings.
    type: list
    elements: str
    default: []
  owned_only:
    description: Whether O(state=absent) keeps objects that do not carry Tandem's labels.
    type: bool
    default: true
  wait:
    default: false
  timeout_seconds:
    default: 300
seealso:
  - module: tandem.hybrid.ready
"""

EXAMPLES = r"""
- name: Install an operator from its release manifest
  tandem.hybrid.objects:
    src:
      - https://github.com/kubevirt/kubevirt/releases/download/v1.8.4/kubevirt-operator.yaml
    component: kubevirt

- name: Apply a namespace and what is in it
  tandem.hybrid.objects:
    component: shop
    wait: true
    definition:
      - apiVersion: v1
        kind: Namespace
        metadata:
          name: shop
      - apiVersion: v1
        kind: ConfigMap
        metadata:
          name: prices
          namespace: shop
        data:
          currency: EUR

- name: Remove everything that was created for the component
  tandem.hybrid.objects:
    state: absent
    component: shop
"""

RETURN = r"""
objects:
  description: What happened to each object, in the order in which it happened.
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
    action:
      description: C(created), C(changed), C(unchanged), C(deleted), C(absent) or C(kept) (not created by Tandem).
      type: str
  sample:
    - {api_version: v1, kind: Namespace, name: shop, namespace: null, action: created}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import CLUSTER, answer, waiting
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.manage import manage


def main():
    module = AnsibleModule(
        argument_spec={
            **CLUSTER,
            **waiting(wait=False, timeout_seconds=300),
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "definition": {"type": "list", "elements": "dict"},
            "src": {"type": "list", "elements": "str"},
            "component": {"type": "str"},
            "namespace": {"type": "str"},
            "force_conflicts": {"type": "bool", "default": False},
            "yield_to": {"type": "list", "elements": "str", "default": []},
            "owned_only": {"type": "bool", "default": True},
        },
        required_if=[
            ("state", "present", ("definition", "src"), True),
            ("state", "absent", ("definition", "src", "component"), True),
        ],
        supports_check_mode=True,
    )
    answer(module, lambda: manage(module.params, check=module.check_mode, diff=module._diff))


if __name__ == "__main__":
    main()
