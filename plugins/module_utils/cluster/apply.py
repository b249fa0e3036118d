# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server-side apply of a list of objects: find out what changes, then change it.

The server works out every change in a dry run first, so a conflict or a mistake in any object is reported
before the first one is written, and nothing is written where nothing changes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import (
    FIELD_MANAGER,
    Cluster,
    unknown_kind,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import (
    ClusterError,
    Conflict,
    NotReady,
    Refused,
    Unreachable,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.objects import (
    Reference,
    comparable,
    component_of,
    desired,
    fields_of,
    hide_secrets,
    labelled,
    owned,
    owner_labels,
    without,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.order import for_apply
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.wait import Target, wait

_CRD = "CustomResourceDefinition"


@dataclass(frozen=True)
class Options:
    """How to apply; `component` goes into the ownership labels, `namespace` is for objects that name none.

    Where a field belongs to one of the managers in `yield_to`, it is left to it: an operator, say, that
    maintains the definition which its manifest brings.
    """

    component: str | None = None
    namespace: str | None = None
    force_conflicts: bool = False
    yield_to: tuple[str, ...] = ()
    established_timeout_seconds: float = 60.0


@dataclass(frozen=True)
class Change:
    """What applying does to one object: `created`, `changed` or `unchanged`."""

    reference: Reference
    action: str
    desired: dict
    before: dict
    after: dict
    unseen: bool = False  # the server could not check it: its kind or namespace is yet to come

    @property
    def diff(self) -> dict:
        """In the form that `ansible-playbook --diff` prints."""
        before, after = hide_secrets(self.before, self.after)
        return {"before": before, "after": after, "before_header": self.reference.text, "after_header": self.reference.text}


def plan(cluster: Cluster, objects: Sequence[dict], options: Options, *, check: bool = False) -> list[Change]:
    """What applying would do, in the order of doing it; ClusterError if one of the objects cannot be applied.

    With `check`, kinds and namespaces that do not exist are taken for yet to come, as earlier steps that were
    only checked would have made them; without, they must be in the list.
    """
    namespaces = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"}
    kinds = {(obj["spec"]["group"], obj["spec"]["names"]["kind"]) for obj in objects if obj["kind"] == _CRD}
    changes, problems = [], []
    for obj in for_apply(objects):
        try:
            change = _plan_one(cluster, obj, options)
            reference = change.reference
            if not check and not cluster.serves(reference.api_version, reference.kind):
                if (reference.group, reference.kind) not in kinds:
                    raise unknown_kind(reference.api_version, reference.kind)
            elif not check and change.unseen and reference.namespace not in namespaces:
                raise ClusterError(f"{reference.text}: namespace {reference.namespace} does not exist")
            changes.append(change)
        except (Unreachable, NotReady):
            raise
        except ClusterError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        kind = Conflict if all(isinstance(problem, Conflict) for problem in problems) else ClusterError
        raise kind(f"nothing was applied, {len(problems)} objects cannot be: " + "; ".join(map(str, problems)))
    return changes


def apply(cluster: Cluster, objects: Sequence[dict], options: Options, *, check: bool = False) -> list[Change]:
    """Apply the objects; returns what was done (with `check`: what would be done)."""
    changes = plan(cluster, objects, options, check=check)
    if check:
        return changes
    done, crds = [], []
    for change in changes:
        if crds and change.reference.kind != _CRD:
            wait(cluster, crds, options.established_timeout_seconds)
            crds = []
        done.append(_write(cluster, change, options))
        if change.reference.kind == _CRD:
            crds.append(Target(change.reference))
    if crds:
        wait(cluster, crds, options.established_timeout_seconds)
    return done


def _plan_one(cluster: Cluster, obj: dict, options: Options) -> Change:
    wanted = desired(obj)
    served = cluster.serves(wanted["apiVersion"], wanted["kind"])
    if served and not cluster.namespaced(wanted["apiVersion"], wanted["kind"]):
        wanted["metadata"].pop("namespace", None)
    elif served or options.namespace:
        wanted["metadata"].setdefault("namespace", options.namespace or "default")
    reference = Reference.of(wanted)
    before = cluster.get(*reference.key)
    if before is None:
        wanted = labelled(wanted, owner_labels(options.component))
    elif owned(before):
        # Shared between components (a namespace, say): it stays with the one that created it.
        wanted = labelled(wanted, owner_labels(component_of(before)))
    # Any other object was there before Tandem: it is changed but not claimed, uninstalling leaves it.
    if not served:
        return Change(reference, "created", wanted, {}, comparable(wanted), unseen=True)
    try:
        wanted, after = _dry_run(cluster, wanted, options)
    except Refused as error:
        if error.status == 404 and error.details.get("kind") == "namespaces":
            return Change(reference, "created", wanted, {}, comparable(wanted), unseen=True)
        raise
    return _change(reference, wanted, before, after)


def _dry_run(cluster: Cluster, wanted: dict, options: Options) -> tuple[dict, dict]:
    """What to apply, and what comes of it."""
    try:
        return wanted, cluster.apply(wanted, dry_run=True, force=options.force_conflicts)
    except Conflict as conflict:
        if not set(conflict.owners) <= set(options.yield_to):
            raise
        wanted = without(wanted, [name for names in conflict.owners.values() for name in names])
        return wanted, cluster.apply(wanted, dry_run=True)


def _write(cluster: Cluster, change: Change, options: Options) -> Change:
    if change.action == "unchanged":
        return change
    wanted = change.desired
    if change.unseen:
        _wait_served(cluster, change.reference, options.established_timeout_seconds)
    if change.unseen and not cluster.namespaced(wanted["apiVersion"], wanted["kind"]):
        wanted["metadata"].pop("namespace", None)
    after = cluster.apply(wanted, force=options.force_conflicts)
    return replace(change, reference=Reference.of(after), after=comparable(after))


def _wait_served(cluster: Cluster, reference: Reference, timeout_seconds: float) -> None:
    """An established kind is served a moment later."""
    deadline = time.monotonic() + timeout_seconds
    while not cluster.serves(reference.api_version, reference.kind):
        if time.monotonic() > deadline:
            raise unknown_kind(reference.api_version, reference.kind)
        time.sleep(0.2)


def _change(reference: Reference, wanted: dict, before: dict | None, after: dict) -> Change:
    old, new = comparable(before), comparable(after)
    if before is None:
        return Change(reference, "created", wanted, {}, new)
    # Status and resourceVersion move by themselves between reading and writing; what counts is the
    # content, and which of its fields are ours.
    same = old == new and fields_of(before, FIELD_MANAGER) == fields_of(after, FIELD_MANAGER)
    return Change(reference, "unchanged" if same else "changed", wanted, old, new)
