# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as plain dictionaries: names, ownership, comparing, reading from files. Only `read` does I/O."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError

OWNER_LABEL = "app.kubernetes.io/managed-by"
OWNER = "tandem"
COMPONENT_LABEL = "tandem.hybrid/component"
_VOLATILE = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")


@dataclass(frozen=True, order=True)
class Reference:
    """One object by name; `text` is how messages name it."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None

    @classmethod
    def of(cls, obj: dict) -> Reference:
        """The reference of an object."""
        meta = obj["metadata"]
        return cls(obj["apiVersion"], obj["kind"], meta["name"], meta.get("namespace"))

    @property
    def key(self) -> tuple[str, str, str, str | None]:
        """The arguments that name the object in calls of a Cluster."""
        return self.api_version, self.kind, self.name, self.namespace

    @property
    def group(self) -> str:
        """API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def text(self) -> str:
        """`Deployment.apps web/nginx`, with the group in full because kinds repeat across groups."""
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind} {self.namespace}/{self.name}" if self.namespace else f"{kind} {self.name}"

    def summary(self) -> dict:
        """For a module's result."""
        return {"api_version": self.api_version, "kind": self.kind, "name": self.name, "namespace": self.namespace}


def owned(obj: dict, component: str | None = None) -> bool:
    """Whether Tandem created the object (for that component, if given), by its labels."""
    labels = obj["metadata"].get("labels") or {}
    return labels.get(OWNER_LABEL) == OWNER and component in (None, component_of(obj))


def component_of(obj: dict) -> str | None:
    """The component in the labels."""
    return (obj["metadata"].get("labels") or {}).get(COMPONENT_LABEL)


def owner_labels(component: str | None) -> dict[str, str]:
    """The labels that mark an object as created by Tandem."""
    return {OWNER_LABEL: OWNER, **({COMPONENT_LABEL: component} if component else {})}


def labelled(obj: dict, labels: dict[str, str]) -> dict:
    """A copy of the object with more labels."""
    copied = copy.deepcopy(obj)
    copied["metadata"]["labels"] = {**(copied["metadata"].get("labels") or {}), **labels}
    return copied


def checked(objects: Iterable[object], source: str) -> list[dict]:
    """The objects, lists of objects unrolled; ClusterError says which document is not an object and why."""
    found = []
    for number, obj in enumerate(objects, 1):
        where = f"document {number} of {source}"
        if obj is None:
            continue
        if not isinstance(obj, dict):
            raise ClusterError(f"{where} is a {type(obj).__name__}, not a Kubernetes object")
        missing = [key for key in ("apiVersion", "kind") if not isinstance(obj.get(key), str)]
        if missing:
            raise ClusterError(f"{where} has no {' and no '.join(missing)}")
        if obj["kind"].endswith("List") and isinstance(obj.get("items"), list):
            found += checked(obj["items"], where)
            continue
        if not isinstance(obj.get("metadata"), dict) or not obj["metadata"].get("name"):
            raise ClusterError(f"{where} ({obj['kind']}) has no metadata.name")
        found.append(obj)
    return found


def desired(obj: dict) -> dict:
    """What of a manifest can be applied: without status and without the generators' null creationTimestamp."""
    kept = {key: value for key, value in obj.items() if key != "status"}
    kept["metadata"] = {key: value for key, value in obj["metadata"].items()
                        if key not in _VOLATILE and value is not None}
    return kept


def comparable(obj: dict | None) -> dict:
    """What of a live object says something to a person: no status, no bookkeeping, no secret values."""
    if obj is None:
        return {}
    kept = {key: copy.deepcopy(value) for key, value in obj.items() if key != "status"}
    kept["metadata"] = {key: value for key, value in kept["metadata"].items() if key not in _VOLATILE}
    return kept


def hide_secrets(before: dict, after: dict) -> tuple[dict, dict]:
    """Both sides of a diff with the values of a Secret replaced by whether they change."""
    if "Secret" not in (before.get("kind"), after.get("kind")):
        return before, after
    sides = copy.deepcopy(before), copy.deepcopy(after)
    for field in ("data", "stringData"):
        values = [side.get(field) or {} for side in (before, after)]
        for side, mine in zip(sides, values, strict=True):
            for key in mine:
                same = values[0].get(key) == values[1].get(key)
                side[field][key] = "(hidden)" if same else f"(hidden, {'old' if side is sides[0] else 'new'})"
    return sides


def without(obj: dict, names: Iterable[str]) -> dict:
    """A copy without the fields, named as the API server names them (`.spec.versions`); list items have no such name."""
    copied = copy.deepcopy(obj)
    for name in names:
        *path, last = name.lstrip(".").split(".")
        inner = copied
        for part in path:
            inner = inner.get(part, {}) if isinstance(inner, dict) else {}
        if isinstance(inner, dict):
            inner.pop(last, None)
    return copied


def fields_of(obj: dict | None, manager: str) -> object:
    """The fields that a manager owns in an object by server-side apply."""
    entries = (obj or {}).get("metadata", {}).get("managedFields") or []
    return [entry.get("fieldsV1") for entry in entries
            if entry.get("manager") == manager and entry.get("operation") == "Apply"]


def parse(text: str, source: str) -> list[dict]:
    """The objects in a YAML or JSON text of one or many documents."""
    try:
        import yaml
    except ImportError as error:
        raise ClusterError(f"the Python library PyYAML is missing for {sys.executable} ({error})") from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = list(yaml.load_all(text, Loader=loader))
    except yaml.YAMLError as error:
        raise ClusterError(f"{source} is not YAML: {' '.join(str(error).split())}") from error
    return checked(documents, source)
