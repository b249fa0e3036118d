# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules share: options of the documentation fragments, and how a result or an error leaves a module."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError

CLUSTER = {"kubeconfig": {"type": "path"}, "context": {"type": "str"}}
CHECK = {"dest": {"type": "path"}}
CHECK_JOB = {
    "script": {"type": "path", "required": True},
    "image": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
}
MIGRATION = {
    "plan_src": {"type": "path", "required": True},
    "estate_src": {"type": "path", "required": True},
    "settings": {"type": "dict", "default": {}},
    "progress_dest": {"type": "path"},
}


def waiting(wait: bool, timeout_seconds: int) -> dict:
    """The options of the fragment `waiting` with a module's own defaults."""
    return {"wait": {"type": "bool", "default": wait}, "timeout_seconds": {"type": "int", "default": timeout_seconds}}


def answer(module, work: Callable[[], dict]) -> None:
    """End the module with what `work` returns, or with the one sentence of the error it raises."""
    try:
        result = work()
    except TandemError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)
