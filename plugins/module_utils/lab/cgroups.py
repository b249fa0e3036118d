# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control groups of a full lab, on cgroup v1 and v2."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import alive

ROOT = Path("/sys/fs/cgroup")
CONTROL = "control"
PATIENCE_SECONDS = 60  # a machine under heavy load takes its time to end processes


class Cgroups:
    """The groups ``<lab>/control`` and ``<lab>/<node number>`` in every hierarchy of the machine."""

    def __init__(self, lab: str, root: Path = ROOT) -> None:
        self.lab = lab
        self.root = root
        self.unified = (root / "cgroup.controllers").exists()

    def hierarchies(self) -> list[Path]:
        """The mounted hierarchies: one on v2, one per controller on v1."""
        if self.unified:
            return [self.root]
        return sorted(path for path in self.root.iterdir() if path.is_dir() and not path.is_symlink()
                      and (path / "cgroup.procs").exists())

    def create(self, group: str) -> None:
        """Make the group; it may exist."""
        for hierarchy in self.hierarchies():
            for path in (hierarchy / self.lab, hierarchy / self.lab / group):
                if self.unified:
                    _delegate(path.parent)
                path.mkdir(exist_ok=True)
                for name in ("cpuset.cpus", "cpuset.mems"):  # v1: an empty cpuset takes no process
                    if not self.unified and (path / name).exists() and not (path / name).read_text().strip():
                        (path / name).write_text((path.parent / name).read_text())
        if self.unified and group != CONTROL:  # v2: processes live in leaves only, and kubelet makes siblings
            (self.root / self.lab / group / "init").mkdir(exist_ok=True)

    def members(self, group: str) -> list[Path]:
        """The cgroup.procs files by which a process joins the group."""
        leaf = [] if not self.unified or group == CONTROL else ["init"]
        return [Path(h, self.lab, group, *leaf, "cgroup.procs") for h in self.hierarchies()]

    def exists(self, group: str = "") -> bool:
        """Whether the group, or the lab's own, is in any hierarchy."""
        return any((h / self.lab / group).exists() for h in self.hierarchies())

    def processes(self, group: str = "") -> set[int]:
        """All processes in the group or below it; zombies, which only their parent can end, are left out."""
        found: set[int] = set()
        for hierarchy in self.hierarchies():
            for path, _unused, _unused in os.walk(hierarchy / self.lab / group):  # which passes over groups that go meanwhile
                try:
                    found.update(int(pid) for pid in Path(path, "cgroup.procs").read_text().split())
                except OSError:
                    continue
        return {pid for pid in found if alive(pid)}

    def kill(self, group: str = "") -> None:
        """Kill every process in the group or below it; LabError when one is left after a minute."""
        end = time.monotonic() + PATIENCE_SECONDS
        while pids := self.processes(group):
            if time.monotonic() > end:
                raise LabError(f"processes {sorted(pids)} in control group {self.lab}/{group} can't be ended")
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)

    def remove(self, group: str = "") -> None:
        """Remove the group and all below it, once the kernel has let go of dead processes (at most a minute)."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self.exists(group):
            for hierarchy in self.hierarchies():
                for path, _unused, _unused in os.walk(hierarchy / self.lab / group, topdown=False):
                    try:
                        os.rmdir(path)
                    except OSError as error:
                        if time.monotonic() > end:
                            raise LabError(f"control group {path} can't be removed: {error.strerror}") from error
            time.sleep(0.05)


def _delegate(path: Path) -> None:
    """v2: let children of the group have all controllers."""
    controllers = (path / "cgroup.controllers").read_text().split()
    enabled = (path / "cgroup.subtree_control").read_text().split()
    if wanted := [f"+{name}" for name in controllers if name not in enabled]:
        (path / "cgroup.subtree_control").write_text(" ".join(wanted))
