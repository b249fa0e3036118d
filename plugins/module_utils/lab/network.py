# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network of a full lab: one bridge in a namespace of its own, on which the machine and every node hang.

No namespace has a default route, so nothing can leave the machine. The machine reaches pods by way of the control
plane's namespace, and Services by way of node 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.commands import attempt, run, succeeds
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout

NAMESPACES = Path("/run/netns")


def enter(namespace: str) -> list[str]:
    """Command prefix that runs a command in a network namespace."""
    return ["nsenter", f"--net={NAMESPACES / namespace}", "--"]


class Network:
    """Makes, checks and removes the links and namespaces of one lab."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    # The control plane's namespace

    def complete(self) -> bool:
        """Whether the control plane's namespace, bridge, link and routes are all there."""
        lab = self.layout
        return (_usable(lab.name) and _up("lab-br", lab.control_address, lab.name) and _up(f"{lab.name}-p", "", lab.name)
                and _up(lab.host_link, lab.host_address)
                and {lab.pod_network, lab.service_network} <= _routes(lab.host_link))

    def create(self) -> None:
        """Make what :meth:`complete` looks for, over whatever half of it is there."""
        lab = self.layout
        port, inside = f"{lab.name}-p", lab.name
        if not _usable(lab.name):
            self.remove()
            self._add_namespace(lab.name)
        if not (_link(lab.host_link) and _link(port, inside)):
            _delete_link(lab.host_link)
            _ip("link", "add", lab.host_link, "type", "veth", "peer", "name", port, "netns", lab.name)
        if not _link("lab-br", inside):
            _ip("link", "add", "lab-br", "type", "bridge", namespace=inside)
        _ip("link", "set", "lo", "up", namespace=inside)
        _ip("addr", "replace", f"{lab.control_address}/24", "dev", "lab-br", namespace=inside)
        _ip("link", "set", "lab-br", "up", namespace=inside)
        _ip("link", "set", port, "master", "lab-br", "up", namespace=inside)
        _sysctl(inside, "net.ipv4.ip_forward", 1)
        _sysctl(inside, "net.bridge.bridge-nf-call-iptables", 0)
        _ip("addr", "replace", f"{lab.host_address}/24", "dev", lab.host_link)
        _ip("link", "set", lab.host_link, "up")
        _ip("route", "replace", lab.pod_network, "via", lab.control_address)
        _ip("route", "replace", lab.service_network, "via", lab.node_address(1))

    def remove(self) -> None:
        """Remove the control plane's namespace and its link to the machine; its routes go with the link."""
        _delete_link(self.layout.host_link)
        _delete_namespace(self.layout.name)

    def remove_all(self) -> None:
        """Remove everything of the lab's network, the nodes' namespaces included."""
        self.remove()
        for name in self.namespaces():
            _delete_namespace(name)

    def release(self) -> None:
        """Undo the mount of the folder of namespaces if a lab has made it and this lab is the last."""
        if not self.mounted_file.exists() or set(self.mounted_file.parent.iterdir()) - {self.mounted_file, self.layout.claim_file}:
            return
        if _mounted() and not any(NAMESPACES.iterdir()) and succeeds(["umount", str(NAMESPACES)]):
            NAMESPACES.rmdir()
        self.mounted_file.unlink()

    def _add_namespace(self, name: str) -> None:
        if not _mounted():  # `ip netns` mounts the folder on itself then, to share it with other mount namespaces
            self.mounted_file.parent.mkdir(exist_ok=True)
            self.mounted_file.touch()
        _ip("netns", "add", name)

    @property
    def mounted_file(self) -> Path:
        """Is there while the mount of the folder of namespaces is a lab's."""
        return self.layout.claim_file.parent / "netns"

    def exists(self) -> bool:
        """Whether anything of the lab's network is on the machine."""
        return bool(_link(self.layout.host_link)) or bool(self.namespaces())

    # A node's namespace

    def create_node(self, number: int, others: Sequence[int]) -> None:
        """Make a fresh namespace for a node, and routes between its pods and those of the other nodes."""
        lab, inside = self.layout, self.layout.node_namespace(number)
        address = lab.node_address(number)
        self.remove_node(number)
        self._add_namespace(inside)
        _ip("link", "add", inside, "netns", lab.name, "type", "veth", "peer", "name", "eth0", "netns", inside)
        _ip("link", "set", inside, "master", "lab-br", "up", namespace=lab.name)
        _ip("link", "set", "lo", "up", namespace=inside)
        _ip("addr", "add", f"{address}/24", "dev", "eth0", namespace=inside)
        _ip("link", "set", "eth0", "up", namespace=inside)
        _sysctl(inside, "net.ipv4.ip_forward", 1)
        _sysctl(inside, "net.bridge.bridge-nf-call-iptables", 1)
        _sysctl(inside, "net.ipv4.conf.all.rp_filter", 0)
        # ClusterIPs need a route before they are translated; a bridge without ports swallows what isn't.
        _ip("link", "add", "lab-svc", "type", "bridge", namespace=inside)
        _ip("link", "set", "lab-svc", "up", namespace=inside)
        _ip("route", "add", lab.service_network, "dev", "lab-svc", namespace=inside)
        _ip("route", "replace", lab.node_pod_network(number), "via", address, namespace=lab.name)
        for other in others:
            there = lab.node_namespace(other)
            _ip("route", "replace", lab.node_pod_network(other), "via", lab.node_address(other), namespace=inside)
            _ip("route", "replace", lab.node_pod_network(number), "via", address, namespace=there)

    def node_complete(self, number: int) -> bool:
        """Whether a node's namespace is there and its link is up."""
        inside = self.layout.node_namespace(number)
        return _usable(inside) and _up("eth0", self.layout.node_address(number), inside)

    def remove_node(self, number: int) -> None:
        """Remove a node's namespace and its link."""
        name = self.layout.node_namespace(number)
        if _usable(self.layout.name):
            _delete_link(name, self.layout.name)
        _delete_namespace(name)

    def namespaces(self) -> list[str]:
        """The lab's network namespaces, dead files of an earlier boot included."""
        lab = self.layout.name
        names = [path.name for path in NAMESPACES.iterdir()] if NAMESPACES.is_dir() else []
        return sorted(name for name in names if name == lab or name.startswith(f"{lab}-n"))


