# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lets VMs with GPUs start in the lab, where there are none: each gets a hook that swaps the devices.

The apiserver adds the hook's annotation, so that manifests meant for real clusters carry nothing of the lab.
"""

from __future__ import annotations

import json

IMAGE = "tandem.local/gpu-shim:1"
_NAME = "tandem-lab-gpu-shim"
_ANNOTATION = "hooks.kubevirt.io/hookSidecars"


def objects() -> list[dict]:
    """The MutatingAdmissionPolicy for VirtualMachineInstances with GPUs, and its binding."""
    sidecars = json.dumps([{"image": IMAGE, "imagePullPolicy": "IfNotPresent", "args": ["--version", "v1alpha3"]}])
    annotations = f"{{{json.dumps(_ANNOTATION)}: {json.dumps(sidecars)}}}"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1beta1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": _NAME},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["kubevirt.io"],
                        "apiVersions": ["*"],
                        "operations": ["CREATE"],
                        "resources": ["virtualmachineinstances"],
                    }
                ]
            },
            "matchConditions": [{"name": "has-gpus", "expression": "has(object.spec.domain.devices.gpus)"}],
            "mutations": [
                {
                    "patchType": "ApplyConfiguration",
                    "applyConfiguration": {
                        "expression": f"Object{{metadata: Object.metadata{{annotations: {annotations}}}}}"
                    },
                }
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1beta1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": _NAME},
        "spec": {"policyName": _NAME},
    }
    return [policy, binding]
