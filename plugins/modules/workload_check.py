#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: workload_check
short_description: Check that workloads run where the plan said
version_added: 0.1.0
description:
  - Compares the nodes and devices of running virtual machines and model servers with a Plan document.
  - Outcomes of workloads that the plan does not know are dropped from O(dest).
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.cluster
  - tandem.hybrid.check
  - tandem.hybrid.attributes.reading
options:
  plan:
    description: Path of the Plan document.
    type: path
    required: true
  namespace:
    description: Namespace to look into; without it all namespaces.
    type: str
"""

EXAMPLES = r"""
- name: Is everything in its place?
  tandem.hybrid.workload_check:
    plan: .tandem/plan.json
    namespace: shop
    dest: .tandem/verification.json
"""

RETURN = r"""
ok:
  description: Whether the check passed. A check that did not pass is no error of the module.
  returned: success
  type: bool
sentence:
  description: What was found.
  returned: success
  type: str
checks:
  description: The lines that were put into the Verification document.
  returned: success
  type: list
  elements: dict
  sample:
    - {name: completion, subject: assistant, ok: true, sentence: answered 12 tokens in 0.9 s, at: "2026-01-01T00:00:00+00:00"}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import CHECK, CLUSTER, answer
from ansible_collections.tandem.hybrid.plugins.module_utils.verification import checks


def main():
    module = AnsibleModule({
        **CLUSTER,
        **CHECK,
        "plan": {"type": "path", "required": True},
        "namespace": {"type": "str"},
    }, supports_check_mode=True)
    answer(module, lambda: checks.workloads(module.params, module.check_mode))


if __name__ == "__main__":
    main()
