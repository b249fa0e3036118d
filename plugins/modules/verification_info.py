#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: verification_info
short_description: Sum up a Verification document
version_added: 0.1.0
description:
  - Reads the document that the check modules fill. With O(must_pass) a check that did not pass is an error that names it.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.attributes.reading
options:
  src:
    description: Path of the Verification document.
    type: path
    required: true
  must_pass:
    description: Whether every check has to have passed.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Stop unless everything was found in order
  tandem.hybrid.verification_info:
    src: .tandem/verification.json
    must_pass: true
"""

RETURN = r"""
passed:
  description: Number of checks that passed.
  returned: success
  type: int
failed:
  description: The checks that did not, one sentence each.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import files
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.verification import Verification


def main():
    module = AnsibleModule(
        argument_spec={"src": {"type": "path", "required": True}, "must_pass": {"type": "bool", "default": False, "no_log": False}},
        supports_check_mode=True,
    )
    try:
        checks = files.read(Verification, module.params["src"]).checks
    except TandemError as error:
        module.fail_json(msg=str(error))
    bad = [f"{check.name} {check.subject}: {check.sentence}" for check in checks if not check.ok]
    if bad and module.params["must_pass"]:
        module.fail_json(msg=f"{len(bad)} of {len(checks)} checks did not pass: {'; '.join(bad)}")
    module.exit_json(changed=False, passed=len(checks) - len(bad), failed=bad)


if __name__ == "__main__":
    main()
