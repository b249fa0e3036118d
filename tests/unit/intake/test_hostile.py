# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile and broken descriptors: one sentence, quickly, never anything but IntakeError. The large ones run in `make bench-intake`."""
from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import commands, libvirt, ova, ovf, sources_reader, vmx, xmltree
from ansible_collections.tandem.hybrid.plugins.module_utils.intake.errors import IntakeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intake_samples import DOMAIN, OVF, VMX

DISK = b"\0" * 4096


def tar(*members, size=None):
    """Return an archive of (name, content[, type]) members; `size` is what the last one states instead of its own."""
    out = b""
    for number, (name, content, *kind) in enumerate(members, 1):
        info = tarfile.TarInfo(name)
        info.type = kind[0] if kind else tarfile.REGTYPE
        info.linkname = "/etc/shadow" if kind else ""
        info.size = size if size is not None and number == len(members) else len(content)
        out += info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)
    return out + bytes(1024)


def package(*extra, **changes):
    return io.BytesIO(tar(("crm.ovf", OVF.encode()), ("crm-disk1.vmdk", DISK), *extra, **changes))


@pytest.mark.parametrize(("text", "sentence"), [
    ("<!DOCTYPE d [<!ENTITY a 'aa'>]><domain><name>&a;</name></domain>", "entities are not expanded"),
    ("<!DOCTYPE d SYSTEM 'http://127.0.0.1:9/x.dtd'><domain/>", "document type declaration"),
    ("<domain>" * 100, "nested deeper than 64"), ("<domain><a " + " ".join(f"x{i}=''" for i in range(300)) + "/></domain>", "more than 256 attributes"),
    ("<domain><a b='" + "x" * 1_100_000 + "'/></domain>", "of 1100000 characters"), ("<domain>" + "x" * 1_100_000 + "</domain>", "text longer than"),
    ("<domain><name>a</name>", "not well-formed"), ("", "empty"), ("   \n", "empty"), ("<capabilities/>", "expected <domain>"), ("<domain/>", "without a <name>"),
    ("<?xml version='1.0' encoding='klingon'?><domain/>", "encoding klingon"), (f"<?xml version='1.0' encoding='UTF-{'9' * 60}'?><domain/>", "unknown encoding"),
    ("<?xml version='1.0'" + " " * 300 + "encoding='euc-jp'?><domain/>", "multi-byte encodings are not supported"), ("<domain><name>a</name><memory unit='furlong'>1</memory></domain>", "unknown unit"),
    ("<domain><name>a</name><vcpu>many</vcpu></domain>", "expected an integer"), ("<domain><name>a</name><memory>" + "9" * 30 + "</memory></domain>", "expected 0 to")])
def test_domain_xml_is_refused_with_one_sentence(text, sentence):
    with pytest.raises(IntakeError, match=sentence) as caught:
        libvirt.parse(text.encode(), "hostile.xml")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400 and str(caught.value).startswith("hostile.xml")


@pytest.mark.parametrize("encode", [
    lambda text: text.encode("utf-16"), lambda text: b"\xef\xbb\xbf" + text.encode(), lambda text: b"\n\n" + text.partition("?>")[2].encode(),
    lambda text: text.replace("UTF-8", "iso-8859-1").encode("latin-1"), lambda text: text.replace("UTF-8", "windows-1252").encode("cp1252")])
def test_encodings(encode):
    text = DOMAIN.replace("encoding='UTF-8'", "encoding='UTF-16'") if encode("<a/>")[:1] in (b"\xff", b"\xfe") else DOMAIN
    (vm,) = libvirt.parse(encode(text.replace("Orders_DB", "Büro")), "a.xml")
    assert vm.name == "Büro"


def test_appended_documents_share_one_budget(monkeypatch):
    assert [vm.name for vm in libvirt.parse((DOMAIN + DOMAIN.replace("Orders_DB", "two")).encode(), "a.xml")] == ["Orders_DB", "two"]
    monkeypatch.setattr(xmltree, "MAX_NODES", 150)
    with pytest.raises(IntakeError, match="more than 150 elements"):
        libvirt.parse((DOMAIN * 3).encode(), "a.xml")


