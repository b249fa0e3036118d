# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import LegacyVm
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, PodRule
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import concerns
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt import maps, render


def to_virtual_machine(vm, namespace="default", networks=None, storage=None, devices=None, assignment=None, instancetype="", preference="",
                       rules=None):
    """Render one VM of an Estate as a VirtualMachine with its claims."""
    try:
        settings = render.Settings(namespace, maps.maps(networks, storage, devices), instancetype, preference)
        place = codec.load(Assignment, assignment, "assignment") if assignment else None
        carried = [codec.load(PodRule, rule, "rules") for rule in rules or []]
        rendered = render.render(codec.load(LegacyVm, vm, "vm"), settings, place, carried)
    except TandemError as error:
        raise AnsibleFilterError(f"to_virtual_machine: {error}") from error
    return {"virtual_machine": rendered.virtual_machine, "claims": rendered.claims,
            "permitted_host_devices": rendered.permitted_host_devices, "feature_gates": rendered.feature_gates}


def explain_concern(name):
    """Return what a concern means, as lines."""
    try:
        return [line for line in concerns.explain(str(name)).splitlines() if line]
    except TandemError as error:
        raise AnsibleFilterError(f"explain_concern: {error}") from error


class FilterModule:
    """Filters that turn legacy VMs into KubeVirt objects, and explain what was found about them."""

    def filters(self):
        return {"to_virtual_machine": to_virtual_machine, "explain_concern": explain_concern}
