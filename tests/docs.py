# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make docs`: the JSON Schemas of the documents into docs/schemas, one file each, and docs/concerns.md from the rules."""
from __future__ import annotations

import json
import pathlib

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import capacity, codec, demand, estate, journal, plan, verification
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import concern_rules, concerns
from ansible_collections.tandem.hybrid.plugins.module_utils.report.model import Report
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.sizing import Sizing

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "docs" / "schemas"
DOCUMENTS = (estate.Estate, capacity.Capacity, demand.Demand, plan.Plan, journal.Journal, verification.Verification, Sizing, Report)


def schemas() -> dict[str, str]:
    """Return file name to text of every document's JSON Schema."""
    return {f"{cls.__name__.lower()}.json": json.dumps(codec.schema(cls), indent=2, sort_keys=True) + "\n" for cls in DOCUMENTS}


def concern_page() -> str:
    """Return docs/concerns.md: what each concern means and what to do about it."""
    head = ("# Concerns\n\nWhat `playbooks/assess.yml` can say of a legacy VM. A VM with a *block* stays out of the plan until its remedy is applied;\n"
            "*warn* needs a decision; *inform* is good to know. Made from `plugins/module_utils/intake/concern_rules.py` by `make docs`.\n\n")
    return head + "\n".join(concerns.explain(rule.id) for rule in concern_rules.RULES)


if __name__ == "__main__":
    (FOLDER.parent / "concerns.md").write_text(concern_page())
    for name, text in schemas().items():
        (FOLDER / name).write_text(text)
        print(FOLDER / name)