@pytest.mark.parametrize("path", ["../x.vmdk", "/etc/passwd", "a/../../x", "C:\\x", "..\\x"])
def test_a_file_outside_the_package(path):
    text = OVF.replace("crm-disk1.vmdk", path)
    assert {disk.source_kind for disk in ovf.parse(text.encode(), "crm.ovf")[0].disks} == {"refused", "file"}
    with pytest.raises(IntakeError, match="expected a relative path"):
        ova.parse(io.BytesIO(tar(("crm.ovf", text.encode()))), "crm.ova")


def test_an_ova_is_read_in_place():
    (vm,) = ova.parse(package(), "crm.ova")
    root = next(disk for disk in vm.disks if disk.member)
    assert (root.source, root.source_kind, root.member, root.member_bytes) == ("crm.ova", "ova", "crm-disk1.vmdk", 4096)
    raw = package().getvalue()
    assert raw[root.member_offset:root.member_offset + 4096] == DISK and raw[root.member_offset - 512:root.member_offset - 498] == b"crm-disk1.vmdk"


def test_manifests():
    lines = f"SHA256(crm.ovf)= {hashlib.sha256(OVF.encode()).hexdigest()}\nSHA256(crm-disk1.vmdk)= {hashlib.sha256(DISK).hexdigest()}\n"
    assert ova.parse(package(("crm.mf", lines.encode())), "crm.ova")[0].checksums_verified
    for bad, sentence in (("crm.ovf: 1234", "expected SHA256"), (lines.splitlines()[0], "is not in the manifest"),
                          (lines + "SHA256(ghost)= " + "0" * 64, "does not have"), (lines.replace(hashlib.sha256(DISK).hexdigest(), "0" * 64), "differs from the manifest")):
        with pytest.raises(IntakeError, match=sentence):
            ova.parse(package(("crm.mf", bad.encode())), "crm.ova")


@pytest.mark.parametrize(("stream", "sentence"), [
    (lambda: package(("../../etc/cron.d/x", b"x")), "expected a relative path"), (lambda: package(("link", b"", tarfile.SYMTYPE)), "symbolic link"),
    (lambda: package(("hard", b"", tarfile.LNKTYPE)), "hard link"), (lambda: package(("dev", b"", tarfile.CHRTYPE)), "plain files only"),
    (lambda: package(("big", b"x"), size=8 * 2**30 - 1), "beyond the end"), (lambda: package(("crm.ovf", b"x")), "twice"),
    (lambda: io.BytesIO(tar(("a", b"x"))), "exactly one descriptor"), (lambda: io.BytesIO(b"\x1f\x8b" + b"x" * 2000), "no tar header"), (lambda: io.BytesIO(b""), "no tar archive"),
    (lambda: package(("long", b"x" * 200_000, tarfile.XHDTYPE)), "extended header"), (lambda: package(("pax", b"zz x\n", tarfile.XHDTYPE)), "malformed extended header"),
    (lambda: io.BytesIO(tar(("crm.ovf", OVF.encode()))), "has no member"), (lambda: io.BytesIO(tar(("crm.ovf", OVF.encode()), ("crm-disk1.vmdk", b"x"))), "the descriptor says 4096")])
def test_archives_are_refused(stream, sentence):
    with pytest.raises(IntakeError, match=sentence):
        ova.parse(stream(), "crm.ova")


@pytest.mark.parametrize(("text", "sentence"), [
    (VMX + 'memsize = "1"', "given twice"), ("nonsense", "line 1: expected key"), ('a = "b"', "no displayName"), ('displayName = "a"\nnumvcpus = "0"', "expected 1 to"),
    ('displayName = "a"\0', "binary data"), ('.encoding = "klingon"\ndisplayName = "a"', "unknown encoding"), ("a = 'b'\n" * 30_000, "at most 20000")])
def test_vmx_is_refused(text, sentence):
    with pytest.raises(IntakeError, match=sentence):
        vmx.parse(text.encode(), "a.vmx")


