# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sections of the page, one function each; a section without content returns nothing."""

from __future__ import annotations

from .compose import predicted
from .figures import duration, gibibytes, stack, timeline
from .markup import Markup, join, tag
from .model import Report, label
from .widgets import pill, section, table

MOST_ROWS, MOST_RESTARTS = 400, 12
TONE = {
    "migrated": "good",
    "serving": "good",
    "planned": "",
    "migrating": "warn",
    "rolled back": "warn",
    "failed": "bad",
    "block": "bad",
    "warn": "warn",
    "inform": "",
}


def tiles(report: Report) -> Markup:
    """Return the figures at the top."""
    placed, total = len(report.places), len(report.places) + len(report.unplaced)
    moved = [row for row in report.migrations if row.state == "migrated"]
    downtimes = [row.downtime_seconds for row in report.migrations if row.downtime_seconds is not None]
    lost = sum(len(failure.lost) for failure in report.failures)
    good = sum(check.ok for check in report.checks)
    blocking = sum(one.severity == "block" for one in report.findings)
    proven = sum(not level.gap for level in report.levels)
    found = [
        (f"{placed} of {total}", "workloads placed", "good" if placed == total else "bad"),
        (f"{proven} of {len(report.levels)}", "objectives proven optimal", "good" if proven == len(report.levels) else ""),
    ]
    if report.failures:
        found.append(
            ("yes" if not lost else f"{lost} lost", "survives the loss of any one node" if not lost else "when one node is lost", "bad" if lost else "good")
        )
    if report.migrations:
        found.append((f"{len(moved)} of {len(report.migrations)}", "VMs migrated", "good" if len(moved) == len(report.migrations) else "warn"))
    if downtimes:
        found.append((duration(max(downtimes)), "longest downtime", ""))
    if report.checks:
        found.append((f"{good} of {len(report.checks)}", "checks passed", "good" if good == len(report.checks) else "bad"))
    if report.findings:
        found.append((str(blocking), "blocking concerns" if blocking != 1 else "blocking concern", "bad" if blocking else "good"))
    return tag("div", [tag("div", tag("b", figure), tag("span", caption), class_=f"tile {tone}".strip()) for figure, caption, tone in found], class_="tiles")


def assistant(report: Report) -> Markup | None:
    """Return the assistant's answer, if it was asked."""
    for check in report.checks:
        if check.name == "assistant" and check.data.get("model_sentence"):
            return section(
                "The assistant's answer",
                tag(
                    "div",
                    tag(
                        "div",
                        tag("p", tag("b", str(check.data.get("question", "")))),
                        tag("p", check.sentence, " ", pill("verified" if check.ok else "not in order", "good" if check.ok else "bad")),
                        tag(
                            "p",
                            f"{check.subject}: \N{LEFT DOUBLE QUOTATION MARK}{check.data['model_sentence']}\N{RIGHT DOUBLE QUOTATION MARK}",
                            class_="soft",
                        ),
                        class_="answer",
                    ),
                    class_="card",
                ),
                "facts counted and hashed in the order service's VM, worded by the model in its container",
            )
    return None


def journey(report: Report) -> Markup | None:
    """Return timeline and table of the migrations."""
    if not report.migrations:
        return None
    rows = [
        [
            tag("b", one.vm),
            one.mode,
            pill(one.state, TONE.get(one.state, "")),
            gibibytes(one.bytes_copied) if one.bytes_copied else "",
            tag("span", predicted(one), class_="nowrap"),
            pill("equal", "good") if one.verified else "",
            _hashes(one.hashes),
            [tag("div", text) for text in (one.message, one.fitness) if text] or "",
        ]
        for one in report.migrations
    ]
    head = ["VM", "mode", "state", "copied", "downtime", "target = source", "SHA-256", ""]
    return section("Migrations", join([tag("div", timeline(report.migrations), class_="card"), tag("div", table(head, rows, numbers={3}), class_="card")]))


def plan(report: Report) -> Markup:
    """Return the placements with reasons, what has no place, and the proof."""
    rows = [
        [
            tag("b", label(one.name, one.replica), class_="nowrap"),
            pill("VM" if one.kind == "vm" else one.kind, one.kind),
            tag("span", one.node, class_="nowrap"),
            tag("span", one.shape, class_="mono"),
            tag("span", ", ".join(one.devices), class_="mono"),
            one.wave,
            one.eligible,
            pill(one.outcome, TONE.get(one.outcome, "")),
            one.reason,
        ]
        for one in report.places[:MOST_ROWS]
    ]
    parts = [tag("div", table(["workload", "", "node", "shape", "device", "wave", "eligible", "state", "why there"], rows, numbers={5, 6}), class_="card")]
    if len(report.places) > MOST_ROWS:
        parts.append(tag("p", f"{len(report.places) - MOST_ROWS} more workloads are in report.json."))
    if report.unplaced:
        rows = [[tag("b", label(one.workload, one.replica)), one.sentence, one.relaxation] for one in report.unplaced[:MOST_ROWS]]
        parts.append(tag("div", table(["no place for", "because", "what would help"], rows), class_="card"))
    tables = [_levels(report), _failover(report)]
    parts.append(
        tag("div", [tag("div", table, class_="card") for table in tables if table], class_="two")
        if all(tables)
        else [tag("div", table, class_="card") for table in tables if table]
    )
    stranded = f"GPU share that nothing could use: {report.stranded_gpu_before / 10:g} % before, {report.stranded_gpu_after / 10:g} % after"
    return section("Plan", join([*parts, [tag("p", note) for note in report.notes]]), stranded if any(node.gpus for node in report.nodes) else "")


