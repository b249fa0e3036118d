# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""migrate_directly.py VARIABLES: what the role migration has its module do, without Ansible around it, which costs most of a small run's time."""
from __future__ import annotations

import json
import pathlib
import sys

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.calls import migrate
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import Settings


def main():
    variables = json.loads(pathlib.Path(sys.argv[1]).read_text())
    folder = pathlib.Path(variables["tandem_directory"])
    known = {f"migration_{name}": name for name in Settings.__dataclass_fields__}
    try:
        migrate({"plan_src": str(folder / "plan.json"), "estate_src": str(folder / "estate.json"), "kubeconfig": variables["tandem_kubeconfig"],
                 "context": None, "wave": None, "vms": [], "progress_dest": str(folder / "migration-progress.jsonl"),
                 "journal_dest": str(folder / "journal.json"),
                 "settings": {known[name]: value for name, value in variables.items() if name in known}}, check=False)
    except TandemError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
