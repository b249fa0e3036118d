#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_source
short_description: Run legacy VMs beside the lab, or take them away
version_added: 0.1.0
description:
  - Runs a libvirt of the lab's own with the guests C(orders), an order service with a hash-chained ledger, and C(report), which has a GPU by
    passthrough and is off. A third guest, C(crm), is an idle one of VMware's kind, as an OVA file.
  - The machine's own libvirt, if there is any, is not touched.
  - A guest that was set up before is left as it is, running or not, because a migration may have stopped it for good.
author:
  - The Tandem maintainers (@tandem-hybrid)
options:
  state:
    description: Whether the source is there. V(absent) ends its guests at once and removes their disks.
    type: str
    choices: [present, absent]
    default: present
  directory:
    description: The directory of the lab, which has to be one of the tier C(full).
    type: path
    required: true
  sources:
    description: The C(files) directory of the role lab. Needed for O(state=present).
    type: path
    default: ""
  guests:
    description: The directory of the artefact C(legacy-guests), as M(tandem.hybrid.lab_artifacts) returns it. Needed for O(state=present).
    type: path
    default: ""
extends_documentation_fragment:
  - tandem.hybrid.attributes.changing
"""

EXAMPLES = r"""
- name: Run the legacy VMs
  tandem.hybrid.lab_source:
    directory: /var/lib/tandem/lab
    sources: "{{ role_path }}/files"
    guests: "{{ artifacts.paths['legacy-guests'] }}"
  register: source
"""

RETURN = r"""
steps:
  description: What was, or in check mode would be, done.
  returned: success
  type: list
  elements: str
  sample: [start libvirtd of the source, define orders and start it]
source:
  description: What C(source.json) in the lab's directory holds.
  returned: when O(state=present)
  type: dict
  sample:
    uri: qemu+unix:///system?socket=/var/lib/tandem/lab/source/run/libvirt/libvirt-sock
    address: 10.200.0.1
    certificates: /var/lib/tandem/lab/source/certificates
    ova: /var/lib/tandem/lab/source/disks/crm.ova
    guests: {orders: {url: "http://10.200.0.1:8081"}, report: {url: "http://10.200.0.1:8082"}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import answer
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.source_lifecycle import ensure


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "directory": {"type": "path", "required": True},
            "sources": {"type": "path", "default": ""},
            "guests": {"type": "path", "default": ""},
        },
        required_if=[("state", "present", ["sources", "guests"])],
        supports_check_mode=True,
    )
    answer(module, lambda: ensure(module.params, module.check_mode))


if __name__ == "__main__":
    main()
