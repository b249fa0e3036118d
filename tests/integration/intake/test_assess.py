# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbook assess and inventory plugin legacy_vms, as a person runs them."""
from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(sys.executable).parent
DOMAIN = """<domain type="kvm"><name>Orders</name><uuid>4a6e0b5c-3e1f-4f4b-9a31-0d5a1c0e7a11</uuid><memory unit="MiB">512</memory><vcpu>1</vcpu>
<os><type arch="x86_64" machine="pc-q35-7.2">hvm</type></os>
<devices><disk type="file" device="disk"><driver type="raw"/><source file="root.img"/><target dev="vda" bus="virtio"/></disk></devices></domain>"""


def run(program, *arguments):
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true", "PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.run([BIN / program, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "orders.xml").write_text(DOMAIN)
    (tmp_path / "root.img").write_bytes(bytes(2**20))
    return tmp_path


def assess(folder, *arguments):
    variables = json.dumps({"estate_sources": [str(folder / "orders.xml")], "tandem_directory": str(folder / "documents")})
    return run("ansible-playbook", "-i", "localhost,", "playbooks/assess.yml", "-e", variables, *arguments)


def test_assess_writes_the_estate_once(folder):
    estate = folder / "documents" / "estate.json"
    checked = assess(folder, "--check", "--diff")
    assert checked.returncode == 0 and "changed=1" in checked.stdout and not estate.exists(), checked.stdout
    first, second = assess(folder), assess(folder)
    assert "changed=1" in first.stdout and "changed=0" in second.stdout, first.stdout + second.stdout
    assert "Ledger: " in first.stdout and "0 unknown" in first.stdout
    (vm,) = json.loads(estate.read_text())["vms"]
    assert (vm["target_name"], vm["disks"][0]["size_bytes"]) == ("orders", 2**20)


def test_a_concern_is_explained(folder):
    told = assess(folder, "-e", "estate_explain=tpm-state")
    assert told.returncode == 0 and "The content of the VM's TPM is not moved." in told.stdout and "Remedy: " in told.stdout
    assert not (folder / "documents").exists(), "nothing else is done"
    wrong = assess(folder, "-e", "estate_explain=nonsense")
    assert wrong.returncode != 0 and "concern 'nonsense': unknown; one of " in wrong.stdout + wrong.stderr and "Traceback" not in wrong.stdout + wrong.stderr


def inventory(folder, **options):
    (folder / "x.legacy_vms.yml").write_text(json.dumps({"plugin": "tandem.hybrid.legacy_vms", **options}))
    return run("ansible-inventory", "-i", folder / "x.legacy_vms.yml", "--list")


def test_the_inventory_has_groups_by_system_source_concern_and_wave(folder):
    (folder / "crm.vmx").write_text('displayName = "CRM"\nuuid.bios = "42 1a 61 77 5a a9 ab b7-59 24 fc 37 6c 18 a1 b4"\nmemsize = "64"\nguestOS = "windows9-64"\n'
                                    'firmware = "efi"\nvtpm.present = "TRUE"\n')
    plan = codec.pretty(Plan("", "", assignments=[Assignment(name, "vm", 0, "lab-1", "only", wave=wave) for name, wave in (("orders", 2), ("crm", 1))]))
    (folder / "plan.json").write_text(plan)
    done = inventory(folder, sources=[str(folder / "orders.xml"), str(folder / "crm.vmx")], plan=str(folder / "plan.json"),
                     compose={"ansible_host": "target_name ~ '.example'"}, groups={"large": "memory_bytes > 2**28"},
                     keyed_groups=[{"key": "power_state", "prefix": "power"}])
    listed = json.loads(done.stdout)
    hosts = {name: group["hosts"] for name, group in listed.items() if "hosts" in group}
    expected = {"os_windows": ["crm"], "os_unknown": ["orders"], "source_libvirt": ["orders"], "source_vmx": ["crm"], "concern_tpm_state": ["crm"],
                "concern_uefi_variables": ["crm"], "wave_1": ["crm"], "wave_2": ["orders"], "large": ["orders"]}
    assert {name: hosts.get(name) for name in expected} == expected
    assert sorted(hosts["power_off"]) == ["crm", "orders"]
    assert "orders.example" in json.dumps(listed["_meta"]["hostvars"]["orders"]["ansible_host"]) and listed["_meta"]["hostvars"]["orders"]["memory_bytes"] == 2**29


def test_an_inventory_of_an_estate_document_and_a_wrong_one(folder):
    assert assess(folder).returncode == 0
    listed = json.loads(inventory(folder, estate=str(folder / "documents" / "estate.json"), prefix="legacy_").stdout)
    assert listed["legacy_source_libvirt"]["hosts"] == ["orders"]
    wrong = inventory(folder, estate=str(folder / "orders.xml"))
    assert "Traceback" not in wrong.stderr and "orders.xml" in wrong.stderr


def test_assess_fails_on_blocking_concerns_only_when_asked(folder):
    (folder / "root.img").unlink()
    assert assess(folder).returncode == 0
    strict = assess(folder, "-e", '{"estate_fail_on_blocking": true}')
    assert strict.returncode != 0 and "Blocked: Orders" in strict.stdout


def test_a_source_that_is_not_there_is_one_sentence(folder):
    (folder / "orders.xml").unlink()
    failed = assess(folder)
    assert failed.returncode != 0 and "No such file or directory; expected a VM descriptor" in failed.stdout and "Traceback" not in failed.stdout + failed.stderr


@pytest.mark.parametrize(("name", "content", "sentence"), [
    ("bomb.xml", b"<!DOCTYPE d [<!ENTITY a 'aa'>]><domain><name>&a;</name></domain>", "entities are not expanded"),
    ("long.xml", b"<domain><name a='" + b"x" * 70_000_000 + b"'>a</name></domain>", "a descriptor has at most 67108864"),
    ("no.ova", b"\x1f\x8b" + bytes(5000), "an OVA is an uncompressed tar file"),
    ("two.vmx", b'displayName = "a"\ndisplayName = "b"\n', "given twice with different values")])
def test_hostile_files_are_one_sentence_of_the_module(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    done = run("ansible", "-i", "localhost,", "-c", "local", "localhost", "-e", f"ansible_python_interpreter={sys.executable}",
               "-m", "tandem.hybrid.legacy_vm_info", "-a", json.dumps({"sources": [str(tmp_path / name)], "dest": str(tmp_path / "estate.json")}))
    assert done.returncode != 0 and sentence in done.stdout and "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "estate.json").exists()
