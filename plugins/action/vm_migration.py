# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints what the module of the same name writes to its progress file, while it works."""
from __future__ import annotations

import json
import os
import signal
import tempfile
import threading

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.progress import sentence

POLL_SECONDS = 0.5


class ActionModule(ActionBase):
    """Runs the module and, on a local connection, follows its progress file."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if self._connection.transport != "local" or self._task.check_mode:
            return result | self._execute_module(module_args=arguments, task_vars=task_vars)
        given = arguments.get("progress_dest")
        handle, scratch = tempfile.mkstemp(prefix="tandem-progress-")
        os.close(handle)
        path = os.path.abspath(os.path.expanduser(str(given))) if given else scratch
        follower = Follower(path)
        follower.start()
        try:
            return result | self._execute_module(module_args={**arguments, "progress_dest": path}, task_vars=task_vars)
        finally:
            follower.stop()
            os.unlink(scratch)


class Follower(threading.Thread):
    """Displays new lines of a file; ends the module when ansible-playbook itself is gone, so that the next run can take over."""

    def __init__(self, path: str):
        super().__init__(daemon=True)
        self._path, self._display, self._ended = path, Display(), threading.Event()
        self._position = os.path.getsize(path) if os.path.exists(path) else 0
        self._playbook, self._module = os.getppid(), 0

    def run(self):
        while not self._ended.wait(POLL_SECONDS):
            self._show()
            if os.getppid() != self._playbook and self._module:
                os.kill(self._module, signal.SIGTERM)
                return
        self._show()

    def stop(self):
        self._ended.set()
        self.join()

    def _show(self):
        if not os.path.exists(self._path):
            return
        with open(self._path, encoding="utf-8") as file:
            file.seek(self._position)
            for line in iter(file.readline, ""):
                if not line.endswith("\n"):
                    break
                self._position = file.tell()
                self._line(json.loads(line))

    def _line(self, line: dict):
        if "pid" in line:
            self._module = line["pid"]
        else:
            self._display.display(f"  {line['at'][11:19]} {sentence(line)}")
