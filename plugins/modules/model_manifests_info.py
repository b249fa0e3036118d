#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: model_manifests_info
short_description: Render model servers as Kubernetes objects
version_added: 0.1.0
description:
  - Makes a Deployment and a Service of each model from the Sizing and the Plan. Requests and limits come from the sizing, devices and node
    affinity from the plan, so that the scheduler binds the pods where they were planned.
  - The objects are rendered only; M(tandem.hybrid.objects) applies them.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.attributes.reading
options:
  models:
    description: The models, as in M(tandem.hybrid.model_sizing_info).
    type: list
    elements: dict
    required: true
  sizing:
    description: Path of the Sizing document.
    type: path
    required: true
  plan:
    description: Path of the Plan document.
    type: path
    required: true
  namespace:
    description: Namespace of the models that name none.
    type: str
    default: default
"""

EXAMPLES = r"""
- name: Render the models
  tandem.hybrid.model_manifests_info:
    models: "{{ inference_models }}"
    sizing: .tandem/sizing.json
    plan: .tandem/plan.json
    namespace: models
  register: rendered
"""

RETURN = r"""
objects:
  description: The objects.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, files
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.manifests import manifests
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.sizing import ServedModel, Sizing


def main():
    module = AnsibleModule(
        argument_spec={
            "models": {"type": "list", "elements": "dict", "required": True},
            "sizing": {"type": "path", "required": True},
            "plan": {"type": "path", "required": True},
            "namespace": {"type": "str", "default": "default"},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        entries = [codec.load(ServedModel, entry, f"models[{number}]") for number, entry in enumerate(options["models"])]
        objects = manifests(entries, files.read(Sizing, options["sizing"]), files.read(Plan, options["plan"]), options["namespace"])
    except TandemError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, objects=objects)


if __name__ == "__main__":
    main()
