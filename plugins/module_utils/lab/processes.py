# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Daemons of a lab: started apart from their starter, recognised again without ever meeting a stranger."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.commands import SEARCH_PATH
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError

GRACE_SECONDS = 3.0


@dataclass(frozen=True)
class Daemon:
    """A command that shall run. ``enter`` is the command prefix which brings it into a namespace, ``groups`` the
    cgroup.procs files it joins, ``configuration`` the contents of files that it reads once, at its start."""

    name: str
    command: Sequence[str]
    enter: Sequence[str] = ()
    groups: Sequence[Path] = ()
    configuration: str = ""

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps([*self.command, self.configuration]).encode()).hexdigest()[:16]


class Processes:
    """The daemons that have their records in the directory ``run`` and their output in ``logs``."""

    def __init__(self, run: Path, logs: Path) -> None:
        self.run, self.logs = run, logs

    def pid(self, name: str) -> int | None:
        """Process id of a running daemon; None when it has ended, whatever its record says."""
        record = self._record(name)
        if record is None or record["boot"] != _boot_id() or record["start"] != _start_time(record["pid"]):
            return None
        return record["pid"]

    def state(self, daemon: Daemon) -> str:
        """``running``, ``outdated`` (runs with another command or configuration) or ``stopped``."""
        if self.pid(daemon.name) is None:
            return "stopped"
        return "running" if self._record(daemon.name)["digest"] == daemon.digest else "outdated"

    def names(self) -> list[str]:
        """All daemons that have a record, running or not."""
        return sorted(path.stem for path in self.run.glob("*.json"))

    def start(self, daemon: Daemon) -> None:
        """Start the daemon, ending one of that name which runs otherwise."""
        state = self.state(daemon)
        if state == "running":
            return
        if state == "outdated":
            self.stop([daemon.name])
        self.run.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self._path(daemon.name)

        def prepare() -> None:  # in the child: recorded before it becomes the daemon, so no crash can lose it
            for group in daemon.groups:
                group.write_text("0")
            _write(path, {"pid": os.getpid(), "start": _start_time(os.getpid()), "boot": _boot_id(),
                          "digest": daemon.digest})

        with (self.logs / f"{daemon.name}.log").open("ab") as log:
            try:
                subprocess.Popen([*daemon.enter, *daemon.command], cwd="/", stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=log, start_new_session=True, preexec_fn=prepare,
                                 env={"PATH": SEARCH_PATH, "HOME": "/"})
            except (OSError, subprocess.SubprocessError) as error:
                raise LabError(f"{daemon.name} can't be started: {error}") from error

    def stop(self, names: Sequence[str], grace_seconds: float = GRACE_SECONDS) -> None:
        """End daemons: all are asked at once, those that take longer than the grace are killed."""
        running = {name: pid for name in names if (pid := self.pid(name)) is not None}
        for pid in running.values():
            _signal_tree(pid, signal.SIGTERM)
        end = time.monotonic() + grace_seconds
        for name, pid in running.items():
            if not _wait(lambda name=name: self.pid(name) is None, max(0.0, end - time.monotonic())):
                _signal_tree(pid, signal.SIGKILL)
                _wait(lambda name=name: self.pid(name) is None, GRACE_SECONDS)
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def last_words(self, name: str) -> str:
        """The last line of the daemon's log, for error messages."""
        path = self.logs / f"{name}.log"
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        return f"{path}: {lines[-1][:300]}" if lines else f"{path} is empty"

    def _path(self, name: str) -> Path:
        return self.run / f"{name}.json"

    def _record(self, name: str) -> dict | None:
        try:
            return json.loads(self._path(name).read_text())
        except (FileNotFoundError, ValueError):
            return None


def children(pid: int) -> list[int]:
    """Process ids of the direct children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def alive(pid: int) -> bool:
    """Whether there is such a process and it isn't a zombie."""
    return _start_time(pid) is not None


def command_name(pid: int) -> str:
    """The kernel's short name of a process; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def memory_bytes(pid: int) -> int:
    """Resident set size of a process and its children."""
    total = 0
    for one in [pid, *children(pid)]:
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue  # it has just ended
    return total


def wait_for(condition: Callable[[], bool], seconds: float, problem: Callable[[], str]) -> None:
    """Poll until the condition holds; LabError with ``problem()`` after the time."""
    if not _wait(condition, seconds):
        raise LabError(problem())


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(0.1)
    return True


def _signal_tree(pid: int, number: int) -> None:
    """Signal a process; where it is an nsenter waiting for its child in another pid namespace, the child."""
    for one in children(pid) if command_name(pid) == "nsenter" else [pid]:
        try:
            os.kill(one, number)
        except ProcessLookupError:
            continue  # it has just ended


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot (field 22 of proc(5) stat); None for none and for zombies."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _write(path: Path, record: dict) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(record))
    new.rename(path)
