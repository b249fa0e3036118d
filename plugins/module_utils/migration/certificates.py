# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates of a migration: made for one namespace, kept in Secrets while it lasts, removed when all is accepted."""
from __future__ import annotations

import base64
import pathlib
import tempfile
from datetime import UTC, datetime, timedelta

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.migration import jobs
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.hypervisor import Host
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import LABELS, Settings
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer import pki

EXPORTER_SECRET = "tandem-exporter-tls"  # noqa: S105 - the Secret's name
EXPIRES = "tandem.hybrid/expires"
NAMES = "tandem.hybrid/server-names"
LIFETIME_HOURS = 24 * 14
EXPORTER_FILES = ("ca-cert.pem", "server-cert.pem", "server-key.pem")


def ensure(cluster: Cluster, settings: Settings, hosts: list[Host]) -> None:
    """Have both Secrets, valid for two more days, and the exporter's files on every hypervisor. Movers on their way keep their authority."""
    if not settings.exporter_address or not settings.exporter_certificates:
        raise MigrationError("exporter_address and exporter_certificates are needed: where pods reach the hypervisor, and the folder there"
                             " for the exporters' certificates")
    exporter = cluster.get("v1", "Secret", EXPORTER_SECRET, settings.namespace)
    if exporter is None or cluster.get("v1", "Secret", jobs.SECRET, settings.namespace) is None or not _good(exporter, settings):
        exporter = _create(cluster, settings)
    for host in hosts:
        for name in EXPORTER_FILES:
            host.write(f"{settings.exporter_certificates}/{name}", base64.b64decode(exporter["data"][name]).decode())


def remove(cluster: Cluster, settings: Settings, hosts: list[Host]) -> None:
    """Delete the Secrets and the files: nothing is on its way any more."""
    for name in (jobs.SECRET, EXPORTER_SECRET):
        cluster.delete("v1", "Secret", name, settings.namespace)
    for host in hosts:
        host.run(["rm", "-f", *(f"{settings.exporter_certificates}/{name}" for name in EXPORTER_FILES)])


def _good(secret: dict, settings: Settings) -> bool:
    notes = secret["metadata"].get("annotations", {})
    soon = datetime.now(UTC) + timedelta(days=2)
    return notes.get(NAMES) == settings.exporter_address and notes.get(EXPIRES, "") > soon.isoformat()


def _create(cluster: Cluster, settings: Settings) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        pki.create(folder, [settings.exporter_address], LIFETIME_HOURS)
        expires = (datetime.now(UTC) + timedelta(hours=LIFETIME_HOURS)).isoformat()
        cluster.apply(_secret(settings, jobs.SECRET, pathlib.Path(folder, "mover"), expires), force=True)
        return cluster.apply(_secret(settings, EXPORTER_SECRET, pathlib.Path(folder, "exporter"), expires), force=True)


def _secret(settings: Settings, name: str, folder: pathlib.Path, expires: str) -> dict:
    data = {file.name: base64.b64encode(file.read_bytes()).decode() for file in sorted(folder.iterdir())}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data,
            "metadata": {"name": name, "namespace": settings.namespace, "labels": LABELS,
                         "annotations": {EXPIRES: expires, NAMES: settings.exporter_address}}}
