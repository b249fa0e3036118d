# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server refuses, in one sentence."""

from __future__ import annotations

import json
import re
from collections import defaultdict

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import (
    ClusterError,
    Conflict,
    Refused,
    Unreachable,
)


def refusal(error, method: str, path: str, where: str) -> ClusterError:
    """The ClusterError for an ApiException of the Kubernetes client."""
    status = _status(error)
    message = status.get("message") or error.reason or "no reason given"
    details = status.get("details") or {}
    if not error.status:  # TLS: the client raises it without an answer
        return Unreachable(f"no trusted connection to {where}: {' '.join(str(error.reason).split())}")
    if error.status == 401:
        return Unreachable(f"{where} does not accept the credentials of the kubeconfig (401 Unauthorized)")
    if error.status == 403 and "is forbidden" in message and "cannot" in message:
        return Refused(f"not allowed on {where}: {message}", 403, details)
    owners = _owners(details)
    if error.status == 409 and owners:
        return Conflict(f"{_object(path)}: {_conflict_sentence(owners)}", owners)
    return Refused(f"{where} refused {method} {_object(path)}: {message} ({error.status})", error.status, details)


def _owners(details: dict) -> dict[str, list[str]]:
    """Who owns which fields, from the details of a field manager conflict."""
    owners: dict[str, set[str]] = defaultdict(set)
    for cause in details.get("causes") or []:
        if cause.get("reason") == "FieldManagerConflict":
            match = re.search(r'conflicts? with "([^"]*)"', cause.get("message", ""))
            owners[match.group(1) if match else "an unnamed manager"].add(cause.get("field", "?"))
    return {owner: sorted(names) for owner, names in sorted(owners.items())}


def _conflict_sentence(owners: dict[str, list[str]]) -> str:
    parts = [f"{', '.join(names)} (set by {owner})" for owner, names in owners.items()]
    return f"fields belong to other field managers: {'; '.join(parts)}; take them over with force_conflicts"


def _status(error) -> dict:
    try:
        status = json.loads(error.body or "{}")
    except ValueError:
        return {"message": str(error.body)[:500]}
    return status if isinstance(status, dict) else {}


def _object(path: str) -> str:
    """`deployments.apps web/nginx` for /apis/apps/v1/namespaces/web/deployments/nginx."""
    parts = [part for part in path.split("/") if part]
    group = parts[1] if parts[:1] == ["apis"] and len(parts) > 1 else ""
    rest = parts[3:] if group else parts[2:]
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1] + "/", rest[2:]
    if not rest:
        return path
    return f"{rest[0]}{'.' + group if group else ''} {namespace}{'/'.join(rest[1:])}".rstrip()
