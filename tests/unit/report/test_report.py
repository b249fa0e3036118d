# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import html.parser
import xml.etree.ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity, Node
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import Journal, seal
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.report.compose import compose, outcomes
from ansible_collections.tandem.hybrid.plugins.module_utils.report.journey import migrations
from ansible_collections.tandem.hybrid.plugins.module_utils.report.junit import junit
from ansible_collections.tandem.hybrid.plugins.module_utils.report.markup import printable, tag
from ansible_collections.tandem.hybrid.plugins.module_utils.report.model import Report, ReportError
from ansible_collections.tandem.hybrid.plugins.module_utils.report.page import page
from ansible_collections.tandem.hybrid.plugins.module_utils.report.table import WIDTH, table

from . import story

EVIL = "<script>alert('x')</script>\"&"
VOID = {"meta"}


class Reader(html.parser.HTMLParser):
    """Collects elements and text, and notices unbalanced elements."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, name, attributes):
        self.tags.append(name)
        self.attributes += attributes
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.text.append(data)


def story_report(name="orders", unplaced=False):
    return compose(story.plan(unplaced), story.capacity(), story.estate(name), story.journal(name), None, story.verification())


def test_the_page_is_well_formed_and_loads_nothing():
    text = page(story_report(unplaced=True))
    reader = Reader(text)
    assert not reader.open
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(reader.tags)
    assert not [value for name, value in reader.attributes if name in ("src", "href", "action", "srcset")]
    assert "url(" not in text and "@import" not in text and "http" not in text.replace('http-equiv="Content', "")
    shown = " ".join(reader.text)
    for expected in ("5 of 6", "21.4 s (predicted 23.1 s)", "4182 orders, the ledger is intact", "rolled back", "abababab", "1g.10gb", "9 requests failed",
                     "256 GiB more memory in zone west", "the disk moves from LSI Logic SCSI to virtio", "orders → node-1"):
        assert expected in shown, expected


def test_every_name_is_escaped():
    report = story_report(EVIL)
    evil_place = dataclasses.replace(report.places[0], name=EVIL, node=EVIL, devices=[EVIL], reason=EVIL, shape=EVIL)
    evil = dataclasses.replace(
        report, title=EVIL, engine=EVIL, notes=[EVIL], places=[evil_place], nodes=[dataclasses.replace(node, name=EVIL, before=[EVIL], after=[evil_place]) for node in report.nodes],
        checks=[dataclasses.replace(check, subject=EVIL, sentence=EVIL, data={"model_sentence": EVIL, "question": EVIL}) for check in report.checks],
        failures=[dataclasses.replace(failure, domain=EVIL, lost=[EVIL], restarts={EVIL: EVIL}) for failure in report.failures],
        levels=[dataclasses.replace(level, name=EVIL) for level in report.levels])
    text = page(evil)
    reader = Reader(text)
    assert not reader.open and "script" not in reader.tags
    assert EVIL in reader.text and "<script" not in text.lower()
    root = xml.etree.ElementTree.fromstring(junit(evil))
    assert EVIL in next(case.get("name") for case in root.iter("testcase"))
    assert all(len(line) <= WIDTH for line in table(evil).splitlines())


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_stays_text(child, value):
    reader = Reader(tag("p", child, title=value))
    assert reader.tags == ["p"] and not reader.open
    if printable(child + value) == child + value and "\r" not in child + value:
        assert "".join(reader.text) == child and dict(reader.attributes)["title"] == value


def test_junit_counts_what_is_not_in_order():
    root = xml.etree.ElementTree.fromstring(junit(story_report(unplaced=True)))
    suites = {suite.get("name"): (int(suite.get("tests")), int(suite.get("failures"))) for suite in root}
    assert suites == {"placement": (6, 1), "failover": (3, 0), "migration": (3, 1), "concern": (2, 0), "verification": (6, 1)}
    assert (root.get("tests"), root.get("failures")) == ("20", "3")


def test_junit_is_xml_whatever_a_guest_says():
    report = dataclasses.replace(story_report(), checks=[dataclasses.replace(story.verification().checks[3], sentence="bell \x07 and \ud800 lone")])
    root = xml.etree.ElementTree.fromstring(junit(report).encode("utf-8"))
    assert "bell \ufffd and \ufffd lone" in [failure.text for failure in root.iter("failure")]
    assert page(report).encode("utf-8")


def test_the_table_fits_a_screen():
    text = table(story_report(unplaced=True))
    lines = text.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= WIDTH
    assert "orders     vm     node-3  -                 migrated     21.4 s (predicted 23.1 s)" in lines
    assert any(line.startswith("NO PLACE archive:") for line in lines)
    assert any(line.startswith("FAILED    device report") for line in lines)


def test_control_characters_never_reach_the_terminal():
    report = dataclasses.replace(story_report(), title="\x1b[31mred\x07")
    assert "\x1b" not in table(report) and "\x07" not in table(report)


def test_equal_documents_give_equal_bytes_and_the_json_round_trips():
    report = story_report()
    assert codec.pretty(report) == codec.pretty(story_report()) and page(report) == page(story_report())
    assert codec.loads(Report, codec.pretty(report), "report.json") == report
    assert report.at == "2026-01-02T03:05:10+00:00"


def test_a_check_made_again_with_the_same_outcome_is_no_new_outcome():
    report, checks = story_report(), story.verification().checks
    again = dataclasses.replace(report, at="2027-01-01T00:00:00+00:00", checks=[dataclasses.replace(one, at="2027", sentence="again", data={}) for one in checks])
    worse = dataclasses.replace(report, checks=[dataclasses.replace(one, ok=False) for one in checks])
    assert outcomes(report) == outcomes(again) != outcomes(worse)


def test_a_plan_alone_is_enough():
    plan = Plan("", "", [])
    text = page(compose(plan, Capacity([])))
    assert "0 of 0" in text and "Migrations" not in text and "Verification" not in text
    assert table(compose(plan, Capacity([]))).startswith("Tandem report")


def test_a_plan_of_another_capacity_is_refused():
    with pytest.raises(ReportError, match="the plan was made from capacity sha256:"):
        compose(story.plan(), Capacity([Node("other", {})]))


def test_maps_show_slots_before_and_after():
    first = story_report().nodes[0]
    assert (first.name, first.cpu_before, first.cpu_after) == ("node-1", 125, 250)
    sliced, whole = first.gpus
    assert [(piece.start, piece.owner) for piece in sliced.before] == [(0, "notebook"), (1, ""), (2, ""), (4, "")]
    assert [(piece.start, piece.length, piece.owner, piece.kind) for piece in sliced.after] == [
        (0, 1, "notebook", "other"), (1, 1, "assistant", "model"), (2, 1, "", "free"), (4, 4, "", "free")]
    assert (whole.slices, whole.before[0].kind, whole.after[0].owner) == (1, "free", "embedder")


def test_thousands_of_workloads_make_a_page_of_bounded_size():
    capacity = Capacity([Node(f"n{number:04d}", {"cpu_milli": 1000}) for number in range(1000)])
    plan = Plan("", "", [Assignment(f"vm-{number:05d}", "vm", 0, f"n{number % 1000:04d}", "vm") for number in range(10_000)])
    text = page(compose(plan, capacity))
    assert len(text) < 1_000_000 and "9600 more workloads are in report.json" in text and "940 more nodes" in text


def test_a_journey_of_three():
    orders, crm, report = migrations(story.journal().events)
    assert (orders.state, orders.mode, orders.rounds, orders.bytes_copied, orders.verified) == ("migrated", "warm", 3, 273_678_336, True)
    assert (orders.downtime_seconds, orders.predicted_downtime_seconds, orders.downtime_start) == (21.4, 23.1, 20.3)
    assert [span.phase for span in orders.spans] == ["inspect", "prepare", "copy", "delta", "quiesce", "final", "verify", "cutover", "check", "accept"]
    assert (orders.spans[2].start, orders.spans[2].end) == (3.1, 11.5)
    assert (orders.fitness, crm.fitness) == ("", "guest ready for scsi: all there")
    assert (crm.downtime_seconds, crm.message, crm.hashes) == (None, "it was off at the source", {"disk-1": "ef" * 32})
    assert (report.state, report.verified, report.message) == ("rolled back", False, "the guest did not answer on port 80 within 120 s")


def test_the_pause_between_two_runs_belongs_to_no_phase():
    def event(at, subject, phase, what, **data):
        return seal(f"2026-01-02T00:{at}Z", subject, phase, what, data, "")
    events = [event("00:00", "", "run", "started"), event("00:05", "a", "inspect", "done", mode="warm"), event("00:09", "a", "copy", "failed", message="no"),
              event("30:00", "", "run", "started"), event("30:04", "a", "copy", "done"), event("30:05", "a", "accept", "done")]
    row = migrations(events)[0]
    assert [(span.phase, span.start, span.end) for span in row.spans] == [
        ("inspect", 5, 5), ("copy", 5, 9), ("copy", 1800, 1804), ("accept", 1804, 1805)]
    assert (row.state, row.message) == ("migrated", "")
    assert migrations(events[:3])[0].message == "no"


def test_times_that_are_none_are_refused():
    assert migrations(Journal([]).events) == []
    with pytest.raises(ReportError, match="'yesterday' is no ISO 8601 time"):
        migrations([seal("yesterday", "a", "copy", "done", {}, "")])
