# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files of a node's daemons, as text."""

from __future__ import annotations

import json

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout

CONTAINERD = """\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  device_ownership_from_security_context = true
  enable_unprivileged_ports = true
  # Root may lack CAP_SYS_RESOURCE; runc then fails with "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_plugins}"
    conf_dir = "{cni_directory}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def containerd(layout: Layout, number: int, pause_image: str, cni_plugins: str) -> str:
    """containerd's config.toml (version 2, which containerd 1.6 and 2.x read)."""
    return CONTAINERD.format(pause_image=pause_image, cni_plugins=cni_plugins,
                             cni_directory=layout.node_directory(number) / "cni")


def cni(layout: Layout, number: int) -> str:
    """A bridge per node with a static range of addresses; routes between nodes make it a network."""
    return _json({
        "cniVersion": "0.4.0",
        "name": "lab",
        "plugins": [
            {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True, "mtu": 1500,
             "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam", "routes": [{"dst": "0.0.0.0/0"}],
                      "ranges": [[{"subnet": layout.node_pod_network(number)}]]}},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    })


def kubelet(layout: Layout, number: int) -> str:
    """The KubeletConfiguration."""
    return _json({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                           "x509": {"clientCAFile": f"{layout.pki}/ca.crt"}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{layout.pki}/kubelet-{number}.crt",
        "tlsPrivateKeyFile": f"{layout.pki}/kubelet-{number}.key",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [layout.dns_address],
        "clusterDomain": "cluster.local",
        "resolvConf": "/etc/resolv.conf",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",  # the default lies in the machine's /usr
        # The lab's images can't be pulled again, so they are never collected.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%",
                         "imagefs.available": "1%"},
        "maxPods": 200,
        "serializeImagePulls": False,
        "nodeStatusUpdateFrequency": "5s",
    })


def kube_proxy(layout: Layout, number: int) -> str:
    """The KubeProxyConfiguration; conntrack's sysctls can't be set in a namespace, so they are left alone."""
    return _json({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{layout.pki}/proxy.kubeconfig"},
        "clusterCIDR": layout.pod_network,
        "mode": "iptables",
        "hostnameOverride": layout.node_name(number),
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "100ms"},
    })


def _json(document: dict) -> str:
    return json.dumps(document, indent=1) + "\n"
