# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DRS rules of vSphere (affinity, anti-affinity, VM-to-host, dependency) and the groups of VMs that they name."""
from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Rule

from .ledger import Node

_KINDS = {"AffinityRuleSpec": "affinity", "AntiAffinityRuleSpec": "anti-affinity"}


def rules(config: Node, ids: Mapping[str, str], names: Mapping[str, str]) -> list[Rule]:
    """Return the enabled rules of one cluster's configurationEx; VMs by estate id, hosts by name.

    A dependency rule names each VM with what it depends on: the first VM of the rule starts after the others.
    """
    groups = {child.attributes.get("name", ""): child for child in config.children if child.tag == "group"}

    def members(name: str, tag: str, table: Mapping[str, str]) -> list[str]:
        group = groups.get(name)
        return sorted(table.get(child.attributes["value"], child.attributes["value"]) for child in group.children if child.tag == tag) if group else []

    out = []
    for rule in (child for child in config.children if child.tag == "rule"):
        values, kind = rule.attributes, rule.attributes.get("type", "")
        name, mandatory = values.get("name", ""), values.get("mandatory") == "true"
        if values.get("enabled", "true") != "true":
            continue
        if kind in _KINDS:
            vms = sorted(ids.get(child.attributes["value"], child.attributes["value"]) for child in rule.children if child.tag == "vm")
            out.append(Rule(name, _KINDS[kind], vms, mandatory=mandatory))
        elif kind == "VmHostRuleInfo":
            against = values.get("antiAffineHostGroupName", "")
            hosts = members(against or values.get("affineHostGroupName", ""), "host", names)
            out.append(Rule(name, "vm-not-host" if against else "vm-host", members(values.get("vmGroupName", ""), "vm", ids), hosts, mandatory))
        elif kind == "DependencyRuleInfo":
            before = members(values.get("dependsOnVmGroup", ""), "vm", ids)
            out += [Rule(f"{name}/{vm}", "dependency", [vm, *before], mandatory=True) for vm in members(values.get("vmGroup", ""), "vm", ids)]
    return out


def groups(config: Node) -> dict[str, list[str]]:
    """Return the names of the VM groups of one cluster's configurationEx by VM."""
    out: dict[str, list[str]] = {}
    for group in sorted((child for child in config.children if child.tag == "group"), key=lambda child: child.attributes.get("name", "")):
        for member in (child for child in group.children if child.tag == "vm"):
            out.setdefault(member.attributes["value"], []).append(group.attributes.get("name", ""))
    return out
