# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/forklift.md: every rule of Forklift has a concern that exists, or a reason why it needs none."""
from __future__ import annotations

import pathlib
import re
from collections import Counter

from ansible_collections.tandem.hybrid.plugins.module_utils.intake import concerns

PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "forklift.md"
ROWS = re.findall(r"^\| (\w+/\w+) \| ([^|]+) \| ([^|]*)\|$", PAGE.read_text(), re.MULTILINE)


def test_every_rule_has_a_concern_or_a_reason():
    for rule, names, reason in ROWS:
        if names.strip() == "-":
            assert reason.strip(), f"{rule}: neither a concern nor a reason"
        else:
            assert not reason.strip() and set(re.split(r", ", names.strip())) <= set(concerns.BY_ID), f"{rule}: {names}"


def test_the_list_is_whole():
    """The numbers of rule files in Forklift's folders, without debug, rules_version and validate."""
    assert Counter(rule.partition("/")[0] for rule, _names, _reason in ROWS) == {"vmware": 38, "ovirt": 39, "ova": 8, "openstack": 19, "hyperv": 13}
    assert len({rule for rule, _names, _reason in ROWS}) == len(ROWS) == 117
