# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node of a full lab: namespaces over the machine's own files, whose process 1 ends everything in them with it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab import images, network, node_config, pki
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.binaries import PAUSE_IMAGE
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cgroups import CONTROL, Cgroups
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.network import Network
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import (
    Daemon,
    Processes,
    children,
    command_name,
    wait_for,
)

CNI_PLUGINS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
START_SECONDS = 60


@dataclass(frozen=True)
class Programs:
    """Files that nodes are made with."""

    labkube: Path
    pause: Path
    init: Path


class Node:
    """One node; its number is 1 or greater."""

    def __init__(self, layout: Layout, number: int, programs: Programs, processes: Processes) -> None:
        self.layout, self.number, self.programs, self.processes = layout, number, programs, processes
        self.name = layout.node_name(number)
        self.directory = layout.node_directory(number)
        self.network = Network(layout)
        self.cgroups = Cgroups(layout.name)

    def pid(self) -> int | None:
        """The machine's id of the node's process 1, once the node's file systems are in place."""
        parent = self.processes.pid(f"node-{self.number}")
        first = next(iter(children(parent)), None) if parent else None
        return first if first and command_name(first) == "pause" else None

    def running(self) -> bool:
        """Whether the node's process 1 runs and its network is whole."""
        return self.pid() is not None and self.network.node_complete(self.number)

    def enter(self) -> list[str]:
        """Command prefix which runs a command inside the node."""
        return ["nsenter", f"--target={self.pid()}", "--all", "--"]

    def daemons(self) -> list[Daemon]:
        """containerd, kubelet and kube-proxy, in the order of their start; the node must run."""
        kube, files, enter = str(self.programs.labkube), self.directory, self.enter()
        groups = self.cgroups.members(str(self.number))
        kubeconfig = self.layout.pki / f"node-{self.number}.kubeconfig"
        kubelet = [kube, "kubelet", f"--config={files}/kubelet.json", f"--kubeconfig={kubeconfig}",
                   f"--hostname-override={self.name}", f"--node-ip={self.layout.node_address(self.number)}", "--v=1"]
        commands = {
            "containerd": ["containerd", "--config", f"{files}/containerd.toml"],
            "kubelet": kubelet,
            "kube-proxy": [kube, "kube-proxy", f"--config={files}/kube-proxy.json"],
        }
        written = self._configuration()
        reads = {"containerd": "containerd.toml", "kubelet": "kubelet.json", "kube-proxy": "kube-proxy.json"}
        return [Daemon(f"{name}-{self.number}", command, enter, groups, written[reads[name]])
                for name, command in commands.items()]

    def start(self, others: Sequence[int], archives: Sequence[Path]) -> None:
        """Start the node from whatever state it is in; ``others`` are the numbers of the nodes that run."""
        self.stop()
        pki.make(self.layout, pki.node_certificates(self.layout, self.number))
        self.write_configuration()
        self.cgroups.create(CONTROL)
        self.cgroups.create(str(self.number))
        self.network.create_node(self.number, others)
        name = f"node-{self.number}"
        self.processes.start(Daemon(name, [
            *network.enter(self.layout.node_namespace(self.number)), "unshare", "--mount", "--propagation=private",
            "--pid", "--uts", "--ipc", "--fork", "--kill-child", "sh", str(self.programs.init), self.name,
            str(self.directory), str(self.programs.pause), "\n".join(self._kept()), self._cgroup_list(),
        ], groups=self.cgroups.members(CONTROL)))
        wait_for(lambda: self.pid() is not None, START_SECONDS,
                 lambda: f"node {self.name} did not start: {self.processes.last_words(name)}")
        self.start_daemon("containerd")
        self.import_images(archives)
        self.start_daemon("kubelet")
        self.start_daemon("kube-proxy")

    def start_daemon(self, name: str) -> None:
        """Start one of the node's daemons, or start it anew with changed configuration."""
        self.write_configuration()
        for daemon in self.daemons():
            if daemon.name == f"{name}-{self.number}":
                self.processes.start(daemon)

    def import_images(self, archives: Sequence[Path]) -> None:
        """Bring the images that the node lacks into its containerd."""
        socket = Path(f"/proc/{self.pid()}/root/run/containerd/containerd.sock")
        wait_for(socket.is_socket, START_SECONDS,
                 lambda: f"containerd of node {self.name} did not start: "
                         f"{self.processes.last_words(f'containerd-{self.number}')}")
        has = images.present(self.enter())
        for archive in archives:
            images.load(archive, self.enter(), has)

    def missing_archives(self, archives: Sequence[Path]) -> list[Path]:
        """Those archives of which a running node lacks an image."""
        has = images.present(self.enter())
        return [archive for archive in archives if images.lacking(archive, has)]

    def stop(self) -> None:
        """End the node with all that runs in it; what it has on disk stays."""
        self.cgroups.kill(str(self.number))
        self.processes.stop([f"node-{self.number}"])
        self.cgroups.remove(str(self.number))
        self.network.remove_node(self.number)
        for name in ("containerd", "kubelet", "kube-proxy"):
            self.processes.stop([f"{name}-{self.number}"])

    def remove(self) -> None:
        """End the node and remove what it has on disk."""
        self.stop()
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def write_configuration(self) -> None:
        """Write the files that the node's daemons read; one that is right already is left alone, a starting daemon may be reading it."""
        (self.directory / "cni").mkdir(parents=True, exist_ok=True)
        for name, text in self._configuration().items():
            path = self.directory / name
            if not path.exists() or path.read_text() != text:
                path.write_text(text)

    def _configuration(self) -> dict[str, str]:
        plugins = next((path for path in CNI_PLUGINS if Path(path, "bridge").exists()), CNI_PLUGINS[0])
        return {
            "containerd.toml": node_config.containerd(self.layout, self.number, PAUSE_IMAGE, plugins),
            "cni/10-lab.conflist": node_config.cni(self.layout, self.number),
            "kubelet.json": node_config.kubelet(self.layout, self.number),
            "kube-proxy.json": node_config.kube_proxy(self.layout, self.number),
        }

    def _kept(self) -> list[str]:
        directories = (self.layout.directory, self.programs.labkube.parent, self.programs.pause.parent)
        return [str(path) for path in directories]

    def _cgroup_list(self) -> str:
        return "\n".join(f"{'unified2' if self.cgroups.unified else h.name} {h}/{self.layout.name}/{self.number}"
                         for h in self.cgroups.hierarchies())
