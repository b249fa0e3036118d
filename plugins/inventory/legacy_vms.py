# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
name: legacy_vms
short_description: Legacy VMs as an inventory
version_added: 0.1.0
description:
  - Makes a host of each legacy VM, from an Estate document or straight from the sources, with groups by operating system, source, concern
    and wave, so that tasks before and after a migration can run inside the guests.
  - The configuration file ends in C(legacy_vms.yml) or C(legacy_vms.yaml).
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - ansible.builtin.constructed
options:
  plugin:
    description: Name of the plugin.
    type: str
    required: true
    choices: [tandem.hybrid.legacy_vms]
  estate:
    description: Path of an Estate document. Either this or O(sources) is needed.
    type: path
  sources:
    description: Sources as in M(tandem.hybrid.legacy_vm_info).
    type: list
    elements: str
    default: []
  plan:
    description: Path of a Plan document; VMs get groups C(wave_N) from it.
    type: path
  prefix:
    description: Text before the names of the groups that the plugin makes itself.
    type: str
    default: ""
"""

EXAMPLES = r"""
# estate.legacy_vms.yml
plugin: tandem.hybrid.legacy_vms
estate: .tandem/estate.json
plan: .tandem/plan.json
compose:
  ansible_host: addresses[0] | default(name)
keyed_groups:
  - key: power_state
    prefix: power
"""

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import commands, hosts


class InventoryModule(BaseInventoryPlugin, Constructable):
    """Legacy VMs as hosts."""

    NAME = "tandem.hybrid.legacy_vms"

    def verify_file(self, path):
        return super().verify_file(path) and path.endswith(("legacy_vms.yml", "legacy_vms.yaml"))

    def parse(self, inventory, loader, path, cache=True):
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        options = {name: self.get_option(name) for name in ("estate", "sources", "plan", "prefix")}
        try:
            found = hosts.hosts(commands.inventory(options), commands.waves(options["plan"]), options["prefix"])
        except TandemError as error:
            raise AnsibleParserError(f"{path}: {error}") from error
        for host in found:
            self._add(host)

    def _add(self, host):
        self.inventory.add_host(host.name)
        for group in host.groups:
            self.inventory.add_group(group)
            self.inventory.add_child(group, host.name)
        for key, value in host.variables.items():
            self.inventory.set_variable(host.name, key, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), host.variables, host.name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), host.variables, host.name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), host.variables, host.name, strict=strict)
