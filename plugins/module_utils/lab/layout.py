# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything of a lab is: paths, names, addresses and ports, all from its directory and its number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError

TIERS = ("control_plane", "full")
LAB_IDS = range(10)
NODE_LIMIT = 9
# A node lays its own directories over these, so the lab's state can't lie in them.
COVERED = ("/etc", "/var/log", "/run", "/var/run", "/proc", "/sys", "/dev")


@dataclass(frozen=True)
class Layout:
    """A lab's shape; a ``full`` lab has a network of its own, a ``control_plane`` lab listens on 127.0.0.1."""

    directory: Path
    lab_id: int = 0
    tier: str = "full"
    port: int = 0

    def __post_init__(self) -> None:
        if self.tier not in TIERS:
            raise LabError(f"lab tier {self.tier!r} is unknown, expected one of {', '.join(TIERS)}")
        if self.lab_id not in LAB_IDS:
            raise LabError(f"lab id {self.lab_id} is out of range, expected 0 to {LAB_IDS[-1]}")
        if not self.directory.is_absolute():
            raise LabError(f"lab directory {self.directory} is not an absolute path")
        for covered in COVERED if self.full else ():
            if self.directory.is_relative_to(covered):
                raise LabError(f"lab directory {self.directory} lies under {covered}, which nodes replace; "
                               "choose one elsewhere, such as /var/lib/tandem/lab")

    @property
    def full(self) -> bool:
        return self.tier == "full"

    # Paths

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def logs(self) -> Path:
        return self.directory / "log"

    @property
    def run(self) -> Path:
        return self.directory / "run"

    @property
    def etcd_data(self) -> Path:
        return self.directory / "etcd"

    @property
    def volumes(self) -> Path:
        return self.directory / "volumes"

    @property
    def state_file(self) -> Path:
        return self.directory / "lab.json"

    @property
    def made(self) -> tuple[Path, ...]:
        """All that a lab writes into its directory, but for its own record."""
        others = (self.directory / name for name in ("nodes", "bin", "artifacts"))
        return (*others, self.volumes, self.etcd_data, self.pki, self.run, self.logs)

    @property
    def kubeconfig(self) -> Path:
        return self.pki / "admin.kubeconfig"

    @property
    def claim_file(self) -> Path:
        """Says on the machine which directory the lab with this number has."""
        return Path("/run/tandem") / self.name

    @property
    def kubectl(self) -> Path:
        return self.directory / "bin" / "kubectl"

    def node_directory(self, number: int) -> Path:
        return self.directory / "nodes" / str(number)

    # Names on the machine

    @property
    def name(self) -> str:
        """Name of the network namespace and the control group, and prefix of the links."""
        return f"tandem{self.lab_id}"

    @property
    def host_link(self) -> str:
        return f"{self.name}-h"

    def node_namespace(self, number: int) -> str:
        return f"{self.name}-n{number}"

    def node_name(self, number: int) -> str:
        """The first lab's nodes are lab-1, lab-2; those of another lab carry its number."""
        return f"lab-{number}" if self.lab_id == 0 else f"lab{self.lab_id}-{number}"

    # Addresses

    @property
    def host_address(self) -> str:
        return f"10.{200 + self.lab_id}.0.1"

    @property
    def control_address(self) -> str:
        return f"10.{200 + self.lab_id}.0.2" if self.full else "127.0.0.1"

    def node_address(self, number: int) -> str:
        return f"10.{200 + self.lab_id}.0.{10 + number}"

    @property
    def pod_network(self) -> str:
        return f"10.{230 + self.lab_id}.0.0/16"

    def node_pod_network(self, number: int) -> str:
        return f"10.{230 + self.lab_id}.{number}.0/24"

    @property
    def service_network(self) -> str:
        return f"10.{90 + self.lab_id}.0.0/20"

    @property
    def service_address(self) -> str:
        return f"10.{90 + self.lab_id}.0.1"

    @property
    def dns_address(self) -> str:
        return f"10.{90 + self.lab_id}.0.10"

    # Ports: six in a row

    @property
    def api_port(self) -> int:
        return self.port or 6443 + 10 * self.lab_id

    @property
    def etcd_port(self) -> int:
        return self.api_port + 1

    @property
    def etcd_peer_port(self) -> int:
        return self.api_port + 2

    @property
    def controller_manager_port(self) -> int:
        return self.api_port + 3

    @property
    def scheduler_port(self) -> int:
        return self.api_port + 4

    @property
    def kwok_port(self) -> int:
        return self.api_port + 5

    @property
    def server(self) -> str:
        return f"https://{self.control_address}:{self.api_port}"
