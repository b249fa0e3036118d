#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_artifacts
short_description: Build the programs and images of a lab, once
version_added: 0.1.0
description:
  - Has the named artefacts of the role P(tandem.hybrid.lab#role) in a cache outside the checkout, and returns where they are.
  - An artefact is built when the cache lacks it, when one of its inputs (sources, module versions, flags, the version of Go)
    has changed, or when a file in the cache is not what was built.
  - The first build of Kubernetes takes 5 to 10 minutes on two cores.
author:
  - The Tandem maintainers (@tandem-hybrid)
options:
  names:
    description: Names of the artefacts, such as V(labkube), V(kwok), V(pause) and V(pause-image).
    type: list
    elements: str
    required: true
  sources:
    description: The C(files) directory of the role lab.
    type: path
    required: true
  cache:
    description: Where artefacts are kept. The default is E(TANDEM_CACHE), else C(~/.cache/tandem).
    type: path
  progress:
    description: A file that gets one line at the start and at the end of each build.
    type: path
notes:
  - On a local connection the builds are shown while the module works.
extends_documentation_fragment:
  - tandem.hybrid.attributes.changing
"""

EXAMPLES = r"""
- name: Build what a control plane consists of
  tandem.hybrid.lab_artifacts:
    names: [labkube, kwok]
    sources: "{{ role_path }}/files"
  register: artifacts
"""

RETURN = r"""
paths:
  description: The directory of each artefact by its name.
  returned: success
  type: dict
  sample: {"labkube": "/home/me/.cache/tandem/labkube/1f0c9ab34c2d4b7f8e2a9d1c5b6e7f80"}
built:
  description: The artefacts that were, or in check mode would be, built, and the seconds it took.
  returned: success
  type: dict
  sample: {"labkube": 412.3}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import answer
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.catalogue import ensure


def main():
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "sources": {"type": "path", "required": True},
            "cache": {"type": "path"},
            "progress": {"type": "path"},
        },
        supports_check_mode=True,
    )
    answer(module, lambda: ensure(module.params, module.check_mode))


if __name__ == "__main__":
    main()
