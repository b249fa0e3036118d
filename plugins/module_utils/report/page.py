# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one self-contained HTML page."""
from __future__ import annotations

from . import sections
from .markup import Markup, join, tag
from .model import Report
from .node_map import node_map
from .style import STYLE


def page(report: Report) -> str:
    """Return the page; it loads nothing and runs no script."""
    parts = [section(report) for section in (
        sections.tiles, sections.assistant, node_map, sections.journey, sections.plan, sections.models,
        sections.checks, sections.concerns)]
    head = tag("header", tag("h1", report.title), tag("span", report.at[:19].replace("T", " ") + (" UTC" if report.at else ""), class_="soft"))
    foot = tag("footer", f"plan {report.plan_digest} · capacity {report.capacity_digest} · demand {report.demand_digest}"
                         + (f" · planned by {report.engine}" if report.engine else ""), class_="mono")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return ("<!doctype html>\n" + tag(
        "html", tag("head", Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
                                   f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
                    tag("title", report.title), tag("style", Markup(STYLE))),
        tag("body", tag("main", head, join([part for part in parts if part]), foot)), lang="en") + "\n")
