#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: live_migration_check
short_description: Move a virtual machine live while a client keeps writing
version_added: 0.1.0
description:
  - Starts a client as a Job inside the cluster, migrates the virtual machine live to another node and, with two hops, back again, ends the
    client and says how many acknowledged rows were lost and how many requests failed and were retried.
  - In check mode nothing is moved and nothing is written.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.cluster
  - tandem.hybrid.check
  - tandem.hybrid.check.job
  - tandem.hybrid.attributes.reading
options:
  vm:
    description: Name of the virtual machine.
    type: str
    required: true
  url:
    description: URL of the service in the virtual machine, as the client sees it.
    type: str
    required: true
  client_seconds:
    description: How long the client writes at most; it ends with the moves, and proves nothing if they take longer.
    type: int
    default: 600
  hops:
    description: How often the virtual machine moves; 2 ends on the node it started from, on a cluster of two nodes.
    type: int
    default: 2
  plan:
    description: Path of a plan. A virtual machine that is not on its planned node, as a check that was killed may leave it, moves once more.
    type: path
  timeout_seconds:
    description: How long one move may take. KubeVirt's nodes look at their machines afresh every five minutes; where they have missed the end of a move,
      its success is known that late.
    type: int
    default: 420
"""

EXAMPLES = r"""
- name: Move the order service while it takes orders
  tandem.hybrid.live_migration_check:
    vm: orders
    url: http://orders.shop.svc
    script: files/writer.py
    image: registry.example.com/python:3
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
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import CHECK, CHECK_JOB, CLUSTER, answer
from ansible_collections.tandem.hybrid.plugins.module_utils.verification import checks


def main():
    module = AnsibleModule({
        **CLUSTER,
        **CHECK,
        **CHECK_JOB,
        "vm": {"type": "str", "required": True},
        "url": {"type": "str", "required": True},
        "client_seconds": {"type": "int", "default": 600},
        "hops": {"type": "int", "default": 2},
        "plan": {"type": "path"},
        "timeout_seconds": {"type": "int", "default": 420},
    }, supports_check_mode=True)
    answer(module, lambda: checks.live_migration(module.params, module.check_mode))


if __name__ == "__main__":
    main()