def _mounted() -> bool:
    return any(line.split()[4] == str(NAMESPACES) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _ip(*arguments: str, namespace: str = "") -> str:
    return run([*(enter(namespace) if namespace else []), "ip", *arguments])


def _usable(namespace: str) -> bool:
    """False also for the dead file that a reboot leaves where /run is on disk."""
    return (NAMESPACES / namespace).exists() and succeeds([*enter(namespace), "true"])


def _link(name: str, namespace: str = "") -> dict | None:
    prefix = enter(namespace) if namespace else []
    shown = attempt([*prefix, "ip", "-json", "addr", "show", "dev", name])
    found = json.loads(shown.stdout or "[]") if shown.returncode == 0 else []
    return next((link for link in found if link), None)


def _up(name: str, address: str, namespace: str = "") -> bool:
    link = _link(name, namespace)
    return (link is not None and "UP" in link["flags"]
            and (not address or address in [info.get("local") for info in link["addr_info"]]))


def _routes(link: str) -> set[str]:
    return {route["dst"] for route in json.loads(_ip("-json", "route", "show", "dev", link) or "[]")}


def _delete_link(name: str, namespace: str = "") -> None:
    if not _link(name, namespace):
        return
    done = attempt([*(enter(namespace) if namespace else []), "ip", "link", "del", name])
    if done.returncode != 0 and _link(name, namespace):  # else it went with its peer's namespace meanwhile
        raise LabError(f"link {name} can't be deleted: {done.stderr.strip()}")


def _delete_namespace(name: str) -> None:
    path = NAMESPACES / name
    if not path.exists():
        return
    if not succeeds(["ip", "netns", "del", name]):
        path.unlink(missing_ok=True)


def _sysctl(namespace: str, name: str, value: int) -> None:
    path = "/proc/sys/" + name.replace(".", "/")
    if Path(path).exists():  # bridge-nf-call exists only where the kernel filters bridged packets at all
        run([*enter(namespace), "tee", path], stdin=str(value))
