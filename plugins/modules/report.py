#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: report
short_description: Make the report of a run
version_added: 0.1.0
description:
  - Joins the documents of a run into one report, as JSON with a stable schema, as one self-contained HTML page, as JUnit XML and as a table for
    the terminal. Equal documents give equal bytes; nothing but the documents is read.
  - It has changed if an outcome has. When checks were made again with the same outcome, their new times and figures are written but are no change.
author:
  - The Tandem maintainers (@tandem-hybrid)
extends_documentation_fragment:
  - tandem.hybrid.attributes.changing
options:
  plan:
    description: Path of the Plan document.
    type: path
    required: true
  capacity:
    description: Path of the Capacity document that the plan was made from.
    type: path
    required: true
  estate:
    description: Path of the Estate document; left out if there is none.
    type: path
  journal:
    description: Path of the Journal document; left out if there is none.
    type: path
  sizing:
    description: Path of the Sizing document; left out if there is none.
    type: path
  verification:
    description: Path of the Verification document; left out if there is none.
    type: path
  title:
    description: Heading of the report.
    type: str
    default: Tandem report
  json_dest:
    description: Path of the report as JSON.
    type: path
  html_dest:
    description: Path of the report as a page.
    type: path
  junit_dest:
    description: Path of the report as JUnit XML.
    type: path
"""

EXAMPLES = r"""
- name: Make the report
  tandem.hybrid.report:
    plan: .tandem/plan.json
    capacity: .tandem/capacity.json
    estate: .tandem/estate.json
    html_dest: .tandem/report.html
"""

RETURN = r"""
lines:
  description: The summary table, line by line; it is printed as well.
  returned: success
  type: list
  elements: str
html:
  description: Where the page is.
  returned: when O(html_dest) is given
  type: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, files
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Estate
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import Journal
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.verification import Verification
from ansible_collections.tandem.hybrid.plugins.module_utils.report.compose import compose, outcomes
from ansible_collections.tandem.hybrid.plugins.module_utils.report.junit import junit
from ansible_collections.tandem.hybrid.plugins.module_utils.report.model import Report
from ansible_collections.tandem.hybrid.plugins.module_utils.report.page import page
from ansible_collections.tandem.hybrid.plugins.module_utils.report.table import table
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.sizing import Sizing

OPTIONAL = {"estate": Estate, "journal": Journal, "sizing": Sizing, "verification": Verification}
DESTINATIONS = {"json_dest": codec.pretty, "html_dest": page, "junit_dest": junit}


def earlier(path):
    try:
        return outcomes(files.read(Report, path)) if path else None
    except TandemError:  # absent, or of another version: it is made anew
        return None


def main():
    paths = {name: {"type": "path"} for name in (*OPTIONAL, *DESTINATIONS)}
    module = AnsibleModule(
        argument_spec={**paths, "plan": {"type": "path", "required": True}, "capacity": {"type": "path", "required": True},
                       "title": {"type": "str", "default": "Tandem report"}},
        supports_check_mode=True,
    )
    options = module.params
    try:
        optional = {name: files.read(cls, options[name]) for name, cls in OPTIONAL.items() if options[name] and os.path.exists(options[name])}
        report = compose(files.read(Plan, options["plan"]), files.read(Capacity, options["capacity"]), title=options["title"], **optional)
        targets = {name: options[name] for name in DESTINATIONS if options[name]}
        same = all(map(os.path.exists, targets.values())) and earlier(options["json_dest"]) == outcomes(report)
        changed = [name for name, path in targets.items() if files.write(path, DESTINATIONS[name](report), module.check_mode)]
        changed = [] if same else changed
    except TandemError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(changed), lines=table(report).splitlines(), html=options["html_dest"],
                     diff=[{"before_header": options[name], "after_header": options[name], "prepared": f"{options[name]} is made anew\n"} for name in changed])


if __name__ == "__main__":
    main()
