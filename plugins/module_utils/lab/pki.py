# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates and kubeconfigs of a lab."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout

LIFETIME = datetime.timedelta(days=3650)


@dataclass(frozen=True)
class Certificate:
    """A certificate to make: names in ``hosts`` make it a server's as well as a client's."""

    name: str
    common_name: str
    organization: str = ""
    authority: str = "ca"
    hosts: tuple[str, ...] = ()
    kubeconfig: bool = False


def control_plane_certificates(layout: Layout) -> list[Certificate]:
    """What apiserver, controller-manager, scheduler, kube-proxy and the administrator present."""
    service = ["kubernetes", "default", "svc", "cluster", "local"]
    names = tuple(".".join(service[:length]) for length in (1, 2, 3, 5))
    admins = "system:masters"
    return [
        Certificate("apiserver", "kube-apiserver", hosts=(
            "localhost", *names, "127.0.0.1", layout.service_address, layout.control_address)),
        Certificate("apiserver-kubelet-client", "kube-apiserver-kubelet-client", admins),
        Certificate("front-proxy-client", "front-proxy-client", authority="front-proxy-ca"),
        Certificate("admin", "admin", admins, kubeconfig=True),
        Certificate("controller-manager", "system:kube-controller-manager", kubeconfig=True),
        Certificate("scheduler", "system:kube-scheduler", kubeconfig=True),
        Certificate("proxy", "system:kube-proxy", kubeconfig=True),
    ]


def node_certificates(layout: Layout, number: int) -> list[Certificate]:
    """What a kubelet presents to the apiserver, and what it serves with."""
    name, group = layout.node_name(number), "system:nodes"
    hosts = (name, "localhost", layout.node_address(number), "127.0.0.1")
    return [
        Certificate(f"node-{number}", f"system:node:{name}", group, kubeconfig=True),
        Certificate(f"kubelet-{number}", f"system:node:{name}", group, hosts=hosts),
    ]


def missing(layout: Layout, wanted: Sequence[Certificate]) -> list[str]:
    """The names of certificates and kubeconfigs that are not there."""
    absent = [f"{a}.crt" for a in ("ca", "front-proxy-ca") if not _pair_exists(layout.pki, a)]
    if not (layout.pki / "service-account.key").exists():
        absent.append("service-account.key")
    for certificate in wanted:
        if not _pair_exists(layout.pki, certificate.name):
            absent.append(f"{certificate.name}.crt")
        if certificate.kubeconfig and not _serves(layout, certificate.name):
            absent.append(f"{certificate.name}.kubeconfig")
    return absent


def make(layout: Layout, wanted: Sequence[Certificate]) -> None:
    """Make what is missing; a new authority makes everything that it signs anew."""
    layout.pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    for authority in ("ca", "front-proxy-ca"):
        if not _pair_exists(layout.pki, authority):
            for certificate in wanted:
                if certificate.authority == authority:
                    (layout.pki / f"{certificate.name}.crt").unlink(missing_ok=True)
            _make_authority(layout.pki, authority)
    if not (layout.pki / "service-account.key").exists():
        _write_key(layout.pki / "service-account.key", _new_key(), "TraditionalOpenSSL")  # all the apiserver reads
    for certificate in wanted:
        fresh = not _pair_exists(layout.pki, certificate.name)
        if fresh:
            _make_certificate(layout.pki, certificate)
        if certificate.kubeconfig and (fresh or not _serves(layout, certificate.name)):
            _write(layout.pki / f"{certificate.name}.kubeconfig", _kubeconfig(layout, certificate.name))


def _pair_exists(pki: Path, name: str) -> bool:
    return (pki / f"{name}.crt").exists() and (pki / f"{name}.key").exists()


def _serves(layout: Layout, name: str) -> bool:
    path = layout.pki / f"{name}.kubeconfig"
    return path.exists() and f'"{layout.server}"' in path.read_text()


def _kubeconfig(layout: Layout, name: str) -> bytes:
    def data(file: str) -> str:
        return base64.b64encode((layout.pki / file).read_bytes()).decode()

    user = {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")}
    cluster = {"server": layout.server, "certificate-authority-data": data("ca.crt")}
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
    }, indent=1).encode()


def _new_key():
    try:
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise LabError(f"the Python library cryptography is needed by the lab: {sys.executable} can't import it") from error
    return ec.generate_private_key(ec.SECP256R1())


def _make_authority(pki: Path, name: str) -> None:
    key = _new_key()
    from cryptography import x509
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"lab {name}")])
    builder = _builder(subject, subject, key).add_extension(x509.BasicConstraints(True, None), critical=True)
    _write_pair(pki, name, key, _sign(builder.add_extension(_usage(authority=True), critical=True), key, key))


def _make_certificate(pki: Path, wanted: Certificate) -> None:
    key = _new_key()
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    authority = x509.load_pem_x509_certificate((pki / f"{wanted.authority}.crt").read_bytes())
    authority_key = load_pem_private_key((pki / f"{wanted.authority}.key").read_bytes(), None)
    names = [x509.NameAttribute(x509.NameOID.COMMON_NAME, wanted.common_name)]
    if wanted.organization:
        names.append(x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, wanted.organization))
    roles = [x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = _builder(x509.Name(names), authority.subject, key).add_extension(_usage(authority=False), critical=True)
    if wanted.hosts:
        roles.append(x509.ExtendedKeyUsageOID.SERVER_AUTH)
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(h) for h in wanted.hosts]), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage(roles), critical=False)
    _write_pair(pki, wanted.name, key, _sign(builder, key, authority_key))


def _builder(subject, issuer, key):
    from cryptography import x509
    now = datetime.datetime.now(datetime.UTC)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + LIFETIME))


def _usage(authority: bool):
    from cryptography import x509
    return x509.KeyUsage(
        digital_signature=True, key_encipherment=not authority, key_cert_sign=authority, crl_sign=authority,
        content_commitment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False)


def _host(host: str):
    from cryptography import x509
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _sign(builder, key, authority_key):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.add_extension(issuer, critical=False).sign(authority_key, hashes.SHA256())


def _write_pair(pki: Path, name: str, key, certificate) -> None:
    from cryptography.hazmat.primitives import serialization
    (pki / f"{name}.crt").unlink(missing_ok=True)  # never a certificate beside another's key
    _write_key(pki / f"{name}.key", key)
    _write(pki / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))


def _write_key(path: Path, key, form: str = "PKCS8") -> None:
    from cryptography.hazmat.primitives import serialization
    _write(path, key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form),
                                   serialization.NoEncryption()))


def _write(path: Path, content: bytes) -> None:
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    new.rename(path)
