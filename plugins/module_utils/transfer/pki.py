# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of one migration: an authority whose key is never stored, the exporter's and the mover's certificate."""
from __future__ import annotations

import datetime
import ipaddress
import os
import sys

from .errors import TransferError

CLOCK_SKEW = datetime.timedelta(minutes=5)


def create(directory: str, server_names: list[str], lifetime_hours: float = 72.0, client_name: str = "mover") -> None:
    """Write DIRECTORY/exporter (names that QEMU and libvirt want) and DIRECTORY/mover (a TLS Secret's), directories 0700, files 0600.

    `server_names` are the IP addresses and host names by which movers reach the exporter.
    """
    x509, hashes, serialization, ec, oids = _library()
    now = datetime.datetime.now(datetime.UTC)
    until = now + datetime.timedelta(hours=lifetime_hours)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name(x509, oids, "tandem migration")

    def certificate(subject, key, extensions):
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(authority_name).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(min(now - CLOCK_SKEW, until - CLOCK_SKEW)).not_valid_after(until)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def leaf(name, usage, more=()):
        key = ec.generate_private_key(ec.SECP256R1())
        extensions = [(x509.BasicConstraints(ca=False, path_length=None), True), (_usage(x509, sign=False), True),
                      (x509.ExtendedKeyUsage([usage]), False), *more]
        return certificate(_name(x509, oids, name), key, extensions), key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    authority = certificate(authority_name, authority_key,
                            [(x509.BasicConstraints(ca=True, path_length=0), True), (_usage(x509, sign=True), True)])
    names = x509.SubjectAlternativeName([_general_name(x509, name) for name in server_names])
    server, server_key = leaf(server_names[0], oids[1].SERVER_AUTH, [(names, False)])
    client, client_key = leaf(client_name, oids[1].CLIENT_AUTH)
    _write(os.path.join(directory, "exporter"), {"ca-cert.pem": authority, "server-cert.pem": server, "server-key.pem": server_key})
    _write(os.path.join(directory, "mover"), {"ca.crt": authority, "tls.crt": client, "tls.key": client_key})


def _library():
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError:
        raise TransferError("unsupported", f"certificates need the Python library cryptography, which {sys.executable} does not have") from None
    return x509, hashes, serialization, ec, (NameOID, ExtendedKeyUsageOID)


def _name(x509, oids, text: str):
    return x509.Name([x509.NameAttribute(oids[0].COMMON_NAME, text[:64])])


def _usage(x509, sign: bool):
    return x509.KeyUsage(digital_signature=not sign, key_cert_sign=sign, crl_sign=sign, content_commitment=False, key_encipherment=False,
                         data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False)


def _general_name(x509, text: str):
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _write(directory: str, files: dict[str, bytes]) -> None:
    os.makedirs(directory, mode=0o700, exist_ok=True)
    for name, content in files.items():
        path = os.path.join(directory, name)
        handle = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(f"{path}.new", path)
