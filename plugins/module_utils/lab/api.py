# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few requests that the lab itself makes of its apiserver, with the standard library alone."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout

KINDS = {
    "Node": "/api/v1/nodes",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses",
    "MutatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicybindings",
}
PATIENCE_SECONDS = 60
EXCUSES = (http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE, http.client.GATEWAY_TIMEOUT)
OWNED = {"app.kubernetes.io/managed-by": "tandem", "tandem.hybrid/component": "lab"}


class Api:
    """The lab's apiserver, as its administrator."""

    def __init__(self, layout: Layout) -> None:
        self._address, self._port, self._pki = layout.control_address, layout.api_port, layout.pki

    def ready(self) -> bool:
        """Whether the apiserver says that it serves."""
        try:
            return self._send("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def get(self, path: str) -> dict | None:
        """One object or list; None when it doesn't exist, LabError on any other refusal."""
        return self._checked("GET", path)

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete one object; it may be gone already."""
        self._checked("DELETE", f"{KINDS[kind].format(namespace=namespace)}/{name}")

    def differs(self, wanted: dict) -> bool:
        """Whether the live object lacks anything of what is wanted."""
        live = self.get(_path(wanted))
        return live is None or not contains(live, _owned(wanted))

    def apply(self, wanted: dict) -> None:
        """Server-side apply with field manager tandem; conflicts are an error."""
        self._checked("PATCH", f"{_path(wanted)}?fieldManager=tandem", _owned(wanted))

    def nodes(self) -> dict[str, str]:
        """The real nodes by name: when each last said that it is Ready (RFC 3339), empty if it isn't."""
        items = (self.get(KINDS["Node"]) or {})["items"]
        return {item["metadata"]["name"]: _ready_heartbeat(item) for item in items
                if "kwok.x-k8s.io/node" not in item["metadata"].get("annotations", {})}

    def _checked(self, method: str, path: str, body: dict | None = None) -> dict | None:
        status, answer = self._persistent(method, path, body)
        if status == 404 and method != "PATCH":
            return None
        if status >= 300:
            raise LabError(f"the lab's apiserver refused {method} {path}: {answer.decode(errors='replace')[:300]}")
        return json.loads(answer)

    def _persistent(self, method: str, path: str, body: dict | None) -> tuple[int, bytes]:
        """An answer that isn't an excuse; on a loaded machine, or just after its start, the apiserver may need a while."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                status, answer = self._send(method, path, body)
                if status not in EXCUSES or time.monotonic() > end:
                    return status, answer
            except (OSError, http.client.HTTPException) as error:
                if time.monotonic() > end:
                    raise LabError(f"the lab's apiserver at {self._address}:{self._port} doesn't answer: {error}") from error
            time.sleep(0.2)

    def _send(self, method: str, path: str, body: dict | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(self._address, self._port, timeout=10, context=_context(self._pki))
        try:
            connection.request(method, path, json.dumps(body) if body else None,
                               {"Content-Type": "application/apply-patch+yaml"} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _ready_heartbeat(node: dict) -> str:
    return next((condition["lastHeartbeatTime"] for condition in node["status"].get("conditions", [])
                 if condition["type"] == "Ready" and condition["status"] == "True"), "")


def contains(live: object, wanted: object) -> bool:
    """Whether everything wanted is in the live object; list items are compared by position."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            contains(live.get(key), value) for key, value in wanted.items() if value not in ({}, []))
    if isinstance(wanted, list):
        return isinstance(live, list) and len(live) == len(wanted) and all(map(contains, live, wanted))
    return live == wanted


def _owned(wanted: dict) -> dict:
    metadata = wanted["metadata"]
    if wanted["kind"] == "Node":  # nodes are the kubelet's; only some labels are ours
        return wanted
    return {**wanted, "metadata": {**metadata, "labels": {**metadata.get("labels", {}), **OWNED}}}


def _path(wanted: dict) -> str:
    metadata = wanted["metadata"]
    if wanted["kind"] not in KINDS:
        raise LabError(f"the lab has no {wanted['kind']} among its own objects, expected one of {', '.join(KINDS)}")
    return f"{KINDS[wanted['kind']].format(namespace=metadata.get('namespace', ''))}/{metadata['name']}"


def _context(pki: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))
    return context
