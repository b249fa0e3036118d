# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Presence and absence of a lab: whose it is, the lock, and what a killed run left."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import files
from ansible_collections.tandem.hybrid.plugins.module_utils.lab import preflight
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cgroups import Cgroups
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.lab import Lab, Step, Wanted
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.network import Network
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import Processes, wait_for
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.progress import reporter

LOCK_SECONDS = 600


def ensure(parameters: Mapping[str, Any], check_only: bool) -> dict[str, Any]:
    """Bring the lab into the state that the parameters of module lab_cluster ask for; returns the module's result."""
    started = time.monotonic()
    layout = Layout(Path(parameters["directory"]), parameters["lab_id"], parameters["tier"], parameters["port"])
    if parameters["state"] == "absent":
        result = {"steps": ensure_absent(layout, check_only)}
    else:
        wanted = Wanted({name: Path(path) for name, path in parameters["binaries"].items()},
                        Path(parameters["sources"]), parameters["nodes"], parameters["kwok"],
                        [Path(path) for path in parameters["images"]], parameters["node_labels"],
                        parameters["objects"])
        say = reporter(parameters["progress"])
        result = {"steps": ensure_present(layout, wanted, check_only, say), "kubeconfig": str(layout.kubeconfig)}
    diff = {"before": "", "after": "".join(f"{step}\n" for step in result["steps"])}
    return {**result, "changed": bool(result["steps"]), "diff": diff, "seconds": round(time.monotonic() - started, 1)}


def ensure_present(layout: Layout, wanted: Wanted, check_only: bool = False,
                   say: Callable[[str], None] = lambda line: None) -> list[str]:
    """Bring the lab up, or repair it; returns what was, or in check mode would be, done.

    Raises LabError when the machine lacks something, the lab's number is another's, or a part doesn't come up.
    """
    lab = Lab(layout, wanted)
    preflight.check(layout, packages_too=not check_only)  # a check may come before the packages
    preflight.check_ports(layout, lab.processes)
    _check_owner(layout)
    if check_only:
        return [step.what for step in lab.steps()]
    with _locked(layout.directory):
        _claim(layout)
        started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        steps = lab.steps()
        for step in steps:
            say(step.what)
            step.run()
        restarted = any(step.what.startswith(("start node", "start kubelet")) for step in steps)
        lab.wait(started if restarted else "")
    return [step.what for step in steps]


def ensure_absent(layout: Layout, check_only: bool = False) -> list[str]:
    """End the lab and remove all that it made; returns what was, or in check mode would be, done."""
    layout = recorded(layout.directory) or layout
    if _owner(layout) not in (None, layout.directory):
        return []  # the lab with this number is another directory's
    steps = _absent_steps(layout)
    if steps and layout.full:
        preflight.check(layout)
    if steps and not check_only:
        with _locked(layout.directory):
            for step in _absent_steps(layout):  # anew: another run may have worked on it until now
                step.run()
        if layout.directory.is_dir() and not any(p.name != ".lock" for p in layout.directory.iterdir()):
            shutil.rmtree(layout.directory)
    return [step.what for step in steps]


def recorded(directory: Path) -> Layout | None:
    """The lab that was made in the directory; None when there is none."""
    try:
        record = json.loads((directory / "lab.json").read_text())
        return Layout(directory, record["lab_id"], record["tier"], record["port"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        raise LabError(f"{directory}/lab.json is damaged: {error}") from error


def _absent_steps(layout: Layout) -> list[Step]:
    processes = Processes(layout.run, layout.logs)
    steps = []
    if layout.full:
        cgroups, network = Cgroups(layout.name), Network(layout)
        if pids := cgroups.processes():
            steps.append(Step(f"end {len(pids)} processes", cgroups.kill))
        if network.exists():
            steps.append(Step(f"remove network {layout.name}", network.remove_all))
        if cgroups.exists():
            steps.append(Step(f"remove control group {layout.name}", cgroups.remove))
    elif running := [name for name in processes.names() if processes.pid(name) is not None]:
        steps.append(Step(f"end {', '.join(running)}", lambda: processes.stop(running, grace_seconds=0)))
    if layout.state_file.exists():
        steps.append(Step(f"remove {layout.directory}", lambda: _remove_files(layout)))
    if layout.full and layout.claim_file.exists():
        steps.append(Step(f"remove {layout.claim_file}", lambda: _unclaim(layout)))
    return steps


def _remove_files(layout: Layout) -> None:
    for path in layout.made:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    layout.state_file.unlink()


def _check_owner(layout: Layout) -> None:
    known = recorded(layout.directory)
    if known and replace(known, port=known.api_port) != replace(layout, port=layout.api_port):
        raise LabError(f"the lab in {layout.directory} was made with tier {known.tier}, id {known.lab_id} and port "
                       f"{known.api_port}; remove it before you make another of it")
    if (owner := _owner(layout)) not in (None, layout.directory):
        raise LabError(f"lab id {layout.lab_id} is that of the lab in {owner}; choose another id or remove that lab")


def _owner(layout: Layout) -> Path | None:
    """The directory of the full lab that has this number on this machine."""
    if not layout.full or not layout.claim_file.exists():
        return None
    owner = Path(layout.claim_file.read_text().strip())
    known = recorded(owner)
    return owner if known and known.full and known.lab_id == layout.lab_id else None


def _claim(layout: Layout) -> None:
    record = {"lab_id": layout.lab_id, "tier": layout.tier, "port": layout.port}
    files.write(str(layout.state_file), json.dumps(record) + "\n")
    if layout.full:
        layout.claim_file.parent.mkdir(exist_ok=True)
        files.write(str(layout.claim_file), f"{layout.directory}\n")


def _unclaim(layout: Layout) -> None:
    Network(layout).release()
    layout.claim_file.unlink()
    if not any(layout.claim_file.parent.iterdir()):
        layout.claim_file.parent.rmdir()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        stream = (directory / ".lock").open("w")
    except OSError as error:
        raise LabError(f"lab directory {directory} can't be written: {error.strerror}") from error
    with stream:
        # A run whose ansible was killed may still be at work.
        wait_for(lambda: _lock(stream), LOCK_SECONDS, lambda: f"another run is working on the lab in {directory}")
        yield


def _lock(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
