# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan with one field changed, for every field."""
from __future__ import annotations

import copy
import dataclasses

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import DocumentError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan

PROSE = {"reason", "notes", "engine", "sentence", "relaxation", "conflict", "utilisation", "capacity_digest", "demand_digest", "api_version"}
# A change of these can make another plan that holds: fewer nodes to fail over to, another free slot, another layout of an idle GPU.
ANOTHER_PLAN = {("assignments", "eligible"), ("assignments", "devices", "slot"), ("settings", "mig")}


def changed(plan):
    """Yield (path without places and keys, broken plan)."""
    data = _data(plan)
    for path, value in _leaves(data):
        broken = copy.deepcopy(data)
        part = broken
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = value
        try:
            made = codec.load(Plan, broken)
        except DocumentError:
            continue
        names = tuple(name for name in path if isinstance(name, str))
        yield names[:names.index("mig") + 1] if "mig" in names else names, made


def _data(value):
    if dataclasses.is_dataclass(value):
        return {field.name: _data(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _data(item) for key, item in value.items()}
    return [_data(item) for item in value] if isinstance(value, list) else value


def _leaves(data, path=()):
    if isinstance(data, dict):
        for name, value in data.items():
            if name not in PROSE and (path or name != "kind"):
                yield from _leaves(value, (*path, name))
    elif isinstance(data, list):
        for place, value in enumerate(data):
            yield from _leaves(value, (*path, place))
        if data:
            yield path, data[1:]
            yield path, [*data, data[0]]
    elif isinstance(data, bool):
        yield path, not data
    elif isinstance(data, (int, float)):
        yield path, data + 1
        yield path, data - 1
    elif isinstance(data, str):
        yield path, data + "x"
