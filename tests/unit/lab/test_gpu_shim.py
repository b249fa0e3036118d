# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policy that gives VMs with GPUs their hook."""

from __future__ import annotations

import json

from ansible_collections.tandem.hybrid.plugins.module_utils.lab import gpu_shim


def test_the_policy_adds_the_sidecar_annotation_to_new_instances_with_gpus_only():
    policy, binding = gpu_shim.objects()
    spec = policy["spec"]
    (rule,) = spec["matchConstraints"]["resourceRules"]
    assert (rule["resources"], rule["operations"]) == (["virtualmachineinstances"], ["CREATE"])
    assert spec["matchConditions"][0]["expression"] == "has(object.spec.domain.devices.gpus)"
    expression = spec["mutations"][0]["applyConfiguration"]["expression"]
    head, tail = "Object{metadata: Object.metadata{annotations: ", "}}"
    assert expression.startswith(head)
    annotations = json.loads(expression[len(head) : -len(tail)])
    sidecar = json.loads(annotations["hooks.kubevirt.io/hookSidecars"])
    assert sidecar[0]["image"] == gpu_shim.IMAGE
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
