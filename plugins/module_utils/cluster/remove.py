# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing objects: what Tandem created, in the reverse order of applying, waiting for finalizers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import Refused
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.objects import (
    COMPONENT_LABEL,
    OWNER,
    OWNER_LABEL,
    Reference,
    comparable,
    hide_secrets,
    owned,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.order import for_delete, rank
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.wait import wait_gone

# Made by a controller with the labels of a Service and no owner; they come back until the Service is gone.
_COPIES = {"Endpoints"}


@dataclass(frozen=True)
class Removal:
    """What removing does to one object: `deleted`, `absent` (was not there) or `kept` (not created by Tandem)."""

    reference: Reference
    action: str
    before: dict = field(default_factory=dict)

    @property
    def diff(self) -> dict:
        """In the form that `ansible-playbook --diff` prints."""
        before, after = hide_secrets(self.before, {})
        return {"before": before, "after": after, "before_header": self.reference.text,
                "after_header": self.reference.text}


def remove(cluster: Cluster, objects: Sequence[dict], *, namespace: str | None = None, owned_only: bool = True,
           timeout_seconds: float = 300.0, check: bool = False) -> list[Removal]:
    """Delete the objects, custom resources first and namespaces last, each kind gone before the next.

    Objects without Tandem's labels are kept unless `owned_only` is off. NotReady names what holds an object.
    """
    removals = [_removal(cluster, obj, namespace, owned_only) for obj in for_delete(objects)]
    if check:
        return removals
    for _rank, group in groupby(removals, key=lambda removal: rank(_key_object(removal.reference))):
        asked = [removal for removal in group if removal.action == "deleted"]
        for removal in asked:
            cluster.delete(*removal.reference.key)
        wait_gone(cluster, [removal.reference for removal in asked], timeout_seconds)
    return removals


def owned_objects(cluster: Cluster, component: str) -> list[dict]:
    """Every object of the cluster that Tandem created for a component, of whatever kind and version.

    Objects with an owner are left out: they go with it.
    """
    selector = f"{OWNER_LABEL}={OWNER},{COMPONENT_LABEL}={component}"
    found = {}
    for api_version, kind, verbs in cluster.resources():
        if not {"list", "delete"} <= set(verbs) or kind in _COPIES:
            continue
        try:
            listed = cluster.list(api_version, kind, label_selector=selector)
        except Refused as error:
            if error.status in (403, 404, 405):  # kinds that nobody may list hold nothing we created
                continue
            raise
        for obj in listed:
            if not obj["metadata"].get("ownerReferences"):
                found[obj["metadata"]["uid"]] = obj  # a kind served by two groups (Event) shows up twice
    return list(found.values())


def _removal(cluster: Cluster, obj: dict, namespace: str | None, owned_only: bool) -> Removal:
    reference = Reference.of(obj)
    if cluster.serves(reference.api_version, reference.kind):
        namespaced = cluster.namespaced(reference.api_version, reference.kind)
        place = (reference.namespace or namespace or "default") if namespaced else None
        reference = Reference(reference.api_version, reference.kind, reference.name, place)
    found = cluster.get(*reference.key)
    if found is None:
        return Removal(reference, "absent")
    if owned_only and not owned(found):
        return Removal(reference, "kept")
    return Removal(reference, "deleted", comparable(found))


def _key_object(reference: Reference) -> dict:
    return {"apiVersion": reference.api_version, "kind": reference.kind}
