# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as text for a terminal, and as a small summary."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.codec import digest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan


def summary(plan: Plan) -> dict:
    """Return counts, digest and levels: what a task returns of a plan."""
    return {
        "digest": digest(plan), "placed": len(plan.assignments), "unplaced": len(plan.unplaced), "waves": len(plan.waves),
        "moves": sum(len(wave.moves) for wave in plan.waves), "lost_restarts": sum(len(failure.lost) for failure in plan.failures),
        "changed_nodes": sorted(setting.node for setting in plan.settings if setting.changed),
        "levels": [{"name": level.name, "value": level.value, "bound": level.bound, "gap": level.gap, "ended_by": level.ended_by}
                   for level in plan.levels],
        "engine": plan.engine,
    }


def lines(plan: Plan, limit: int = 60) -> list[str]:
    """Return the plan as lines: who runs where and why, waves, what was not placed, how good it is."""
    rows = [("WORKLOAD", "NODE", "DEVICES", "SHAPE", "WAVE", "WHY")]
    for one in plan.assignments[:limit]:
        rows.append((f"{one.workload}/{one.replica}", one.node, ", ".join(map(_device, one.devices)) or "-", one.shape,
                     str(one.wave or "-"), one.reason))
    text = table(rows)
    if len(plan.assignments) > limit:
        text.append(f"... and {len(plan.assignments) - limit} more")
    for setting in plan.settings:
        if setting.changed:
            layouts = "; ".join(f"{gpu}: {' '.join(instances)}" for gpu, instances in sorted(setting.mig.items()))
            text.append(f"node {setting.node} changes to GPU mode {setting.gpu_mode}{' with ' + layouts if layouts else ''}")
    for wave in plan.waves[:limit]:
        moves = [f"{move.workload} {move.source} -> {move.target} ({move.how}{', pivot' if move.pivot else ''})" for move in wave.moves]
        text.append(f"wave {wave.number}: " + ", ".join([*moves, *(f"start {name}" for name in wave.starts)]))
    for one in plan.unplaced[:limit]:
        text += [one.sentence, f"  cheapest way out: {one.relaxation}"]
    for failure in plan.failures[:limit]:
        if failure.restarts or failure.lost:
            where = ", ".join(f"{name} -> {node}" for name, node in sorted(failure.restarts.items())[:8])
            text.append(f"if {failure.domain} fails: {where or 'nothing restarts'}" + (f"; LOST: {', '.join(failure.lost)}" if failure.lost else ""))
    rows = [("LEVEL", "VALUE", "BOUND", "GAP", "ENDED BY")]
    rows += [(f"{level.name} ({level.sense})", f"{level.value:g}", f"{level.bound:g}", f"{100 * level.gap:.2f} %", level.ended_by)
             for level in plan.levels]
    return [*text, *table(rows), *(f"note: {note}" for note in plan.notes)]


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _device(use):
    if use.slot is not None:
        return f"{use.gpu} {use.profile}@{use.slot}"
    if use.milli < 1000:
        return f"{use.gpu} {use.milli}/1000"
    return f"{use.gpu} {use.profile}".rstrip()
