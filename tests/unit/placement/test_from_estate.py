# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Estate, models and policy to a Demand."""
from __future__ import annotations

import pytest

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import DocumentError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Concern, Estate, HostDevice, LegacyVm, Rule, Severity
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import from_estate
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.errors import PlacementError

from .estates import GIB, model


def legacy(name, **fields):
    return LegacyVm(name, f"libvirt:{name}", f"{name}.xml", memory_bytes=GIB, **fields)


def build(vms, policy=None, rules=(), models=()):
    return from_estate.build(Estate(list(vms), rules=list(rules)), [Demand(list(models))] if models else [],
                             from_estate.settings(policy or {}), "legacy", lambda vm: {"cpu_milli": 100, "memory_bytes": vm.memory_bytes})


def test_vms_and_models_are_sorted_and_wished():
    found, left_out = build([legacy("orders"), legacy("crm")], {"workloads": {"orders": {"priority": 100}, "assistant": {"after": ["orders"]}}},
                            models=[model("assistant", None)])
    assert [(one.name, one.kind, one.priority, one.after) for one in found.workloads] == [
        ("assistant", "model", 0, ["orders"]), ("crm", "vm", 0, []), ("orders", "vm", 100, [])]
    assert left_out == []


def test_gpus_of_the_host_become_gpu_requests():
    found, _ = build([legacy("report", host_devices=[HostDevice("d0", "pci", "10de", "2331")])])
    gpu = found.workloads[0].shapes[0].gpu
    assert (gpu.kind, gpu.count, gpu.resource) == ("passthrough", 1, "nvidia.com/GH100_H100_PCIE")
    assert not found.workloads[0].live_migratable


def test_blocked_vms_are_left_out_and_named():
    found, left_out = build([legacy("old", concerns=[Concern("x", Severity.BLOCK, "It can't run.")])])
    assert found.workloads == [] and left_out == ["old: It can't run."]


def test_drs_rules_are_translated():
    found, _ = build([legacy("a"), legacy("b"), legacy("c")], rules=[
        Rule("apart", "anti-affinity", ["a", "b"]), Rule("near", "affinity", ["b", "c"], mandatory=False), Rule("order", "dependency", ["c", "a"])])
    assert [(rule.name, rule.apart, rule.required) for rule in found.affinities] == [("apart", True, True), ("near", False, False)]
    assert next(one for one in found.workloads if one.name == "c").after == ["a"]


def test_a_wish_for_an_unknown_workload_is_an_error():
    with pytest.raises(PlacementError, match=r"policy: workloads\.ordres is no workload"):
        build([legacy("orders")], {"workloads": {"ordres": {"priority": 1}}})


def test_an_unknown_field_names_itself():
    with pytest.raises(DocumentError, match=r"policy\.workloads\.a\.prio: unknown field"):
        build([legacy("a")], {"workloads": {"a": {"prio": 1}}})
