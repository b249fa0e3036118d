#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: in_cluster_check
short_description: Run a check as a Job inside the cluster
version_added: 0.1.0
description:
  - Runs a small Python script in a hardened, short-lived Job, so that it sees services as other pods see them, and returns the JSON object
    that it leaves. The Job and its ConfigMap are removed again, also when the module is killed.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.cluster
  - tandem.hybrid.check
  - tandem.hybrid.check.job
  - tandem.hybrid.attributes.reading
options:
  name:
    description: Name of the check, also the beginning of the Job's name.
    type: str
    required: true
  subject:
    description: The workload that is checked.
    type: str
    required: true
  arguments:
    description: Arguments of the script.
    type: list
    elements: str
    default: []
  timeout_seconds:
    description: How long to wait for the result.
    type: int
    default: 180
"""

EXAMPLES = r"""
- name: Does the model answer?
  tandem.hybrid.in_cluster_check:
    name: completion
    subject: assistant
    script: files/smoke.py
    arguments: [http://assistant.models.svc, assistant]
    image: registry.example.com/python:3
    namespace: models
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
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import CHECK, CHECK_JOB, CLUSTER, answer
from ansible_collections.tandem.hybrid.plugins.module_utils.verification import checks


def main():
    module = AnsibleModule({
        **CLUSTER,
        **CHECK,
        **CHECK_JOB,
        "name": {"type": "str", "required": True},
        "subject": {"type": "str", "required": True},
        "arguments": {"type": "list", "elements": "str", "default": []},
        "timeout_seconds": {"type": "int", "default": 180},
    }, supports_check_mode=True)
    answer(module, lambda: checks.in_cluster(module.params, module.check_mode))


if __name__ == "__main__":
    main()
