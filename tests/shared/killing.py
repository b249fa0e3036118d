# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of ansible-playbook in a task."""
from __future__ import annotations

import os
import pathlib
import signal
import time


def kill_ansible(pid):
    """Kill a playbook with its workers and modules, which are sessions of their own, but not what the modules started."""
    tree = [pid]
    for one in tree:
        children = pathlib.Path(f"/proc/{one}/task/{one}/children")
        tree += [int(child) for child in children.read_text().split()] if children.exists() else []
    for one in tree:
        try:
            if b"ansible" in pathlib.Path(f"/proc/{one}/cmdline").read_bytes().lower():
                os.kill(one, signal.SIGKILL)
        except OSError:
            continue  # it has just ended


def kill_in_task(process, task, alone=False, delay_seconds=0.6):
    """Kill a playbook, whose output is a pipe, a moment after a task has begun: itself alone, or with its workers and modules."""
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith("TASK [") and task in line:
            break
    else:
        raise AssertionError(f"the playbook ended with {process.wait()} before task {task!r}:\n{''.join(seen[-60:])}")
    time.sleep(delay_seconds)
    if alone:
        process.kill()
    else:
        kill_ansible(process.pid)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL, f"the playbook ended by itself in task {task!r}"
