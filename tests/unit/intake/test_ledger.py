# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger accounts for every field: its total equals an independent count of the source's fields."""
from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Fate
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import libvirt, ovf, vmx
from ansible_collections.tandem.hybrid.plugins.module_utils.intake.ledger import DropRule, Rules, visible

from intake_samples import DOMAIN, OVF, VMX


def fields(text: str) -> int:
    """Count attributes, non-blank own text (tails of children included) and bare leaves, with another parser than the product's."""
    total = 0
    for element in ElementTree.fromstring(text).iter():
        own = (element.text or "") + "".join(child.tail or "" for child in element)
        total += len(element.attrib) + bool(own.strip())
        total += not element.attrib and not own.strip() and not len(element)
    return total


@pytest.mark.parametrize(("text", "parse"), [(DOMAIN, libvirt.parse), (OVF, ovf.parse)], ids=["libvirt", "ovf"])
def test_total_equals_the_fields_of_the_source(text, parse):
    vms = parse(text.encode(), "sample")
    assert sum(len(vm.ledger) for vm in vms) == fields(text)
    assert len({line.path for vm in vms for line in vm.ledger}) == fields(text), "each field has a path of its own"


def test_total_equals_the_lines_of_a_vmx():
    (vm,) = vmx.parse(VMX.encode(), "sample")
    assert len(vm.ledger) == sum(1 for line in VMX.splitlines() if "=" in line and not line.startswith("#"))


def test_every_dropped_field_has_a_reason_and_every_mapped_one_a_target():
    for text, parse in ((DOMAIN, libvirt.parse), (OVF, ovf.parse), (VMX, vmx.parse)):
        for line in parse(text.encode(), "sample")[0].ledger:
            assert line.fate is not Fate.DROPPED or line.reason, line
            assert line.fate not in (Fate.MAPPED, Fate.CHANGED) or line.target, line


def test_a_field_nobody_knows_is_unknown_until_the_operator_accepts_it_by_name():
    text = DOMAIN.replace("<devices>", "<novelty level='3'/><devices>")
    unknown = [line.path for line in libvirt.parse(text.encode(), "sample")[0].ledger if line.fate is Fate.UNKNOWN]
    assert unknown == ["/domain/novelty/@level"]
    accepted = libvirt.parse(text.encode(), "sample", ["novelty/@level"])[0].ledger
    (line,) = [line for line in accepted if line.path == "/domain/novelty/@level"]
    assert (line.fate, line.reason) == (Fate.DROPPED, "accepted by the operator")


def test_mixed_content_and_tails_are_counted_as_text():
    text = "<domain><name>a</name><memory>1048576</memory>stray<t1><t2>x</t2> more </t1></domain>"
    assert len(libvirt.parse(text.encode(), "sample")[0].ledger) == fields(text) == 5


def test_secrets_are_hidden():
    text = DOMAIN.replace("<graphics type='vnc'", "<graphics passwd='hunter2' type='vnc'")
    assert "hunter2" not in repr(libvirt.parse(text.encode(), "sample")[0])
    property = '<ProductSection><Info/><Property ovf:key="admin" ovf:password="true" ovf:value="hunter2"/><Property ovf:key="db.password" ovf:value="hunter2"/></ProductSection>'
    assert "hunter2" not in repr(ovf.parse(OVF.replace("<AnnotationSection>", property + "<AnnotationSection>").encode(), "sample"))
    assert visible("os/cmdline/text()", "ro rootpw=x") == "(hidden)"
    assert visible("@remotedisplay.vnc.password", "hunter2") == "(hidden)"
    assert visible("devices/disk/auth/secret/@uuid", "abc") == "abc"


@pytest.mark.parametrize(("pattern", "path", "fits"), [
    ("a/**", "a", True), ("a/**", "a/b/@c", True), ("a/**", "ab", False), ("**/x/@*", "a/b/x/@y", True),
    ("a/*/c", "a/b/c", True), ("a/*/c", "a/b/b/c", False), ("a|b/@c", "b/@c", True)])
def test_patterns(pattern, path, fits):
    assert bool(Rules([DropRule(pattern, "why")]).reason(path)) is fits
