# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity, Node
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import DocumentError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, Estate, LegacyVm
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import Journal
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan

DOCUMENTS = [Estate, Capacity, Demand, Plan, Journal]


def estate():
    return Estate(vms=[LegacyVm(name="orders", id="libvirt:1", source="orders.xml", disks=[Disk(id="vda", size_bytes=1 << 30)])])


def test_round_trip_gives_the_same_document_bytes_and_digest():
    document = estate()
    again = codec.loads(Estate, codec.pretty(document), "estate.json")
    assert again == document
    assert codec.canonical_bytes(again) == codec.canonical_bytes(document)
    assert codec.digest(again) == codec.digest(document)


@pytest.mark.parametrize(("change", "sentence"), [
    ({"vms": [{"name": "a", "id": "1", "source": "s", "memory_bytes": "2G"}]}, "estate.json.vms[0].memory_bytes: expected int, got '2G'"),
    ({"vms": [{"name": "a", "id": "1", "source": "s", "nosuch": 1}]}, "estate.json.vms[0].nosuch: unknown field"),
    ({"vms": [{"name": "a", "id": "1"}]}, "estate.json.vms[0].source: missing; expected str"),
    ({"vms": 3}, "estate.json.vms: expected a list, got 3"),
    ({"kind": "Plan"}, "estate.json: kind: expected 'Estate', got 'Plan'"),
    ({"api_version": "v0"}, "estate.json: api_version: expected 'tandem.hybrid/v1', got 'v0'"),
])
def test_bad_documents_name_the_field(change, sentence):
    data = {**codec.dump(estate()), **change}
    with pytest.raises(DocumentError) as caught:
        codec.loads(Estate, json.dumps(data), "estate.json")
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("raw", ["", "[", "NaN", '{"kind": "Estate", "vms": [NaN]}', "[" * 100000, "\x00"])
def test_junk_is_refused_with_a_sentence(raw):
    with pytest.raises(DocumentError, match=r"^estate\.json: "):
        codec.loads(Estate, raw, "estate.json")


@pytest.mark.parametrize("cls", DOCUMENTS)
def test_schema_is_valid_and_refuses_unknown_fields(cls):
    schema = codec.schema(cls)
    jsonschema.Draft202012Validator.check_schema(schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"nosuch": 1}, schema)


def test_schema_accepts_a_dumped_document():
    jsonschema.validate(codec.dump(Capacity(nodes=[Node(name="a", allocatable={"cpu_milli": 1000})])), codec.schema(Capacity))


@given(st.dictionaries(st.text(max_size=8), st.integers(min_value=0, max_value=1 << 62), max_size=4), st.text(max_size=12))
def test_any_node_survives_the_round_trip(allocatable, name):
    document = Capacity(nodes=[Node(name=name, allocatable=allocatable)])
    assert codec.loads(Capacity, codec.canonical_bytes(document), "c") == document
