# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's plan, from documents to file."""
from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand, License
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import command
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.checker import check
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.render import lines
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.solve import solve

from .estates import demand, demo, node, vm


def write(folder, capacity, wanted):
    (folder / "capacity.json").write_text(codec.pretty(capacity))
    (folder / "demand.json").write_text(codec.pretty(wanted))
    return [str(folder / name) for name in ("capacity.json", "demand.json", "plan.json")]


def test_the_demo_is_placed_on_the_right_devices():
    capacity, wanted = demo()
    plan = solve(capacity, wanted)
    where = {one.workload: (one.node, one.resource, [(use.gpu, use.profile) for use in one.devices]) for one in plan.assignments}
    assert where["assistant"] == ("lab-1", "nvidia.com/mig-1g.10gb", [("GPU-1", "1g.10gb")])
    assert where["embedder"] == ("lab-1", "nvidia.com/gpu", [("GPU-0", "")])
    assert where["report"][:2] == ("lab-2", "nvidia.com/GH100_H100_PCIE")
    assert not plan.unplaced
    assert check(capacity, wanted, plan) == []
    failed = {failure.domain: failure for failure in plan.failures}
    home = next(one.node for one in plan.assignments if one.workload == "orders")
    assert failed[home].restarts == {"orders/0": "lab-2" if home == "lab-1" else "lab-1"}
    waves = {one.workload: one.wave for one in plan.assignments}
    assert waves["assistant"] > waves["orders"] > 0


def test_the_same_documents_give_the_same_bytes():
    assert codec.canonical_bytes(solve(*demo())) == codec.canonical_bytes(solve(*demo()))


def test_plan_writes_once_and_shows_text(tmp_path):
    paths = write(tmp_path, *demo())
    first = command.plan(*paths)
    assert first["changed"] and first["summary"]["placed"] == 5
    assert any(line.startswith("orders/0") for line in first["lines"])
    assert command.plan(*paths)["changed"] is False
    assert command.verify(*paths)["holds"] is True


def test_check_mode_writes_nothing(tmp_path):
    paths = write(tmp_path, *demo())
    assert command.plan(*paths, check_mode=True)["changed"] is True
    assert not (tmp_path / "plan.json").exists()


def test_drift_names_what_changed(tmp_path):
    capacity, wanted = demo()
    paths = write(tmp_path, capacity, wanted)
    command.plan(*paths)
    planned = tmp_path / "planned.json"
    planned.write_text(codec.pretty(capacity))
    tainted = replace(capacity, nodes=[replace(capacity.nodes[0], ready=False), capacity.nodes[1]])
    (tmp_path / "capacity.json").write_text(codec.pretty(tainted))
    found = command.verify(*paths, planned_capacity_src=str(planned), fail=False)
    assert not found["holds"]
    assert "node lab-1: ready changed" in found["drift"]
    assert any("assistant/0 can't run on lab-1" in sentence for sentence in found["violations"])


BAD = [
    (lambda c, d: (Capacity([]), d), "capacity has 0 nodes"),
    (lambda c, d: (c, demand(vm("a", after=["b"]), vm("b", after=["a"]))), "wait for each other in a circle"),
    (lambda c, d: (c, demand(vm("a"), vm("a"))), "'a' appears twice"),
    (lambda c, d: (c, demand(replace(vm("a"), shapes=[replace(vm("a").shapes[0], requests={"tpu": 1})]))), "unknown resource 'tpu'"),
    (lambda c, d: (c, demand(vm("a", cpu=-1))), "expected 0 or more"),
    (lambda c, d: (c, demand(vm("a", dedicated_cpus=8))), "contradict"),
    (lambda c, d: (c, demand(vm("a", products=["x"]))), "no license names product 'x'"),
    (lambda c, d: (c, demand(vm("a"), licenses=[License("l", "x", -1)])), "max_hosts is -1"),
    (lambda c, d: (Capacity([node("a"), node("a")]), d), "node 'a' appears twice"),
]


@pytest.mark.parametrize(("change", "sentence"), BAD)
def test_contradictions_are_one_sentence_and_leave_no_file(tmp_path, change, sentence):
    paths = write(tmp_path, *change(*demo()))
    with pytest.raises(TandemError, match=sentence) as caught:
        command.plan(*paths)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "plan.json").exists()


@pytest.mark.parametrize("junk", ["", "\x00" * 1000, "[" * 5000, '{"kind": "Demand", "workloads": NaN}', "{}"])
def test_junk_is_one_sentence(tmp_path, junk):
    paths = write(tmp_path, *demo())
    (tmp_path / "demand.json").write_text(junk)
    with pytest.raises(TandemError, match=r"demand\.json"):
        command.plan(*paths)
    assert not (tmp_path / "plan.json").exists()


def test_lines_name_what_was_not_placed():
    capacity = Capacity([node("a")])
    plan = solve(capacity, Demand([vm("big", memory=64)]))
    assert plan.unplaced[0].conflict == ["memory_bytes"]
    assert plan.unplaced[0].relaxation == "48.00 GiB more memory_bytes on node a"
    assert any("big/0 has no place" in line for line in lines(plan))
