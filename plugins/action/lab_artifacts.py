# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows what modules of the lab tell while they work."""

from __future__ import annotations

import tempfile
import threading

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

POLL_SECONDS = 0.5


class ActionModule(ActionBase):
    """Runs the module and, on a local connection, displays what it writes to its file ``progress``."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if self._connection.transport != "local" or arguments.get("progress"):
            return result | self._execute_module(module_args=arguments, task_vars=task_vars)
        with tempfile.NamedTemporaryFile("r", prefix="tandem-lab-", encoding="utf-8") as stream:
            ended = threading.Event()
            follower = threading.Thread(target=_follow, args=(stream, ended), daemon=True)
            follower.start()
            try:
                arguments["progress"] = stream.name
                return result | self._execute_module(module_args=arguments, task_vars=task_vars)
            finally:
                ended.set()
                follower.join()


def _follow(stream, ended):
    display = Display()
    while True:
        last = ended.wait(POLL_SECONDS)
        for line in stream:
            display.display(f"  {line.rstrip()}")
        if last:
            return
