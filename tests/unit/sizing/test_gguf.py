# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.from_gguf import from_headers
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.gguf import read_header
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.huggingface import from_config
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.model import SizingError

from . import ggufs

SMALL = ggufs.decoder("llama", 2, 64, 128, 4, 2, 32)
MINIMUM = {"general.architecture": "llama", "llama.block_count": 1, "llama.embedding_length": 64, "llama.attention.head_count": 4}


def model_of(raw):
    return from_headers([read_header(io.BytesIO(raw).read, "m.gguf")], "m.gguf")


def refused(raw):
    with pytest.raises(SizingError) as caught:
        model_of(raw)
    assert str(caught.value).startswith("m.gguf: ")
    return str(caught.value)


def test_a_small_model():
    model = model_of(SMALL)
    assert (model.architecture, model.heads, model.kv_heads, len(model.layers), model.vocabulary) == ("llama", 4, 2, 2, 32)


def test_a_long_array_is_walked_and_not_kept():
    header = read_header(io.BytesIO(ggufs.gguf({"ids": [1] * 5000, "scores": [0.5] * 4}, [])).read, "m.gguf")
    assert header.metadata == {"ids.length": 5000, "scores": [0.5] * 4}


def test_a_stream_may_give_less_than_asked():
    raw = io.BytesIO(SMALL)
    assert read_header(lambda size: raw.read(min(size, 3)), "m.gguf").tensors


@pytest.mark.parametrize(("metadata", "message"), [
    ({}, "'general.architecture' is missing"),
    (MINIMUM | {"general.architecture": 7}, "'general.architecture': expected text, got '7'"),
    (MINIMUM | {"llama.block_count": 0}, "llama.block_count: expected 1 to 4096, got 0"),
    (MINIMUM | {"llama.block_count": "many"}, "'llama.block_count': expected a whole number, got 'many'"),
    (MINIMUM | {"llama.attention.head_count": 0}, "must be positive, got 64 and 0"),
    (MINIMUM | {"llama.attention.head_count": [4, 4]}, "'llama.attention.head_count': expected 1 whole numbers"),
    (MINIMUM | {"split.count": 3}, "the model has 3 parts, 1 given"),
    (MINIMUM | {"llama.ssm.state_size": 16}, "keeps recurrent state"),
    (MINIMUM | {"llama.attention.sliding_window": 8, "llama.attention.sliding_window_pattern": [True, False]}, "expected 1 items, got 2"),
])
def test_bad_metadata(metadata, message):
    assert message in refused(ggufs.gguf(metadata, []))


@pytest.mark.parametrize(("raw", "message"), [
    (b"", "the file ends inside its header, 4 bytes too early"),
    (b"PK\x03\x04" + bytes(60), "it doesn't begin with 'GGUF'"),
    (ggufs.gguf(MINIMUM, [], version=1), "version 1 is not supported"),
    (b"GGUF" + struct.pack(">I", 3) + bytes(16), "big-endian"),
    (b"GGUF" + struct.pack("<IQQ", 3, 2**40, 0), "tensors: 1099511627776 is more than the limit"),
    (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63), "metadata entries"),
    (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**50), "length of a metadata key"),
    (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + ggufs.text("k") + struct.pack("<IIQ", 9, 8, 2**33), "items of 'k'"),
    (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + ggufs.text("k") + struct.pack("<IIQ", 9, 9, 1), "an array of type 9"),
    (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + ggufs.text("k") + struct.pack("<I", 99), "unknown type 99"),
    (ggufs.gguf(MINIMUM, [("t", (32, 32), 77)]), "tensor 't' has type 77"),
    (ggufs.gguf(MINIMUM, [("t", (33,), 8)]), "rows of 33 don't divide into blocks of 32"),
    (ggufs.gguf(MINIMUM, [("t", (1, 1, 1, 1, 1), 0)]), "dimensions of tensor 't'"),
    (ggufs.gguf(MINIMUM, [("t", (2**40, 2**40), 0)]), "elements of tensor 't'"),
])
def test_damaged_headers(raw, message):
    assert message in refused(raw)


def test_a_lying_length_costs_neither_time_nor_memory():
    asked = []

    class Endless:
        def __init__(self):
            self.head = io.BytesIO(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + ggufs.text("k") + struct.pack("<I", 8) + struct.pack("<Q", 2**62))

        def read(self, size):
            asked.append(size)
            return self.head.read(size) or bytes(size)

    start = time.process_time()
    with pytest.raises(SizingError, match="length of the value"):
        read_header(Endless().read, "m.gguf")
    assert max(asked) <= 2**20 and time.process_time() - start < 1


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_end_in_a_model_or_a_sentence(tail):
    for raw in (tail, b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + tail):
        with pytest.raises(SizingError):
            model_of(raw)


@settings(max_examples=200, deadline=None)
@given(st.integers(4, len(SMALL) - 1), st.binary(min_size=1, max_size=8))
def test_a_damaged_file_ends_in_a_model_or_a_sentence(place, patch):
    raw = SMALL[:place] + patch + SMALL[place + len(patch):]
    try:
        assert model_of(raw).weights_bytes >= 0
    except SizingError as error:
        assert str(error)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([
    "model_type", "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size",
    "vocab_size", "sliding_window", "layer_types", "text_config", "dtype"]),
    st.one_of(st.integers(-2, 10**9), st.floats(), st.text(max_size=5), st.none(), st.lists(st.integers()), st.just("llama"), st.booleans())))
def test_any_configuration_ends_in_a_model_or_a_sentence(data):
    import json
    try:
        assert from_config(json.dumps(data).encode(), "config.json").layers
    except SizingError as error:
        assert str(error).startswith("config.json")