def test_files(tmp_path):
    with pytest.raises(IntakeError, match="ends in"):
        sources_reader.read(str(tmp_path / "a.txt"))
    with pytest.raises(IntakeError, match="No such file"):
        sources_reader.read(str(tmp_path / "a.ovf"))
    with pytest.raises(IntakeError, match="0 descriptors"):
        sources_reader.read(str(tmp_path))
    (tmp_path / "a.xml").write_text(DOMAIN)
    with pytest.raises(IntakeError, match="no VM named ghost"):
        commands.estate({"sources": [str(tmp_path)], "names": ["ghost"]})
    (tmp_path / "root.qcow2").write_bytes(b"QFI\xfb" + bytes(20) + (5 * 2**30).to_bytes(8, "big"))
    (tmp_path / "a.xml").write_text(DOMAIN.replace("/images/", ""))
    assert {disk.size_bytes for disk in sources_reader.read(str(tmp_path))[0][0].disks} == {5 * 2**30, None}


QCOW2 = b"QFI\xfb\0\0\0\3" + bytes(16) + (2**30).to_bytes(8, "big") + bytes(480)


@pytest.mark.parametrize(("content", "kind"), [
    (QCOW2, "file"), (QCOW2[:8] + (104).to_bytes(8, "big") + QCOW2[16:], "refused"), (b'# Disk DescriptorFile\nRW 63 FLAT "/etc/shadow" 0\n' + bytes(400), "refused"),
    (b'# Disk DescriptorFile\nRW 63 FLAT "crm-flat.vmdk" 0\n' + bytes(400), "file"), (b'# Disk DescriptorFile\nparentFileNameHint="../x"\n' + bytes(400), "refused"),
    (None, "refused")], ids=["qcow2", "backing-file", "extent-elsewhere", "extent-beside", "parent", "link-out"])
def test_a_file_of_a_package_does_not_lead_to_others(tmp_path, content, kind):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "crm.ovf").write_text(OVF.replace(' ovf:size="4096"', "").replace(" size='4096'", ""))
    path = tmp_path / "in" / "crm-disk1.vmdk"
    if content is None:
        (tmp_path / "secret").write_bytes(DISK)
        path.symlink_to("../secret")
    else:
        path.write_bytes(content)
    (vm,) = commands.estate({"sources": [str(tmp_path / "in")]}).vms
    assert [disk.source_kind for disk in vm.disks if disk.source] == [kind]
    assert ("disk-outside-package" in {concern.id for concern in vm.concerns}) is (kind == "refused")


def test_sizes_that_lie(tmp_path):
    (tmp_path / "crm.ovf").write_text(OVF)
    (tmp_path / "crm-disk1.vmdk").write_bytes(b"x" * 100)
    with pytest.raises(IntakeError, match=r"'crm-disk1\.vmdk' has 100 bytes, the descriptor says 4096"):
        sources_reader.read(str(tmp_path))
    assert sources_reader.virtual_bytes(QCOW2[:24] + b"\xff" * 8, 512, "qcow2") is None


def test_a_link_in_a_folder_does_not_lead_out_of_it(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.vmx").write_text("root:x:secret")
    (tmp_path / "in" / "a.vmx").symlink_to("../secret.vmx")
    with pytest.raises(IntakeError, match="a link that leads out of") as caught:
        sources_reader.read(str(tmp_path / "in"))
    assert "secret" not in str(caught.value).replace(str(tmp_path), "")


CHANGE = st.tuples(st.floats(0, 1), st.integers(0, 60), st.sampled_from(["", "<", "&", "'", '"', "\0", "9" * 25, "-1", "../", "${x}", "\ufffe", "<!DOCTYPE x>", "=", "|ZZ"]))


@settings(max_examples=120, deadline=2000, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.sampled_from([(DOMAIN, libvirt.parse), (OVF, ovf.parse), (VMX, vmx.parse)]), st.lists(CHANGE, min_size=1, max_size=5))
def test_changed_descriptors_are_read_or_refused(source, changes):
    text, parse = source
    for place, length, token in changes:
        at = int(place * len(text))
        text = text[:at] + token + text[at + length:]
    try:
        assert all(vm.name for vm in parse(text.encode("utf-8", "replace"), "fuzz"))
    except IntakeError as error:
        assert str(error).startswith("fuzz")
