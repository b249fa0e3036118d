# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates: who signs whom, whose name is on them, and what is made anew when one is lost."""

from __future__ import annotations

import ipaddress
import json

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab import pki
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout

x509 = pytest.importorskip("cryptography.x509")


@pytest.fixture
def made(tmp_path):
    layout = Layout(tmp_path / "lab")
    wanted = pki.control_plane_certificates(layout) + pki.node_certificates(layout, 1)
    pki.make(layout, wanted)
    return layout, wanted


def _load(layout, name):
    return x509.load_pem_x509_certificate((layout.pki / f"{name}.crt").read_bytes())


def test_every_certificate_is_signed_by_its_authority(made):
    layout, wanted = made
    for certificate in wanted:
        _load(layout, certificate.name).verify_directly_issued_by(_load(layout, certificate.authority))


def test_the_apiserver_answers_to_its_addresses(made):
    layout, _ = made
    names = _load(layout, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    assert {ipaddress.ip_address(a) for a in ("127.0.0.1", layout.service_address, layout.control_address)} == set(addresses)
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)


def test_a_kubelet_is_a_node_to_the_apiserver(made):
    subject = {a.oid: a.value for a in _load(made[0], "node-1").subject}
    assert subject == {x509.NameOID.COMMON_NAME: "system:node:lab-1", x509.NameOID.ORGANIZATION_NAME: "system:nodes"}


def test_private_keys_are_private(made):
    layout, _ = made
    assert {path.stat().st_mode & 0o777 for path in layout.pki.iterdir()} == {0o600}


def test_nothing_is_missing_and_nothing_changes_the_second_time(made):
    layout, wanted = made
    before = {path: path.read_bytes() for path in layout.pki.iterdir()}
    assert pki.missing(layout, wanted) == []
    pki.make(layout, wanted)
    assert {path: path.read_bytes() for path in layout.pki.iterdir()} == before


def test_a_lost_key_makes_one_certificate_anew_and_a_lost_authority_all(made):
    layout, wanted = made
    before = {c.name: _load(layout, c.name).serial_number for c in wanted}
    (layout.pki / "admin.key").unlink()
    assert pki.missing(layout, wanted) == ["admin.crt"]
    pki.make(layout, wanted)
    changed = {name for name, serial in before.items() if _load(layout, name).serial_number != serial}
    assert changed == {"admin"}
    (layout.pki / "ca.crt").unlink()
    pki.make(layout, wanted)
    assert all(_load(layout, c.name).serial_number != before[c.name] for c in wanted if c.authority == "ca")
    test_every_certificate_is_signed_by_its_authority(made)


def test_a_kubeconfig_follows_the_address(made):
    layout, wanted = made
    moved = Layout(layout.directory, port=7777)
    assert pki.missing(moved, wanted) == [f"{c.name}.kubeconfig" for c in wanted if c.kubeconfig]
    pki.make(moved, wanted)
    config = json.loads(moved.kubeconfig.read_text())
    assert config["clusters"][0]["cluster"]["server"] == f"https://{layout.control_address}:7777"
