#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vm_migration
short_description: Migrate the virtual machines of a plan's wave onto the cluster
version_added: 0.1.0
description:
  - Takes every VM of a wave through its phases. A running libvirt VM is copied while it runs, until the predicted downtime
    fits its budget, then stopped, copied to the end, compared byte by byte, and started on its planned node.
    A stopped VM (libvirt, vSphere) or disk files (OVA, qcow2, VMDK, raw) are copied cold.
  - Where the boot disk comes to another controller, the copied disk is looked at before the cutover. A guest without the driver gets SATA disks
    and e1000e network interfaces, is refused, or is converted by virt-v2v (C(unfit_guest) in O(settings)).
  - VMs of vSphere that run, and of oVirt, are moved by Forklift on the cluster, from objects that are made of the plan and followed to their end.
  - What was done stands in a hash-chained journal in ConfigMaps of the namespace. A run that was killed anywhere is continued
    by the next one. A second run at the same time is refused by a Lease.
  - Source and target never run at once. The target is fenced by a ValidatingAdmissionPolicy until its cutover, the source by a
    disk in its definition that cannot exist, and each fence is tried before it is trusted.
  - Prints its progress while it works, and appends it to O(progress_dest).
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.cluster
  - tandem.hybrid.migration
  - tandem.hybrid.attributes.changing
options:
  wave:
    description: The wave to migrate. Without it all waves of the plan, one after the other.
    type: int
  vms:
    description: Only these VMs, by their names on the cluster.
    type: list
    elements: str
    default: []
  journal_dest:
    description: File to write the journal to when the run ends, a JSON document.
    type: path
"""

EXAMPLES = r"""
- name: Migrate the first wave
  tandem.hybrid.vm_migration:
    plan_src: .tandem/plan.json
    estate_src: .tandem/estate.json
    wave: 0
    settings:
      namespace: shop
      storage_map: [{source: '*', storage_class: fast}]
      exporter_address: 192.0.2.10
      exporter_certificates: /etc/pki/tandem
      ports: [80]
"""

RETURN = r"""
vms:
  description: State of each VM (accepted, waiting, failed, rolled back, not started), with its node, downtime and prediction in seconds.
  type: dict
  returned: always
steps:
  description: The steps that are left for each VM.
  type: dict
  returned: in check mode
journal:
  description: Path of the journal that was written.
  type: str
  returned: when O(journal_dest) is given
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import CLUSTER, MIGRATION, answer
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import calls


def main():
    module = AnsibleModule({
        **CLUSTER, **MIGRATION,
        "wave": {"type": "int"}, "vms": {"type": "list", "elements": "str", "default": []},
        "journal_dest": {"type": "path"},
    }, supports_check_mode=True)
    answer(module, lambda: calls.migrate(module.params, module.check_mode))


if __name__ == "__main__":
    main()
