# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane's daemons and their flags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import Daemon


def daemons(layout: Layout, labkube: Path, enter: Sequence[str] = (), groups: Sequence[Path] = ()) -> list[Daemon]:
    """etcd, apiserver, controller-manager and scheduler, in the order of their start."""
    flags = {
        "etcd": _etcd(layout),
        "kube-apiserver": _apiserver(layout),
        "kube-controller-manager": _controller_manager(layout),
        "kube-scheduler": _scheduler(layout),
    }
    return [Daemon(name, [str(labkube), name, *(f"--{flag}={value}" for flag, value in chosen.items())], enter, groups)
            for name, chosen in flags.items()]


def kwok(layout: Layout, directory: Path, enter: Sequence[str] = (), groups: Sequence[Path] = ()) -> Daemon:
    """kwok, which plays the kubelet of nodes annotated ``kwok.x-k8s.io/node: fake``; others it leaves alone."""
    return Daemon("kwok", [
        f"{directory}/kwok", f"--kubeconfig={layout.kubeconfig}", f"--config={directory}/stages.yaml",
        "--manage-all-nodes=false", "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--node-lease-duration-seconds=40", f"--server-address=127.0.0.1:{layout.kwok_port}",
    ], enter, groups)


def _etcd(layout: Layout) -> dict[str, object]:
    client, peer = f"http://127.0.0.1:{layout.etcd_port}", f"http://127.0.0.1:{layout.etcd_peer_port}"
    return {
        "name": "lab",
        "data-dir": layout.etcd_data,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"lab={peer}",
        "unsafe-no-fsync": "true",  # a lab may lose its last second when the machine loses power
        "log-level": "warn",
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "10m",
        "quota-backend-bytes": 4 * 1024**3,
    }


def _apiserver(layout: Layout) -> dict[str, object]:
    pki = layout.pki
    flags = {
        "etcd-servers": f"http://127.0.0.1:{layout.etcd_port}",
        "bind-address": "0.0.0.0" if layout.full else "127.0.0.1",  # noqa: S104  (in a namespace of its own)
        "advertise-address": layout.control_address,
        "secure-port": layout.api_port,
        "service-cluster-ip-range": layout.service_network,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "client-ca-file": pki / "ca.crt",
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "kubelet-client-certificate": pki / "apiserver-kubelet-client.crt",
        "kubelet-client-key": pki / "apiserver-kubelet-client.key",
        "kubelet-certificate-authority": pki / "ca.crt",
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": pki / "service-account.key",
        "service-account-signing-key-file": pki / "service-account.key",
        "requestheader-client-ca-file": pki / "front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": pki / "front-proxy-client.crt",
        "proxy-client-key-file": pki / "front-proxy-client.key",
        # Webhooks and aggregated APIs are reached at their endpoints: there is no kube-proxy beside the apiserver.
        "enable-aggregator-routing": "true",
        # MutatingAdmissionPolicy is beta, and off by default, in Kubernetes 1.34.
        "feature-gates": "MutatingAdmissionPolicy=true",
        "runtime-config": "admissionregistration.k8s.io/v1beta1=true",
        "profiling": "false",
    }
    if not layout.full:  # a loopback address can't be an endpoint of the Service kubernetes
        flags["endpoint-reconciler-type"] = "none"
    return flags


def _controller_manager(layout: Layout) -> dict[str, object]:
    pki = layout.pki
    return {
        **_client(layout, "controller-manager"),
        "secure-port": layout.controller_manager_port,
        "use-service-account-credentials": "true",
        "service-account-private-key-file": pki / "service-account.key",
        "root-ca-file": pki / "ca.crt",
        "cluster-signing-cert-file": pki / "ca.crt",
        "cluster-signing-key-file": pki / "ca.key",
        "allocate-node-cidrs": "false",
        "flex-volume-plugin-dir": layout.run / "flex-volumes",  # the default lies in the machine's /usr
        "service-cluster-ip-range": layout.service_network,
        "kube-api-qps": 300,
        "kube-api-burst": 600,
    }


def _scheduler(layout: Layout) -> dict[str, object]:
    return {
        **_client(layout, "scheduler"),
        "secure-port": layout.scheduler_port,
        "kube-api-qps": 500,
        "kube-api-burst": 1000,
    }


def _client(layout: Layout, name: str) -> dict[str, object]:
    kubeconfig = layout.pki / f"{name}.kubeconfig"
    return {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
    }
