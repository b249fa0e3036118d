# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad documents given to the module placement_plan as Ansible runs it: one sentence, exit 1, no plan, in bounded time and memory."""
from __future__ import annotations

import json
import os
import pathlib
import random
import resource
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
MODULE = ROOT / "plugins" / "modules" / "placement_plan.py"
GIB = 1 << 30
MEMORY_BYTES, TIMEOUT_SECONDS = 3 * GIB // 2, 120
CAPACITY = {"api_version": "tandem.hybrid/v1", "kind": "Capacity", "nodes": [{
    "name": "a", "allocatable": {"cpu_milli": 4000, "memory_bytes": 16 * GIB, "pods": 110}, "gpu_mode": "container", "gpus": [{"id": "g0", "product": "T4"}]}]}


def workload(name="x", **fields):
    return {"name": name, "kind": "vm", "shapes": [{"name": "vm", "requests": {"cpu_milli": 500}}], **fields}


def demand(*workloads, **fields):
    return {"api_version": "tandem.hybrid/v1", "kind": "Demand", "workloads": list(workloads), **fields}


def shape(**fields):
    return [{"name": "vm", "requests": {"cpu_milli": 500}, **fields}]


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def run(folder, capacity, wanted):
    """Return exit status and message of the module for two documents (data, or the raw bytes of a file)."""
    paths = {"capacity_src": folder / "capacity.json", "demand_src": folder / "demand.json"}
    for path, document in zip(paths.values(), (capacity, wanted), strict=True):
        path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    arguments = folder / "arguments.json"
    arguments.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {**{name: str(path) for name, path in paths.items()}, "dest": str(folder / "plan.json")}}))
    done = subprocess.run([sys.executable, str(MODULE), str(arguments)], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "collections"), "OPENBLAS_NUM_THREADS": "1"}, preexec_fn=limited)
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    return done.returncode, json.loads(done.stdout)


def test_good_documents_make_a_plan(tmp_path):
    status, answer = run(tmp_path, CAPACITY, demand(workload()))
    assert status == 0 and answer["summary"]["placed"] == 1
    assert (tmp_path / "plan.json").exists()


SMALL = [
    ("a demand that contradicts itself", CAPACITY, demand(workload("x"), workload("y"), affinities=[
        {"name": "near", "workloads": ["x", "y"], "apart": False}, {"name": "far", "workloads": ["x", "y"]}]), "near and far contradict each other"),
    ("more dedicated CPUs than it asks for", CAPACITY, demand(workload(dedicated_cpus=8)), "8 dedicated CPUs contradict a request of 500 cpu_milli"),
    ("an unknown resource", CAPACITY, demand(workload(shapes=shape(requests={"example.com/tpu": 1}))), "unknown resource 'example.com/tpu'; no node offers it"),
    ("a negative size", CAPACITY, demand(workload(shapes=shape(requests={"memory_bytes": -1}))), "memory_bytes is -1; expected 0 or more"),
    ("a negative size of a node", {**CAPACITY, "nodes": [{"name": "a", "allocatable": {"cpu_milli": -4}}]}, demand(workload()), "expected 0 or more"),
    ("fewer than no GPUs", CAPACITY, demand(workload(shapes=shape(gpu={"count": -1}))), "-1 GPUs of 0 bytes; expected 1 or more"),
    ("a share of more than a GPU", CAPACITY, demand(workload(shapes=shape(gpu={"kind": "shared", "milli": 1500}))), "expected 1 to 1000"),
    ("a circle of two", CAPACITY, demand(workload("x", after=["y"]), workload("y", after=["x"])), "wait for each other in a circle: x after y after x"),
    ("a circle of one", CAPACITY, demand(workload("x", after=["x"])), "wait for each other in a circle"),
    ("a circle over a group", CAPACITY, demand(workload("x", group="base", after=["y"]), workload("y", after=["base"])), "in a circle"),
    ("0 nodes", {**CAPACITY, "nodes": []}, demand(workload()), "capacity has 0 nodes; expected at least one"),
    ("no shape", CAPACITY, demand(workload(shapes=[])), "has no shape; expected at least one"),
    ("0 replicas", CAPACITY, demand(workload(replicas=0)), "0 replicas; expected 1 or more"),
    ("a name twice", CAPACITY, demand(workload("x"), workload("x")), "'x' appears twice"),
    ("a rule about nobody", CAPACITY, demand(workload(), affinities=[{"name": "far", "workloads": ["x", "ghost"]}]), "rule far: unknown workload 'ghost'"),
    ("an unknown field", CAPACITY, demand(workload(colour="red")), "demand.json.workloads[0].colour: unknown field"),
    ("a missing field", CAPACITY, demand({"name": "x", "kind": "vm"}), "shapes: missing"),
    ("another type", CAPACITY, demand(workload(replicas="two")), "replicas: expected int, got 'two'"),
    ("half a GPU", CAPACITY, demand(workload(shapes=shape(gpu={"count": 0.5}))), "count: expected int, got 0.5"),
    ("another document", CAPACITY, CAPACITY, "demand.json: kind: expected 'Demand', got 'Capacity'"),
    ("another version", CAPACITY, {**demand(workload()), "api_version": "tandem.hybrid/v9"}, "api_version: expected 'tandem.hybrid/v1'"),
    ("NaN", CAPACITY, json.dumps(demand(workload(priority=float("nan")))).encode(), "demand.json: not JSON: NaN is not allowed"),
    ("infinity", CAPACITY, json.dumps(demand(workload(replicas=float("inf")))).encode(), "Infinity is not allowed"),
    ("a number too large for a float", CAPACITY, json.dumps(demand(workload(replicas=7))).replace("7", "1e999").encode(), "replicas: expected int, got inf"),
    ("nothing", CAPACITY, b"", "demand.json: not JSON"),
    ("zeros", CAPACITY, b"\0" * 1000, "demand.json: not JSON"),
    ("no text", CAPACITY, bytes(range(128, 256)), "demand.json: not JSON"),
    ("a deep nest", CAPACITY, b"[" * 200_000, "demand.json: not JSON"),
]


@pytest.mark.parametrize(("capacity", "wanted", "sentence"), [case[1:] for case in SMALL], ids=[case[0] for case in SMALL])
def test_bad_input_is_one_sentence_and_no_plan(tmp_path, capacity, wanted, sentence):
    refused(tmp_path, capacity, wanted, sentence)


MIB = 1 << 20
JUNK = {
    "random bytes": lambda: random.Random(1).randbytes(100 * MIB), "zeros": lambda: b"\0" * (100 * MIB), "brackets": lambda: b"[" * (100 * MIB),
    "a list of objects": lambda: b"[" + b"{}," * (33 * MIB) + b"{}]", "a long string": lambda: b'"' + b"a" * (100 * MIB) + b'"',
    "another kind of document": lambda: b'{"kind": "List", "items": [' + b'{"a":[]},' * (11 * MIB) + b'{}]}',
}


@pytest.mark.parametrize("make", JUNK.values(), ids=JUNK)
def test_100_mb_of_junk_end_in_bounded_time_and_memory(tmp_path, make):
    refused(tmp_path, CAPACITY, make(), "demand.json: kind: expected 'Demand', which occurs nowhere in its 1")


def refused(folder, capacity, wanted, sentence):
    status, answer = run(folder, capacity, wanted)
    assert status == 1 and answer["failed"]
    assert sentence in answer["msg"] and "\n" not in answer["msg"] and len(answer["msg"]) < 400, answer["msg"]
    assert sorted(path.name for path in folder.iterdir()) == ["arguments.json", "capacity.json", "demand.json"]
