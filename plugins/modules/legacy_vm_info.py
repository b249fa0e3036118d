#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: legacy_vm_info
short_description: Read legacy VMs from libvirt, vSphere, OVA, OVF and VMX
version_added: 0.1.0
description:
  - Reads virtual machines from files and addresses into one Estate document. Every field of every source is accounted for in its ledger,
    as mapped, changed, dropped with a reason, or unknown; what a person has to know or decide is told as concerns.
  - Sources are only read. A disk inside an OVA is left where it is; its place in the archive is noted.
  - A source that can't be read, or an archive whose checksums are wrong, fails the module; nothing is written then.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.attributes.changing
options:
  sources:
    description:
      - Where the VMs are, each one a file that ends in C(.xml) (libvirt domain XML), C(.ova), C(.ovf) or C(.vmx); a folder of such files;
        a libvirt address such as C(qemu:///system) or C(qemu+ssh://root@host/system); or C(vsphere://host).
      - Libvirt addresses need libvirt-python on the host that runs the module, vSphere needs pyVmomi.
    type: list
    elements: str
    required: true
  names:
    description: Read only the VMs with these names; every one has to exist.
    type: list
    elements: str
    default: []
  dest:
    description: Path of the Estate document to write. Without it, nothing is written.
    type: path
  accept_unknown:
    description: Patterns of fields that Tandem does not know and that may be dropped, as ledger paths without root and indices
      (C(*) stands for one step, C(**) for any).
    type: list
    elements: str
    default: []
  disk_bytes:
    description: Sizes in bytes of disks whose source does not state them, by C(vm/disk) or C(disk).
    type: dict
    default: {}
  disk_buses:
    description: Buses (V(virtio), V(scsi), V(sata), V(usb)) for disks whose guest lacks the driver of the usual one, by C(vm/disk) or C(disk).
      Windows from VMware gets SATA disks and e1000e adapters without being told.
    type: dict
    default: {}
  device_ids:
    description: C(vendor:product) of passed-through PCI devices by their address at the source, which libvirt's XML does not state.
    type: dict
    default: {}
  username:
    description: User of vSphere. Environment variable E(VSPHERE_USER) where it is not given.
    type: str
    default: ""
  password:
    description: Password of vSphere. Environment variable E(VSPHERE_PASSWORD) where it is not given.
    type: str
    default: ""
  validate_certs:
    description: Verify the certificate of vSphere.
    type: bool
    default: true
  ca_file:
    description: Authorities in PEM that signed the certificate of vSphere. Those of the system where it is not given.
    type: path
"""

EXAMPLES = r"""
- name: Assess two libvirt domains and an OVA
  tandem.hybrid.legacy_vm_info:
    sources:
      - qemu:///system
      - /srv/export/crm.ova
    dest: .tandem/estate.json
  register: estate

- name: Read a domain XML whose GPU is known by its address only
  tandem.hybrid.legacy_vm_info:
    sources: [report.xml]
    device_ids: {"0000:3b:00.0": "10de:2330"}
    disk_bytes: {"report/vda": 21474836480}
"""

RETURN = r"""
vms:
  description: One row for each VM, without ledger lines.
  returned: success
  type: list
  elements: dict
  sample:
    - name: orders
      target_name: orders
      vcpus: 2
      memory_bytes: 2147483648
      disks: 1
      ledger: {mapped: 41, changed: 3, dropped: 22, unknown: 0}
      concerns: [{id: uefi-variables, severity: warn}]
ledger:
  description: Fields of all sources by fate.
  returned: success
  type: dict
  sample: {mapped: 120, changed: 9, dropped: 81, unknown: 0}
concerns:
  description: Concerns of all VMs by severity.
  returned: success
  type: dict
  sample: {block: 0, warn: 4, inform: 7}
blocked:
  description: Names of the VMs that have a blocking concern.
  returned: success
  type: list
  elements: str
unknown:
  description: Ledger paths of the fields that Tandem does not know.
  returned: success
  type: list
  elements: str
table:
  description: The same as lines of text.
  returned: success
  type: list
  elements: str
dest:
  description: Path of the Estate document.
  returned: when O(dest) is given
  type: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tandem.hybrid.plugins.module_utils import arguments
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import commands


def main():
    module = AnsibleModule(
        argument_spec={
            "sources": {"type": "list", "elements": "str", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
            "dest": {"type": "path"},
            "accept_unknown": {"type": "list", "elements": "str", "default": []},
            "disk_bytes": {"type": "dict", "default": {}},
            "disk_buses": {"type": "dict", "default": {}},
            "device_ids": {"type": "dict", "default": {}},
            "username": {"type": "str", "default": ""},
            "password": {"type": "str", "default": "", "no_log": True},
            "validate_certs": {"type": "bool", "default": True},
            "ca_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    options = dict(module.params)
    options["username"] = options["username"] or os.environ.get("VSPHERE_USER", "")
    options["password"] = options["password"] or os.environ.get("VSPHERE_PASSWORD", "")
    arguments.answer(module, lambda: commands.survey(options, module.check_mode, module._diff))


if __name__ == "__main__":
    main()
