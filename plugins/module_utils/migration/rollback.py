# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Back to the source: the target is stopped first, then the source gets back its power state and autostart."""
from __future__ import annotations

from datetime import UTC, datetime

from ansible_collections.tandem.hybrid.plugins.module_utils.migration import conversion, fence, movers, target
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.phases import Context

STOP_SECONDS = 240


def loss(context: Context) -> str:
    """What a rollback would lose, in a sentence; empty when the target never ran."""
    state = context.state()
    started = state.target_started_at
    if not started:
        forgotten = context.source.before() and "quiesce" not in state.done
        return f"whatever {context.task.name} wrote on the cluster in a migration that this journal does not know" if forgotten else ""
    minutes = (datetime.now(UTC) - datetime.fromisoformat(started.replace("Z", "+00:00"))).total_seconds() / 60
    return f"everything that {context.task.name} wrote on the cluster since {started} ({minutes:.0f} minutes)"


def needed(context: Context) -> bool:
    """Whether there is anything to take back: by the journal, or by a fence at the source when the journal is gone."""
    state = context.state()
    marked = context.source is not None and bool(context.source.before())
    return (bool(state.done or state.begun) and not state.rolled_back) or marked


def rollback(context: Context, accept_loss: bool, reason: str) -> bool:
    """Put a VM back on its source; False when nothing had to be done. The claims stay, for a later try or a look.

    Raises MigrationError when the target has run and the loss was not accepted.
    """
    if not needed(context):
        return False
    lost = loss(context)
    if lost and not accept_loss:
        raise MigrationError(f"{context.task.name}: a rollback loses {lost}; say so by naming it in accept_loss")
    before = context.source.before() or context.state().done.get("inspect", {})
    context.note("rollback", "started", reason=reason, lost=lost)
    context.say(phase="rollback", event="started", message=reason)
    context.check()
    target.stop(context.cluster, context.task, STOP_SECONDS)
    movers.remove_all(context.cluster, context.task)
    conversion.remove_overlays(context)
    holder, source = fence.owner(context.cluster, context.task), fence.source_identity(context.task)
    if holder and holder != source:
        fence.hand_over(context.cluster, context.task, holder, source)
    context.source.end_backup()
    context.source.unfence(f"{context.task.settings.namespace}.{context.task.name}", bool(before.get("autostart")))
    if before.get("running"):
        context.source.start()
    context.source.clean()
    context.note("rollback", "rolled-back", reason=reason, lost=lost, source_running=bool(before.get("running")))
    context.say(phase="rollback", event="done")
    return True