def models(report: Report) -> Markup | None:
    """Return the models and their memory."""
    if not report.models:
        return None
    rows = [
        [
            tag("b", one.name),
            one.architecture,
            f"{one.parameters / 1e6:,.0f} M" if one.parameters else "",
            one.node,
            tag("span", one.shape, class_="mono"),
            gibibytes(one.weights_bytes),
            gibibytes(one.cache_bytes),
            gibibytes(one.device_bytes) if one.device_bytes else "none",
            gibibytes(one.memory_request_bytes),
        ]
        for one in report.models
    ]
    head = ["model", "architecture", "parameters", "node", "shape", "weights", "cache", "device memory", "host memory"]
    return section("Models", tag("div", table(head, rows, numbers={2, 5, 6, 7, 8}), class_="card"), "weights and cache exact, from the model's own header")


def concerns(report: Report) -> Markup | None:
    """Return the concerns and the ledgers of the source fields."""
    if not report.findings and not report.ledgers:
        return None
    parts = []
    if report.findings:
        loud, quiet = (
            [
                [
                    pill(one.severity, TONE.get(one.severity, "")),
                    tag("b", one.vm, class_="nowrap"),
                    one.sentence,
                    one.remedy,
                    tag("span", one.id, class_="mono faint"),
                ]
                for one in report.findings[:MOST_ROWS]
                if (one.severity == "inform") is quiet
            ]
            for quiet in (False, True)
        )
        head = ["", "VM", "concern", "remedy", "id"]
        more = tag("details", tag("summary", f"{len(quiet)} more to know"), table(head, quiet)) if quiet else None
        parts.append(tag("div", table(head, loud) if loud else None, more, class_="card"))
    if any(one.mapped + one.changed + one.dropped + one.unknown for one in report.ledgers):
        rows = [
            [
                tag("b", one.vm),
                stack([("f-mapped", one.mapped), ("f-changed", one.changed), ("f-dropped", one.dropped), ("f-unknown", one.unknown)]),
                one.mapped,
                one.changed,
                one.dropped,
                one.unknown,
            ]
            for one in report.ledgers[:MOST_ROWS]
        ]
        parts.append(tag("div", table(["source fields of", "", "mapped", "changed", "dropped", "unknown"], rows, numbers={2, 3, 4, 5}), class_="card"))
    return section("Concerns", join(parts), "every field of a source descriptor is accounted for")


def checks(report: Report) -> Markup | None:
    """Return what was checked from inside the cluster."""
    if not report.checks:
        return None
    rows = [
        [
            pill("passed", "good") if one.ok else pill("failed", "bad"),
            one.name.replace("-", " "),
            tag("b", one.subject),
            one.sentence,
            tag("span", one.at[11:19], class_="faint"),
        ]
        for one in report.checks[:MOST_ROWS]
    ]
    return section("Verification", tag("div", table(["", "check", "of", "found", "UTC"], rows), class_="card"), "from inside the cluster, after the moves")


def _levels(report):
    rows = [
        [
            tag("b", one.name),
            f"{one.value:g}",
            f"{one.bound:g}",
            pill("optimal", "good") if not one.gap else "not proven" if one.gap >= 1 else f"{one.gap * 100:.3g} %",
            one.ended_by,
        ]
        for one in report.levels
    ]
    return table(["objective, in order", "value", "proven bound", "gap", "ended by"], rows, numbers={1, 2}) if rows else None


def _failover(report):
    rows = [
        [
            tag("b", one.domain),
            [tag("div", f"{name.removesuffix('/0')} → {node}") for name, node in list(one.restarts.items())[:MOST_RESTARTS]]
            or tag("span", "nothing to restart", class_="faint"),
            pill(", ".join(name.removesuffix("/0") for name in one.lost), "bad") if one.lost else pill("nothing lost", "good"),
        ]
        for one in report.failures[:MOST_ROWS]
    ]
    return table(["if a node is lost", "restarts", ""], rows) if rows else None


def _hashes(found):
    if not found:
        return ""
    return [tag("div", tag("span", f"{disk} {value.removeprefix('sha256:')[:16]}…", title=value), class_="mono") for disk, value in found.items()]
