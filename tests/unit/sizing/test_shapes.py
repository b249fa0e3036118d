# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import json

import pytest

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity, Gpu, Node
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import DocumentError
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.from_gguf import from_headers
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.gguf import read_header
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.huggingface import from_config
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.model import SizingError
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.reader import read_model
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.service import Service, need
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.shapes import Offer, offers, profile_bytes, shapes
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.sizing import ServedModel, Sizing, size, workloads

from . import ggufs
from .test_memory import LLAMA3_8B, LLAMA_70B

MIB, GIB = 2**20, 2**30
FULL, SLICE, BIG_SLICE = Offer("full", "", 80 * GIB, 8), Offer("mig", "1g.10gb", profile_bytes("1g.10gb"), 7), Offer("mig", "3g.40gb", 38 * 10**9, 2)


@pytest.fixture(scope="module")
def smollm2():
    return from_headers([read_header(io.BytesIO(ggufs.smollm2()).read, "m.gguf")], "m.gguf")


def dense(data):
    return from_config(json.dumps(data).encode(), "config.json")


def test_a_llama_server_on_the_cpu(smollm2):
    answer = need(smollm2, Service(context=1024, parallel=2), 0)
    assert (answer.cache_bytes, answer.device_bytes, answer.devices) == (45 * MIB, 0, 0)
    total = smollm2.weights_bytes + 45 * MIB + 48 * MIB + 64 * MIB
    assert 0 <= answer.memory_request_bytes - total < MIB
    assert answer.memory_limit_bytes > answer.memory_request_bytes * 5 // 4


def test_tensor_parallelism_is_taken_only_where_it_is_needed():
    assert [shape.name for shape in shapes(dense(LLAMA3_8B), Service("vllm", 8192, 4), [FULL])] == ["1xgpu-23gib"]
    shape = shapes(dense(LLAMA_70B), Service("vllm", 8192, 4), [FULL])[0]
    assert (shape.gpu.count, shape.gpu.kind) == (2, "full")
    assert shape.gpu.memory_bytes <= 80 * GIB < 132 * GIB


def test_heads_decide_over_tensor_parallelism(smollm2):
    with pytest.raises(SizingError, match="9 attention heads can't be split over 2 devices"):
        need(smollm2, Service("vllm", 2048), 2)


def test_the_cheapest_shape_comes_first(smollm2):
    found = shapes(smollm2, Service(context=1024), [FULL, BIG_SLICE, SLICE])
    assert [(shape.name, shape.cost) for shape in found] == [("1xmig-1g.10gb", 0), ("1xmig-3g.40gb", 1), ("1xgpu-1gib", 2)]
    assert [shape.name for shape in shapes(smollm2, Service(context=1024), [FULL, SLICE], "full")] == ["1xgpu-1gib"]
    assert [shape.name for shape in shapes(smollm2, Service(context=1024), [FULL, SLICE], "none")] == ["cpu"]


def test_what_fits_nowhere_is_said_with_figures():
    with pytest.raises(SizingError, match=r"no MIG slice of the cluster fits the model: it needs 2\d\.\d GiB on one device, the largest has 8\.8 GiB"):
        shapes(dense(LLAMA3_8B), Service("vllm", 8192, 4), [FULL, SLICE], "mig")
    with pytest.raises(SizingError, match=r"the cluster offers containers no MIG slice, and the model needs one with 2\d\.\d GiB"):
        shapes(dense(LLAMA3_8B), Service("vllm", 8192, 4), [FULL], "mig")
    with pytest.raises(SizingError, match="engine vllm can't serve a model without a GPU"):
        shapes(dense(LLAMA3_8B), Service("vllm", 8192, 4), [FULL], "none")


@pytest.mark.parametrize(("service", "devices", "message"), [
    (Service("ollama"), 0, "engine 'ollama' is unknown"), (Service("vllm"), 0, "vllm is sized for GPUs"),
    (Service("llama"), 2, "one device"), (Service(context=10**6), 0, "longer than the 32768 tokens"), (Service(cpu_milli=0), 0, "positive"),
])
def test_what_an_engine_cannot_do(smollm2, service, devices, message):
    with pytest.raises(SizingError, match=message):
        need(smollm2, service, devices)


def test_offers_of_a_cluster():
    gpu = Gpu("a", "NVIDIA-H100-80GB-HBM3", memory_bytes=80 * GIB)
    sliced = Gpu("b", "NVIDIA-H100-80GB-HBM3", memory_bytes=80 * GIB, mig={"1g.10gb": [0, 1, 2], "3g.40gb": [4]})
    capacity = Capacity([Node("n1", {}, gpu_mode="mig-mixed", gpus=[sliced, gpu, gpu]), Node("n2", {}, gpu_mode="container", gpus=[gpu]),
                         Node("n3", {}, gpu_mode="vm-passthrough", gpus=[gpu] * 4)])
    assert offers(capacity) == [Offer("mig", "1g.10gb", 9_500_000_000, 3), Offer("mig", "3g.40gb", 38_000_000_000, 1), Offer("full", "", 80 * GIB, 2)]


@pytest.mark.parametrize(("profile", "gigabytes"), [("1g.10gb", 10), ("1g.10gb+me", 10), ("7g.80gb", 80), ("1c.3g.40gb", None), ("10gb", None)])
def test_profiles(profile, gigabytes):
    if gigabytes:
        assert profile_bytes(profile) == gigabytes * 950_000_000
    else:
        with pytest.raises(SizingError, match="MIG profile"):
            profile_bytes(profile)


def test_the_documents_of_two_models(tmp_path):
    file = tmp_path / "smollm2.gguf"
    file.write_bytes(ggufs.smollm2())
    entries = [ServedModel("embedder", "i:1", "/m", [str(file)], accelerator="full"),
               ServedModel("assistant", "i:1", "/m", [str(file)], accelerator="mig", priority=5)]
    sizing = size(entries, read_model, [FULL, SLICE])
    assert codec.loads(Sizing, codec.pretty(sizing), "sizing.json") == sizing
    demand = workloads(sizing, entries, "models")
    assert [(w.name, w.kind, w.namespace, w.priority, w.shapes[0].gpu.kind) for w in demand.workloads] == [
        ("assistant", "model", "models", 5, "mig"), ("embedder", "model", "models", 0, "full")]
    assert size(entries[1:], read_model, None).models[0].shapes == []
    with pytest.raises(SizingError, match="'embedder' is used twice"):
        size([entries[0], entries[0]], read_model, None)
    with pytest.raises(SizingError, match=r"model 'x': .*nowhere\.gguf: No such file or directory; expected a GGUF file"):
        size([ServedModel("x", "i:1", "/m", [str(tmp_path / "nowhere.gguf")])], read_model, None)


def test_an_entry_with_a_wrong_field_is_refused():
    with pytest.raises(DocumentError, match=r"models\[0\]\.contxt: unknown field"):
        codec.load(ServedModel, {"name": "a", "image": "i", "path": "p", "contxt": 1}, "models[0]")


def test_a_config_takes_the_index_beside_it(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA3_8B, "model_type": "other"}))
    (tmp_path / "model.safetensors.index.json").write_text('{"metadata": {"total_size": 123456}}')
    assert read_model([str(tmp_path / "config.json")]).weights_bytes == 123456
