# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints the table and the place of the page that the module of the same name made."""
from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class ActionModule(ActionBase):
    """Runs the module and prints its summary."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        result |= self._execute_module(module_args=dict(self._task.args), task_vars=task_vars)
        if not result.get("failed"):
            page = [f"The page: file://{result['html']}"] if result.get("html") else []
            for line in ["", *result["lines"], *page, ""]:
                Display().display(line)
        return result
