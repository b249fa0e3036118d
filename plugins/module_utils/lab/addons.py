# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a full lab has beside the control plane: DNS, volumes and their objects. All without images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import Daemon

PROVISIONER = "tandem.local/directory"
COREFILE = """\
.:53 {{
  bind {address}
  errors
  ready {address}:8181
  kubernetes cluster.local in-addr.arpa ip6.arpa {{
    kubeconfig {kubeconfig}
    pods insecure
    ttl 5
  }}
  cache 5
}}
"""


def daemons(layout: Layout, labkube: Path, enter: Sequence[str], groups: Sequence[Path]) -> list[Daemon]:
    """CoreDNS and the volume provisioner, processes beside the control plane."""
    return [
        Daemon("coredns", [str(labkube), "coredns", "-conf", str(corefile_path(layout))], enter, groups,
               corefile(layout)),
        Daemon("provisioner", [str(labkube), "provisioner", str(layout.kubeconfig), str(layout.volumes)], enter, groups),
    ]


def corefile_path(layout: Layout) -> Path:
    """Where CoreDNS reads its configuration."""
    return layout.run / "Corefile"


def corefile(layout: Layout) -> str:
    """CoreDNS's configuration."""
    return COREFILE.format(address=layout.control_address, kubeconfig=layout.kubeconfig)


def objects(layout: Layout) -> list[dict]:
    """The Service by which pods find DNS, and the storage classes ``local`` (default) and ``shared``."""
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    service = {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": layout.dns_address, "ports": ports},
    }
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "kube-dns-lab", "namespace": "kube-system",
                     "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "ports": ports,
        "endpoints": [{"addresses": [layout.control_address], "conditions": {"ready": True}}],
    }
    local = _storage_class("local", "WaitForFirstConsumer")
    local["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    return [service, slice_, local, {**_storage_class("shared", "Immediate"), "parameters": {"shared": "true"}}]


def _storage_class(name: str, binding: str) -> dict:
    return {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": PROVISIONER, "volumeBindingMode": binding, "reclaimPolicy": "Delete",
    }
