# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a live cluster into a Capacity document: one paginated list per kind."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster import capacity
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster, connect
from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, files
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity

REQUIRED = (("v1", "Node"), ("v1", "Pod"), ("v1", "PersistentVolumeClaim"), ("v1", "PersistentVolume"))
OPTIONAL = (("kubevirt.io/v1", "VirtualMachineInstance"), ("resource.k8s.io/v1", "ResourceSlice"), ("resource.k8s.io/v1", "ResourceClaim"),
            ("nvidia.com/v1", "ClusterPolicy"), ("topology.node.k8s.io/v1alpha2", "NodeResourceTopology"))


def read(cluster: Cluster) -> Capacity:
    """Return the Capacity of a cluster; raises ClusterError, for a missing right too. Kinds the cluster does not serve are empty."""
    objects = {kind: cluster.list(version, kind) for version, kind in (*REQUIRED, *OPTIONAL)}
    kubevirt = next(iter(cluster.list("kubevirt.io/v1", "KubeVirt")), {})
    return capacity.build(objects, cluster.version(), (kubevirt.get("status") or {}).get("observedKubeVirtVersion", ""))


def capacity_info(options: dict, *, check: bool) -> dict:
    """Module `cluster_capacity_info`: read the cluster, write the document, return counts."""
    found = read(connect(options["kubeconfig"], options["context"]))
    changed = files.write(options["dest"], codec.pretty(found), check) if options["dest"] else False
    return {"changed": changed, "digest": codec.digest(found), "dest": options["dest"], "nodes": len(found.nodes),
            "gpus": sum(len(node.gpus) for node in found.nodes), "running": len(found.running),
            "modes": {node.name: node.gpu_mode for node in found.nodes if node.gpu_mode},
            "capacity": None if options["dest"] else codec.dump(found)}
