#!/usr/bin/python
# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_cluster
short_description: Bring a real Kubernetes cluster up on this machine, or take it down
version_added: 0.1.0
description:
  - Runs etcd, the control plane and, in the tier V(full), nodes with containerd and kubelet on one machine, without a container engine,
    without systemd and without a registry.
  - A second run changes nothing. After a crash, a reboot or a killed run it repairs what is missing and leaves the rest running.
  - Nothing can leave the machine from inside the lab, and no containerd or libvirt of the machine is touched.
author:
  - The Tandem maintainers (@tandem-hybrid)
options:
  state:
    description: Whether the lab is there. V(absent) ends every process of it and removes all its state.
    type: str
    choices: [present, absent]
    default: present
  tier:
    description:
      - V(control_plane) is apiserver, etcd, controller-manager and scheduler on 127.0.0.1, for any user.
      - V(full) adds nodes, a network of its own, DNS and storage classes; it needs root.
    type: str
    choices: [control_plane, full]
    default: full
  directory:
    description: Where the lab keeps its state.
    type: path
    required: true
  lab_id:
    description: Number of the lab, 0 to 9. Labs with different numbers and directories live side by side.
    type: int
    default: 0
  port:
    description: First of six ports that the control plane listens on. The default is 6443 plus ten times O(lab_id).
    type: int
    default: 0
  nodes:
    description: How many nodes there are, 0 to 9. Only in the tier V(full).
    type: int
    default: 0
  node_labels:
    description: Labels of nodes, a dictionary of labels by node name.
    type: dict
    default: {}
  kwok:
    description: Whether kwok plays the kubelet of nodes annotated C(kwok.x-k8s.io/node=fake).
    type: bool
    default: false
  sources:
    description: The C(files) directory of the role lab. Needed for O(state=present).
    type: path
  binaries:
    description: The directories of the artefacts C(labkube), C(pause) and C(kwok), as M(tandem.hybrid.lab_artifacts) returns them.
      Needed for O(state=present).
    type: dict
    default: {}
  images:
    description: OCI archives whose images every node has.
    type: list
    elements: path
    default: []
  objects:
    description: Further objects of the lab's own. Kinds are Service, EndpointSlice, StorageClass, MutatingAdmissionPolicy and
      MutatingAdmissionPolicyBinding.
    type: list
    elements: dict
    default: []
  progress:
    description: A file that gets a line before each step.
    type: path
notes:
  - On a local connection the steps are shown while the module works.
extends_documentation_fragment:
  - tandem.hybrid.attributes.changing
"""

EXAMPLES = r"""
- name: A control plane for tests, as any user
  tandem.hybrid.lab_cluster:
    tier: control_plane
    directory: "{{ ansible_facts.env.HOME }}/lab"
    sources: "{{ role_path }}/files"
    binaries: "{{ artifacts.paths }}"

- name: Take it down
  tandem.hybrid.lab_cluster:
    state: absent
    directory: "{{ ansible_facts.env.HOME }}/lab"
"""

RETURN = r"""
steps:
  description: What was, or in check mode would be, done.
  returned: success
  type: list
  elements: str
  sample: [start etcd, start kube-apiserver]
kubeconfig:
  description: Path of the administrator's kubeconfig.
  returned: when O(state=present)
  type: str
  sample: /var/lib/tandem/lab/pki/admin.kubeconfig
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 9.4
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tandem.hybrid.plugins.module_utils.arguments import answer
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.lifecycle import ensure


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "tier": {"type": "str", "choices": ["control_plane", "full"], "default": "full"},
            "directory": {"type": "path", "required": True},
            "lab_id": {"type": "int", "default": 0},
            "port": {"type": "int", "default": 0},
            "nodes": {"type": "int", "default": 0},
            "node_labels": {"type": "dict", "default": {}},
            "kwok": {"type": "bool", "default": False},
            "sources": {"type": "path"},
            "binaries": {"type": "dict", "default": {}},
            "images": {"type": "list", "elements": "path", "default": []},
            "progress": {"type": "path"},
            "objects": {"type": "list", "elements": "dict", "default": []},
        },
        required_if=[("state", "present", ["sources", "binaries"])],
        supports_check_mode=True,
    )
    answer(module, lambda: ensure(module.params, module.check_mode))


if __name__ == "__main__":
    main()
