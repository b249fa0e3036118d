# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.installation import (
    Settings,
    cdi,
    hyperconverged,
    kubevirt,
)


def kubevirt_objects(settings):
    """The KubeVirt and CDI resources for the settings."""
    return _objects(lambda: [kubevirt(Settings.of(settings)), cdi(Settings.of(settings))])


def hyperconverged_objects(settings, api_version):
    """The HyperConverged resource for the settings."""
    return _objects(lambda: [hyperconverged(Settings.of(settings), api_version)])


def _objects(make):
    try:
        return make()
    except (TandemError, TypeError) as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self):
        return {"kubevirt_objects": kubevirt_objects, "hyperconverged_objects": hyperconverged_objects}
