# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables hold what llama-server 0.7.0 and vLLM 0.32.0 reported when they loaded the models."""
from __future__ import annotations

import io
import json

import pytest

from ansible_collections.tandem.hybrid.plugins.module_utils.sizing import memory
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.from_gguf import from_headers
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.gguf import read_header
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.huggingface import from_config
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.memory import LlamaCache
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.model import SizingError

from . import ggufs

SMOLLM2 = {"model_type": "llama", "num_hidden_layers": 30, "hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3,
           "intermediate_size": 1536, "vocab_size": 49152, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
           "max_position_embeddings": 8192}
LLAMA3_8B = {"model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
             "intermediate_size": 14336, "vocab_size": 128256, "torch_dtype": "bfloat16"}
LLAMA_70B = {"model_type": "llama", "num_hidden_layers": 80, "hidden_size": 8192, "num_attention_heads": 64, "num_key_value_heads": 8,
             "intermediate_size": 28672, "vocab_size": 128256, "torch_dtype": "bfloat16"}
DEEPSEEK_V3 = {"model_type": "deepseek_v3", "num_hidden_layers": 61, "hidden_size": 7168, "num_attention_heads": 128,
               "kv_lora_rank": 512, "qk_rope_head_dim": 64, "vocab_size": 129280, "intermediate_size": 18432}


def model_of(raw):
    return from_headers([read_header(io.BytesIO(raw).read, "test.gguf")], "test.gguf")


def config(data, total=None):
    index = None if total is None else json.dumps({"metadata": {"total_size": total}}).encode()
    return from_config(json.dumps(data).encode(), "config.json", index)


@pytest.fixture(scope="module")
def models():
    return {"smollm2": model_of(ggufs.smollm2()), "gemma3": model_of(ggufs.gemma3())}


@pytest.mark.parametrize(("name", "context", "slots", "cache_type", "unified", "mib"), [
    ("smollm2", 512, 1, "f16", False, 11.25),
    ("smollm2", 1000, 1, "f16", False, 22.50),
    ("smollm2", 2048, 2, "f16", False, 45.00),
    ("smollm2", 4096, 1, "f16", False, 90.00),
    ("smollm2", 4096, 3, "f16", False, 101.25),
    ("smollm2", 8192, 1, "f16", False, 180.00),
    ("smollm2", 8192, 4, "f16", True, 180.00),
    ("smollm2", 4096, 1, "q8_0", False, 47.81),
    ("smollm2", 4096, 1, "q4_0", False, 25.31),
    ("gemma3", 8192, 1, "f16", False, 39.00),
    ("gemma3", 8192, 4, "f16", False, 84.00),
    ("gemma3", 8192, 4, "f16", True, 61.50),
])
def test_llama_server_cache(models, name, context, slots, cache_type, unified, mib):
    cache = LlamaCache(context, slots, cache_type, cache_type, unified)
    assert round(memory.llama_cache_bytes(models[name], cache) / 2**20, 2) == mib


def test_a_window_larger_than_the_context_changes_nothing(models):
    assert memory.llama_cache_bytes(models["gemma3"], LlamaCache(512)) == 512 * 18 * 1024


def test_bytes_per_token(models):
    assert memory.token_bytes(models["smollm2"]) == 23_040
    assert memory.token_bytes(config(SMOLLM2)) == 23_040
    assert memory.token_bytes(config(LLAMA3_8B)) == 128 * 1024
    assert memory.token_bytes(config(LLAMA_70B)) == 320 * 1024
    assert memory.token_bytes(config(DEEPSEEK_V3, 1)) == 70_272
    assert memory.token_bytes(config(DEEPSEEK_V3, 1), tensor_parallel=8) == 70_272
    assert memory.token_bytes(config(LLAMA_70B), tensor_parallel=4) == 80 * 1024
    assert memory.token_bytes(config(LLAMA_70B), tensor_parallel=16) == 40 * 1024


@pytest.mark.parametrize(("gib", "tokens"), [(1, 46_592), (2, 93_184)])
def test_vllm_cache_tokens_on_a_cpu(gib, tokens):
    assert memory.vllm_cache_tokens(gib * 2**30, 23_040, memory.CPU_BLOCK_TOKENS) == tokens


def test_vllm_cache_blocks_of_an_8b_model_on_40_gib():
    assert memory.vllm_cache_tokens(int(11.1157 * 2**30), 128 * 1024) // 16 == 5691


def test_vllm_cache_bytes_are_whole_blocks():
    assert memory.vllm_cache_bytes(config(SMOLLM2), 100, 3) == 3 * 112 * 23_040


@pytest.mark.parametrize(("data", "parameters", "weights"), [
    (SMOLLM2, 134_515_008, 269_030_016),
    (LLAMA3_8B, 8_030_261_248, 16_060_522_496),
])
def test_parameters(data, parameters, weights):
    model = config(data)
    assert (model.parameters, model.weights_bytes) == (parameters, weights)


def test_a_gguf_counts_every_tensor_in_its_own_type(models):
    assert models["smollm2"].parameters == 134_515_008
    assert models["smollm2"].weights_bytes == 2 * 134_515_008 + 2 * 61 * 576
    assert models["smollm2"].types["F32"] == 4 * 61 * 576
    quantised = model_of(ggufs.decoder("llama", 1, 576, 1536, 9, 3, 64, kind=8))
    assert quantised.types["Q8_0"] == (64 * 576 + 2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536) // 32 * 34


def test_the_index_gives_the_weights_of_what_cannot_be_computed():
    assert config(DEEPSEEK_V3, 688_586_727_753).weights_bytes == 688_586_727_753
    with pytest.raises(SizingError, match=r"a deepseek_v3 model .* model\.safetensors\.index\.json"):
        config(DEEPSEEK_V3)


@pytest.mark.parametrize(("cache", "message"), [
    (LlamaCache(0), "must be positive"), (LlamaCache(512, 0), "must be positive"),
    (LlamaCache(512, key_type="q9"), "cache type 'q9' is unknown"),
])
def test_bad_cache_settings(models, cache, message):
    with pytest.raises(SizingError, match=message):
        memory.llama_cache_bytes(models["smollm2"], cache)


def test_a_quantised_cache_needs_rows_of_whole_blocks():
    odd = model_of(ggufs.decoder("llama", 1, 60, 64, 3, 1, 32))
    with pytest.raises(SizingError, match="blocks of 32 elements, a layer of this model has 20"):
        memory.llama_cache_bytes(odd, LlamaCache(512, key_type="q8_0"))
