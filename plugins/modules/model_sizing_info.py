#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: model_sizing_info
short_description: Compute what AI models need before they are deployed
version_added: 0.1.0
description:
  - Reads the header of a GGUF file or a C(config.json) (with its C(model.safetensors.index.json)) and computes the bytes of the weights
    and of the key-value cache exactly as llama-server and vLLM allocate them. Compute buffers are estimates and marked as such.
  - With a Capacity document it also lists the shapes in which each model fits the cluster, full GPUs, tensor-parallel groups or MIG slices,
    and writes them as a Demand document for M(tandem.hybrid.placement_plan).
  - Weights are never loaded; a header is treated as hostile input.
author:
  - The Tandem maintainers (@tandem-hybrid)
options:
  models:
    description:
      - The models. Each entry has C(name), C(image), C(path) (where the server finds the weights) and C(files) (what is read to size it).
      - Optional are C(engine) (llama or vllm), C(namespace), C(context) (tokens of one request), C(parallel) (requests at once),
        C(cache_type), C(unified), C(accelerator) (any, full, mig or none), C(cpu_milli), C(replicas), C(priority), C(utilisation_percent),
        C(claim), C(arguments), C(node_selector), C(required) and C(tolerations).
      - An unknown field is an error.
    type: list
    elements: dict
    required: true
  capacity:
    description: Path of a Capacity document; without it no shapes are computed.
    type: path
  namespace:
    description: Namespace of the models that name none.
    type: str
    default: ""
  dest:
    description: Path to write the Sizing document to.
    type: path
  demand_dest:
    description: Path to write the models to, as a Demand document. Needs O(capacity).
    type: path
attributes:
  check_mode:
    description: Says what would be written.
    support: full
"""

EXAMPLES = r"""
- name: Size the models for this cluster
  tandem.hybrid.model_sizing_info:
    models:
      - name: assistant
        image: registry.example.com/llama-server:1
        path: /models/smollm2.gguf
        files: [/srv/models/smollm2.gguf]
        context: 2048
        parallel: 2
        accelerator: mig
    capacity: .tandem/capacity.json
    dest: .tandem/sizing.json
    demand_dest: .tandem/models.json
"""

RETURN = r"""
models:
  description: A summary by model.
  returned: success
  type: list
  elements: dict
  sample:
    - name: assistant
      architecture: llama
      weights_bytes: 96576768
      bytes_per_token: 23040
      shapes: [1xmig-1g.10gb]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, files
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.reader import read_model
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.shapes import offers
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.sizing import ServedModel, size, workloads


def main():
    module = AnsibleModule(
        argument_spec={
            "models": {"type": "list", "elements": "dict", "required": True},
            "capacity": {"type": "path"},
            "namespace": {"type": "str", "default": ""},
            "dest": {"type": "path"},
            "demand_dest": {"type": "path"},
        },
        required_by={"demand_dest": ["capacity"]},
        supports_check_mode=True,
    )
    options = module.params
    try:
        entries = [codec.load(ServedModel, entry, f"models[{number}]") for number, entry in enumerate(options["models"])]
        found = offers(files.read(Capacity, options["capacity"])) if options["capacity"] else None
        sizing = size(entries, read_model, found)
        changed = bool(options["dest"]) and files.write(options["dest"], codec.pretty(sizing), module.check_mode)
        if options["demand_dest"]:
            text = codec.pretty(workloads(sizing, entries, options["namespace"]))
            changed = files.write(options["demand_dest"], text, module.check_mode) or changed
    except TandemError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, models=[{
        "name": one.name, "architecture": one.model.architecture, "weights_bytes": one.model.weights_bytes,
        "bytes_per_token": one.bytes_per_token, "shapes": [shape.name for shape in one.shapes]} for one in sizing.models])


if __name__ == "__main__":
    main()
