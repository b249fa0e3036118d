#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: Tell what kind of cluster this is
version_added: 0.1.0
description:
  - Returns the cluster's distribution, versions and nodes.
  - Fails with one sentence if there is no kubeconfig, the cluster does not answer, or it does not accept the credentials.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.cluster
  - tandem.hybrid.attributes.reading
"""

EXAMPLES = r"""
- name: Look at the cluster
  tandem.hybrid.cluster_info:
  register: cluster
"""

RETURN = r"""
distribution:
  description: V(openshift) or V(vanilla).
  returned: success
  type: str
  sample: vanilla
kubernetes_version:
  description: Version of the API server.
  returned: success
  type: str
  sample: v1.34.4
openshift_version:
  description: Version of OpenShift, null elsewhere.
  returned: success
  type: str
  sample: 4.20.1
nodes:
  description: Names of the nodes.
  returned: success
  type: list
  elements: str
  sample: [worker-1, worker-2]
api_groups:
  description: The served versions of each API group, the preferred one first.
  returned: success
  type: dict
  sample:
    apps: [v1]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import CLUSTER, answer
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.manage import info


def main():
    module = AnsibleModule(argument_spec=CLUSTER, supports_check_mode=True)
    answer(module, lambda: info(module.params))


if __name__ == "__main__":
    main()
