# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as JUnit XML, for a CI system to show."""
from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from .markup import printable
from .model import Report


def junit(report: Report) -> str:
    """Return one test case a placement, migration, blocking concern and check; what isn't in order is a failure."""
    suites = [
        ("placement", [(one.name, f"{one.name}/{one.replica}", "") for one in report.places]
         + [(one.workload, f"{one.workload}/{one.replica}", f"{one.sentence}; {one.relaxation}") for one in report.unplaced]),
        ("failover", [(one.domain, f"loss of {one.domain}", f"lost: {', '.join(one.lost)}" if one.lost else "") for one in report.failures]),
        ("migration", [(one.vm, one.vm, "" if one.state == "migrated" else one.message or one.state) for one in report.migrations]),
        ("concern", [(one.vm, f"{one.vm} {one.id}", one.sentence if one.severity == "block" else "") for one in report.findings]),
        ("verification", [(one.subject, f"{one.name} {one.subject}", "" if one.ok else one.sentence) for one in report.checks])]
    body, total, bad = [], 0, 0
    for name, cases in suites:
        if not cases:
            continue
        failures = sum(bool(message) for _subject, _case, message in cases)
        total, bad = total + len(cases), bad + failures
        body.append(f'  <testsuite name="{name}" tests="{len(cases)}" failures="{failures}">')
        for subject, case, message in cases:
            line = f"    <testcase classname={_attribute(f'{name}.{subject}')} name={_attribute(case)}"
            body.append(f"{line}/>" if not message else f"{line}><failure message={_attribute(message)}>{escape(printable(message))}</failure></testcase>")
        body.append("  </testsuite>")
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', f'<testsuites name={_attribute(report.title)} tests="{total}" failures="{bad}">',
                      *body, "</testsuites>", ""])


def _attribute(text):
    return quoteattr(printable(text))
