#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_info
short_description: Tell what a lab is made of and whether it runs
version_added: 0.1.0
description:
  - Returns the state of the lab in a directory, its processes and their memory, and its nodes.
author:
  - The Tandem maintainers (@tandem-hybrid)
options:
  directory:
    description: The lab's directory.
    type: path
    required: true
extends_documentation_fragment:
  - tandem.hybrid.attributes.reading
"""

EXAMPLES = r"""
- name: Look at the lab
  tandem.hybrid.lab_info:
    directory: /var/lib/tandem/lab
  register: lab
"""

RETURN = r"""
lab:
  description: State, and where there is a lab its tier, server, nodes and processes (pid 0 is one that has ended).
  returned: success
  type: dict
  sample:
    state: present
    tier: full
    lab_id: 0
    server: https://10.200.0.2:6443
    serving: true
    kubeconfig: /var/lib/tandem/lab/pki/admin.kubeconfig
    kubectl: /var/lib/tandem/lab/bin/kubectl
    nodes: [{"name": "lab-1", "ready": true, "pid": 4711}]
    processes: [{"name": "etcd", "pid": 4242, "memory_bytes": 118000000}]
summary:
  description: The same in a few lines for people.
  returned: success
  type: list
  elements: str
  sample: ["lab 0, tier full: https://10.200.0.2:6443 serves", "nodes: lab-1 Ready, lab-2 Ready"]
missing_packages:
  description: Debian packages of which a full lab needs programs that this machine lacks.
  returned: success
  type: list
  elements: str
  sample: [containerd, runc]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import answer
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.status import info


def main():
    module = AnsibleModule(argument_spec={"directory": {"type": "path", "required": True}}, supports_check_mode=True)
    answer(module, lambda: info(module.params))


if __name__ == "__main__":
    main()
