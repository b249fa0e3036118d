# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section with the nodes and GPUs, before and after."""

from __future__ import annotations

from .figures import gibibytes, meter
from .markup import Markup, join, tag
from .model import GpuMap, NodeMap, Piece, Report, label
from .widgets import section

MOST_NODES, MOST_CHIPS, MOST_BEFORE = 60, 12, 5


def node_map(report: Report) -> Markup | None:
    """Return the nodes and GPUs before and after."""
    if not report.nodes:
        return None
    rest = len(report.nodes) - MOST_NODES
    cards = tag("div", [_node(one) for one in report.nodes[:MOST_NODES]], class_="map")
    legend = tag(
        "div",
        [
            tag("span", tag("i", style=f"background:var(--{kind})"), text)
            for kind, text in (("vm", "virtual machine"), ("model", "model"), ("other", "ran there before"))
        ],
        class_="legend",
    )
    more = tag("p", f"{rest} more nodes are in report.json.") if rest > 0 else None
    return section("Nodes and GPUs", join([cards, legend, more]), "before and after the plan; MIG slices by memory slot")


def _node(one: NodeMap) -> Markup:
    mode = one.mode_after if one.mode_before == one.mode_after else f"{one.mode_before or 'none'} → {one.mode_after}"
    head = tag("header", tag("h3", one.name), tag("span", " · ".join(text for text in (one.zone, mode) if text), class_="soft"))
    before = [tag("span", name, class_="chip", title=name) for name in one.before]
    if len(one.before) > MOST_BEFORE:
        before = [tag("span", f"{len(one.before)} pods and VMs", class_="chip")]
    after = [
        tag("span", label(place.name, place.replica), class_=f"chip {place.kind}", title=place.reason)
        for place in one.after[:MOST_CHIPS]
    ]
    if len(one.after) > MOST_CHIPS:
        after.append(tag("span", f"and {len(one.after) - MOST_CHIPS} more", class_="chip"))
    sides = [
        tag(
            "div",
            tag("span", "before"),
            meter("CPU", one.cpu_before, False),
            meter("memory", one.memory_before, False),
            tag("div", before, class_="chips"),
            class_="side",
        ),
        tag(
            "div",
            tag("span", "after"),
            meter("CPU", one.cpu_after, True),
            meter("memory", one.memory_after, True),
            tag("div", after, class_="chips"),
            class_="side",
        ),
    ]
    return tag("section", head, tag("div", sides, class_="pair"), [_gpu(gpu) for gpu in one.gpus], class_="card node")


def _gpu(gpu: GpuMap) -> Markup:
    size = f" · {gibibytes(gpu.memory_bytes)}" if gpu.memory_bytes else ""
    rows = [tag("div", tag("span", when), _slots(pieces, gpu.slices), class_="row") for when, pieces in (("before", gpu.before), ("after", gpu.after))]
    return tag("div", tag("span", f"{gpu.product or 'GPU'}{size} · {gpu.id}"), rows, class_="gpu")


def _slots(pieces: list[Piece], slices: int) -> Markup:
    slots, at = [], 0
    for piece in pieces:
        if piece.start > at:
            slots.append(_slot(Piece(at, piece.start - at, ""), slices))
        slots.append(_slot(piece, slices))
        at = piece.start + piece.length
    if at < slices:
        slots.append(_slot(Piece(at, slices - at, ""), slices))
    return tag("div", slots, class_="slots", style=f"grid-template-columns:repeat({slices},minmax(0,1fr))")


def _slot(piece: Piece, slices: int) -> Markup:
    text = [tag("b", piece.owner or "free"), tag("span", piece.label)]
    hint = " ".join(part for part in (piece.label, piece.owner or "free") if part)
    return tag("div", text, class_=f"slot {piece.kind}", style=f"grid-column:span {min(piece.length, slices)}", title=hint)
