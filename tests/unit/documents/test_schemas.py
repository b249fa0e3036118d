# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import importlib.util
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_the_published_schemas_are_those_of_the_code():
    specification = importlib.util.spec_from_file_location("docs", ROOT / "tests" / "docs.py")
    docs = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(docs)
    for name, text in docs.schemas().items():
        assert (ROOT / "docs" / "schemas" / name).read_text() == text, f"docs/schemas/{name} is stale: run make docs"
