# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab needs of its machine, checked before anything is changed."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import socket
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cgroups import ROOT
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.commands import SEARCH_PATH
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.node import CNI_PLUGINS
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import Processes, wait_for

PORT_SECONDS = 5.0

# Command to the Debian package that has it.
COMMANDS = {
    "ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux", "mount": "mount", "containerd": "containerd",
    "ctr": "containerd", "runc": "runc", "iptables": "iptables", "conntrack": "conntrack",
    # What images and legacy guests are built with.
    "cc": "gcc", "mmdebstrap": "mmdebstrap", "depmod": "kmod", "mke2fs": "e2fsprogs", "grub-mkimage": "grub-common",
    "qemu-img": "qemu-utils",
    # What the legacy guests run on.
    "libvirtd": "libvirt-daemon-system", "virsh": "libvirt-clients", "qemu-system-x86_64": "qemu-system-x86",
}
# The same for what isn't a command; one of the files suffices.
FILES = {
    "containernetworking-plugins": [f"{path}/bridge" for path in CNI_PLUGINS],
    "libc6-dev": ["/usr/lib/x86_64-linux-gnu/libc.a"],
    "grub-pc-bin": ["/usr/lib/grub/i386-pc/boot.img"],
    "libvirt-daemon-driver-qemu": ["/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so"],
}


def missing_packages() -> list[str]:
    """Packages of which a program is missing; a program that is there, from whatever source, is used as it is."""
    packages = {package for command, package in COMMANDS.items() if not shutil.which(command, path=SEARCH_PATH)}
    packages |= {package for package, files in FILES.items() if not any(Path(file).exists() for file in files)}
    return sorted(packages)


def check_ports(layout: Layout, processes: Processes) -> None:
    """Raise LabError when somebody else listens on a port of a control plane that is to be started on 127.0.0.1."""
    ports = {"etcd": layout.etcd_port, "kube-apiserver": layout.api_port,
             "kube-controller-manager": layout.controller_manager_port, "kube-scheduler": layout.scheduler_port}
    for name, port in ports.items() if not layout.full else ():
        # A daemon that was just killed may keep its port for a moment: its main thread ends before the others do.
        wait_for(lambda name=name, port=port: processes.pid(name) is not None or _free(layout.control_address, port), PORT_SECONDS,
                 lambda name=name, port=port: f"{name} can't listen on {layout.control_address}:{port} (Address already in use); "
                 "choose another port for the lab")


def _free(address: str, port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the daemons do
        try:
            one.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise LabError(f"no daemon can listen on {address}:{port}: {error.strerror}") from error
            return False
    return True


def check(layout: Layout, packages_too: bool = True) -> None:
    """Raise LabError with one sentence when the lab can't run here."""
    if platform.system() != "Linux":
        raise LabError(f"the lab needs Linux, this is {platform.system()}")
    if not layout.full:
        return
    if os.geteuid() != 0:
        raise LabError("a full lab needs root; run as root, or choose tier control_plane, which any user can run")
    if packages_too and (packages := missing_packages()):
        raise LabError(f"the lab needs programs of the packages {', '.join(packages)}, which are not installed")
    if not any((ROOT / name).exists() for name in ("cgroup.controllers", "memory")):
        raise LabError(f"the lab needs control groups mounted at {ROOT}")
