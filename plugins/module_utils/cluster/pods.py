# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why pods do not run: which pod, which container, what it says. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.status import (
    because,
    condition,
    status_of,
)

_STARTING = {"ContainerCreating", "PodInitializing"}


def problems(pods: Iterable[dict], limit: int = 5) -> list[str]:
    """One sentence part for each pod that is not ready, at most `limit`, the rest counted."""
    found = [f"pod {pod['metadata']['name']}: {text}" for pod in pods if (text := problem(pod))]
    return found[:limit] + ([f"and {len(found) - limit} more pods"] if len(found) > limit else [])


def problem(pod: dict) -> str | None:
    """Why one pod is not ready, None if it is."""
    status = status_of(pod)
    if status.get("phase") == "Succeeded" or condition(pod, "Ready").get("status") == "True":
        return None
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"not scheduled{because(scheduled)}"
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    reasons = [text for container in containers if (text := _container(container))]
    if reasons:
        return ", ".join(reasons)
    return f"{status.get('phase', 'Pending')}{because(status) or because(condition(pod, 'Ready'))}"


def _container(status: dict) -> str | None:
    state = status.get("state") or {}
    waiting, ended = state.get("waiting"), state.get("terminated")
    last = (status.get("lastState") or {}).get("terminated") or {}
    where = f"container {status.get('name')} ({status.get('image')})"
    if waiting:
        ending = f", ended with exit code {last.get('exitCode')}{because(last)} before" if last else ""
        if waiting.get("reason") in _STARTING and not ending:
            return None
        return f"{where} waits{because(waiting)}{ending}"
    if ended and ended.get("exitCode"):
        return f"{where} ended with exit code {ended['exitCode']}{because(ended)}"
    if state.get("running") and not status.get("ready") and status.get("started") is not None:
        return f"{where} runs but is not ready, restarted {status.get('restartCount', 0)} times"
    return None
