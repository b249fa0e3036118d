# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab brought into the wanted state: the steps follow from what is there, are shown, then taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab import (
    addons,
    control_plane,
    gpu_shim,
    images,
    network,
    pki,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.api import Api
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cgroups import CONTROL, Cgroups
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import NODE_LIMIT, Layout
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.network import Network
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.node import Node, Programs
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import Daemon, Processes, wait_for

READY_SECONDS = 180
NODE_DAEMONS = ("containerd", "kubelet", "kube-proxy")


@dataclass(frozen=True)
class Step:
    """One thing to do, in words, and how."""

    what: str
    run: Callable[[], None]


@dataclass(frozen=True)
class Wanted:
    """What shall be there. ``binaries`` are the directories of the artefacts labkube, kwok and pause."""

    binaries: Mapping[str, Path]
    sources: Path
    nodes: int = 0
    kwok: bool = False
    archives: Sequence[Path] = ()
    node_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    objects: Sequence[dict] = ()


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target)


class Lab:
    """The lab in a directory, measured against what is wanted."""

    def __init__(self, layout: Layout, wanted: Wanted) -> None:
        if wanted.nodes and not layout.full:
            raise LabError("a control_plane lab has no nodes of its own; expected nodes: 0 or tier: full")
        if not 0 <= wanted.nodes <= NODE_LIMIT:
            raise LabError(f"{wanted.nodes} nodes are too many for a lab, expected 0 to {NODE_LIMIT}")
        self.layout, self.wanted = layout, wanted
        self.processes = Processes(layout.run, layout.logs)
        self.api = Api(layout)
        self.network = Network(layout)
        self.cgroups = Cgroups(layout.name)
        self.labkube = wanted.binaries["labkube"] / "labkube"

    def node(self, number: int) -> Node:
        """The node with a number, whether it exists or not."""
        programs = Programs(self.labkube, self.wanted.binaries["pause"] / "pause",
                            self.wanted.sources / "node" / "init.sh")
        return Node(self.layout, number, programs, self.processes)

    def steps(self) -> list[Step]:
        """All that has to be done, in order; empty when everything is as wanted."""
        steps = [*self._base_steps()]
        fresh = any(step.what.startswith("make network") for step in steps)
        daemons = [d for d in self._daemons() if fresh or self.processes.state(d) != "running"]
        steps += [Step(f"start {daemon.name}", lambda daemon=daemon: self._start(daemon)) for daemon in daemons]
        steps += self._surplus_daemon_steps()
        serving = not {"etcd", "kube-apiserver"} & {daemon.name for daemon in daemons}
        if self.layout.full:
            steps += self._node_steps(fresh)
        for wanted in self._objects():
            if not serving or self.api.differs(wanted):
                what = f"apply {wanted['kind']} {wanted['metadata']['name']}"
                steps.append(Step(what, lambda wanted=wanted: self._apply(wanted)))
        return steps

    def wait(self, since: str = "") -> None:
        """Wait until the apiserver serves and all nodes have said that they are Ready after ``since`` (RFC 3339)."""
        self._wait_serving()
        names = [self.layout.node_name(number) for number in range(1, self.wanted.nodes + 1)]
        wait_for(lambda: all(self.api.nodes().get(name, "") > since for name in names),
                 READY_SECONDS, lambda: f"nodes not Ready after {READY_SECONDS} s, kubelet says "
                                        f"{self.processes.last_words('kubelet-1')}")

    def _base_steps(self) -> Iterator[Step]:
        certificates = pki.control_plane_certificates(self.layout)
        if absent := pki.missing(self.layout, certificates):
            yield Step(f"make {len(absent)} certificates and kubeconfigs", lambda: pki.make(self.layout, certificates))
        kubectl = self.layout.kubectl
        if not kubectl.is_symlink() or kubectl.readlink() != self.labkube:
            yield Step("link kubectl", lambda: _link(kubectl, self.labkube))
        if self.layout.full and not self.cgroups.exists(CONTROL):
            yield Step(f"make control group {self.layout.name}", lambda: self.cgroups.create(CONTROL))
        if self.layout.full and not self.network.complete():
            yield Step(f"make network {self.layout.name}", self._make_network)

    def _make_network(self) -> None:
        for number in self._existing_nodes():
            self.node(number).stop()
        self.processes.stop(self.processes.names())  # of a namespace that is gone, or of one that is half made
        self.network.create()

    def _daemons(self) -> list[Daemon]:
        enter = network.enter(self.layout.name) if self.layout.full else []
        groups = self.cgroups.members(CONTROL) if self.layout.full else []
        daemons = control_plane.daemons(self.layout, self.labkube, enter, groups)
        if self.layout.full:
            daemons += addons.daemons(self.layout, self.labkube, enter, groups)
        if self.wanted.kwok:
            daemons.append(control_plane.kwok(self.layout, self.wanted.binaries["kwok"], enter, groups))
        return daemons

    def _start(self, daemon: Daemon) -> None:
        if daemon.name == "coredns":
            addons.corefile_path(self.layout).write_text(daemon.configuration)
        if daemon.name == "provisioner":
            self.layout.volumes.mkdir(exist_ok=True)
        self.processes.start(daemon)
        if daemon.name == "kube-apiserver":
            self._wait_serving()

    def _wait_serving(self) -> None:
        def problem() -> str:
            return (f"the apiserver doesn't serve at {self.layout.server} after {READY_SECONDS} s: "
                    f"{self.processes.last_words('kube-apiserver')}")

        def settled() -> bool:
            return self.api.ready() or any(self.processes.pid(name) is None for name in ("etcd", "kube-apiserver"))

        wait_for(settled, READY_SECONDS, problem)
        for name in ("etcd", "kube-apiserver"):
            if self.processes.pid(name) is None:
                raise LabError(f"{name} ended after its start: {self.processes.last_words(name)}")

    def _surplus_daemon_steps(self) -> list[Step]:
        if self.wanted.kwok or self.processes.pid("kwok") is None:
            return []
        return [Step("stop kwok", lambda: self.processes.stop(["kwok"]))]

    def _existing_nodes(self) -> list[int]:
        directory = self.layout.node_directory(1).parent
        return sorted(int(path.name) for path in directory.iterdir()) if directory.is_dir() else []

    def _node_steps(self, fresh: bool) -> Iterator[Step]:
        wanted = range(1, self.wanted.nodes + 1)
        for number in self._existing_nodes():
            if number not in wanted:
                yield Step(f"remove node {self.layout.node_name(number)}", lambda n=number: self._remove_node(n))
        for number in wanted:
            node = self.node(number)
            if fresh or not node.running():
                yield Step(f"start node {node.name}", lambda n=number: self._start_node(n))
                continue
            for daemon, name in zip(node.daemons(), NODE_DAEMONS, strict=True):
                if self.processes.state(daemon) != "running":
                    yield Step(f"start {name} on {node.name}", lambda node=node, name=name: node.start_daemon(name))
            containerd_runs = self.processes.pid(f"containerd-{number}") is not None
            archives = node.missing_archives(self.wanted.archives) if containerd_runs else self.wanted.archives
            if archives:
                what = f"import {', '.join(i.name for a in archives for i in images.archived(a))} into {node.name}"
                yield Step(what, lambda node=node, archives=archives: node.import_images(archives))

    def _start_node(self, number: int) -> None:
        others = [n for n in self._existing_nodes() if n != number and self.node(n).running()]
        self.node(number).start(others, self.wanted.archives)

    def _remove_node(self, number: int) -> None:
        self.node(number).remove()
        self.api.delete("Node", self.layout.node_name(number))

    def _apply(self, wanted: dict) -> None:
        if wanted["kind"] == "Node":  # only its kubelet can make it
            name = wanted["metadata"]["name"]
            kubelet = f"kubelet-{name.rpartition('-')[2]}"
            wait_for(lambda: name in self.api.nodes(), READY_SECONDS,
                     lambda: f"there is no node {name} to label, kubelet says {self.processes.last_words(kubelet)}")
        self.api.apply(wanted)

    def _objects(self) -> list[dict]:
        own = [*addons.objects(self.layout), *gpu_shim.objects()] if self.layout.full else []
        return [*own, *self.wanted.objects, *self._labelled_nodes()]

    def _labelled_nodes(self) -> Iterator[dict]:
        for number in range(1, self.wanted.nodes + 1):
            name = self.layout.node_name(number)
            labels = dict(self.wanted.node_labels.get(name, {}))
            if number == 1:  # KubeVirt's operator wants a node with it
                labels["node-role.kubernetes.io/control-plane"] = ""
            if labels:
                yield {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
