# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one door to the Kubernetes API: plain dictionaries in and out, one sentence on failure, retries inside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import (
    Refused,
    UnknownKind,
    Unreachable,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.kubeconfig import Access, load
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.refusals import refusal

FIELD_MANAGER = "tandem"
PAGE_SIZE = 500
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_TIMEOUTS_SECONDS = (5, 60)  # connect, read
_RETRY_STATUS = {429, 502, 503, 504}
_RETRY_SECONDS = 30.0


class Cluster:
    """A connection to one API server; every method raises ClusterError with one sentence."""

    def __init__(self, access: Access, retry_seconds: float = _RETRY_SECONDS,
                 sleep: Callable[[float], None] = time.sleep):
        self._access = access
        self._retry_seconds = retry_seconds
        self._sleep = sleep
        self._dynamic = None

    # ---- reading

    def version(self) -> str:
        """The API server's version, as in v1.34.4."""
        return self.request("GET", "/version")["gitVersion"]

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the cluster knows the kind now; asks the server again when it did not before."""
        return self._find(api_version, kind) is not None

    def namespaced(self, api_version: str, kind: str) -> bool:
        """Whether objects of the kind live in a namespace; UnknownKind if the cluster does not serve it."""
        return self._resource(api_version, kind).namespaced

    def resources(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Every served (apiVersion, kind, verbs), once per kind and group, in the group's preferred version."""
        found = {}
        versions = ["v1"] + [group["preferredVersion"]["groupVersion"] for group in self.request("GET", "/apis")["groups"]]
        for version in versions:
            path = f"/api/{version}" if version == "v1" else f"/apis/{version}"
            try:
                listed = self.request("GET", path).get("resources") or []
            except Refused:
                continue  # an aggregated API whose server is away serves no objects we could own
            for resource in listed:
                if "/" not in resource["name"]:
                    # An aggregated API may list a resource without verbs, and a group without resources.
                    found[version, resource["kind"]] = tuple(resource.get("verbs") or ())
        return [(version, kind, verbs) for (version, kind), verbs in found.items()]

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict | None:
        """The object, or None if it, its namespace or its kind does not exist."""
        resource = self._find(api_version, kind)
        if resource is None:
            return None
        try:
            return self.request("GET", self._path(resource, name, namespace))
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def list(self, api_version: str, kind: str, namespace: str | None = None, *, label_selector: str | None = None,
             field_selector: str | None = None) -> list[dict]:
        """All objects of a kind, page by page; none if the cluster does not serve the kind."""
        resource = self._find(api_version, kind)
        return [] if resource is None else list(self._pages(resource, namespace, label_selector, field_selector))

    def _pages(self, resource, namespace: str | None, label_selector: str | None,
               field_selector: str | None) -> Iterator[dict]:
        query = [("limit", PAGE_SIZE)]
        query += [("labelSelector", label_selector)] if label_selector else []
        query += [("fieldSelector", field_selector)] if field_selector else []
        path = resource.path(namespace=namespace)
        token = None
        while True:
            page = self.request("GET", path, query=query + ([("continue", token)] if token else []))
            for item in page.get("items") or []:
                # Items of a list carry no apiVersion and kind of their own.
                yield {"apiVersion": resource.group_version, "kind": resource.kind, **item}
            token = page.get("metadata", {}).get("continue")
            if not token:
                return

    # ---- writing

    def apply(self, obj: dict, *, dry_run: bool = False, force: bool = False) -> dict:
        """Server-side apply by the field manager `tandem`; fields of others are taken only with `force`.

        Unknown and repeated fields are errors, of custom resources too.
        """
        query = [("fieldManager", FIELD_MANAGER), ("force", str(force).lower()), ("fieldValidation", "Strict")]
        return self._write("PATCH", obj, obj, query, dry_run, APPLY_PATCH)

    def create(self, obj: dict, *, dry_run: bool = False) -> dict:
        """Create an object; Refused with status 409 if it exists. Unknown and repeated fields are errors."""
        resource = self._resource(obj["apiVersion"], obj["kind"])
        path = resource.path(namespace=obj["metadata"].get("namespace"))
        query = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")] + ([("dryRun", "All")] if dry_run else [])
        return self.request("POST", path, query=query, body=obj)

    def replace(self, obj: dict, *, dry_run: bool = False) -> dict:
        """Replace an object; Refused with status 409 if its resourceVersion is no longer the current one."""
        return self._write("PUT", obj, obj, [("fieldManager", FIELD_MANAGER)], dry_run, "application/json")

    def patch(self, api_version: str, kind: str, name: str, namespace: str | None, body: dict | list, *,
              content_type: str = MERGE_PATCH, subresource: str = "", dry_run: bool = False) -> dict:
        """Patch an object or its subresource (`status`, `scale`)."""
        target = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}
        return self._write("PATCH", target, body, [("fieldManager", FIELD_MANAGER)], dry_run, content_type, subresource)

    def post(self, api_version: str, kind: str, name: str, namespace: str | None, subresource: str,
             body: dict) -> dict:
        """Post to a subresource such as `eviction`."""
        path = self._path(self._resource(api_version, kind), name, namespace)
        return self.request("POST", f"{path}/{subresource}", body=body)

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None, *,
               propagation: str = "Background", dry_run: bool = False, uid: str | None = None) -> bool:
        """Ask for deletion; False if the object or its kind does not exist. Does not wait for finalizers.

        With `uid` only that very object is deleted, not one of the same name created since.
        """
        resource = self._find(api_version, kind)
        if resource is None:
            return False
        body = {"propagationPolicy": propagation, **({"preconditions": {"uid": uid}} if uid else {})}
        try:
            self.request("DELETE", self._path(resource, name, namespace), body=body,
                         query=[("dryRun", "All")] if dry_run else [])
        except Refused as error:
            if error.status == 404 or (uid and error.status == 409):
                return False
            raise
        return True

    def _write(self, method: str, target: dict, body, query: list, dry_run: bool, content_type: str,
               subresource: str = "") -> dict:
        resource = self._resource(target["apiVersion"], target["kind"])
        path = self._path(resource, target["metadata"]["name"], target["metadata"].get("namespace"))
        query = query + ([("dryRun", "All")] if dry_run else [])
        return self.request(method, f"{path}/{subresource}".rstrip("/"), query=query, body=body,
                            content_type=content_type)

    # ---- the wire

    def request(self, method: str, path: str, *, query: list | None = None, body=None,
                content_type: str = "application/json") -> dict:
        """One call of the API; repeated while the server is overloaded or its connection breaks."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        deadline = time.monotonic() + self._retry_seconds
        delay_seconds = 0.25
        renewed = False
        while True:
            try:
                return self._client().request(method, path, query_params=list(query or []), body=body,
                                              content_type=content_type, _request_timeout=_TIMEOUTS_SECONDS,
                                              serializer=lambda _client, data: data)
            except ApiException as error:
                if error.status == 401 and not renewed:  # a token that ran out in a long wait
                    renewed, self._dynamic = True, None
                    continue
                if not _passing(method, error) or time.monotonic() > deadline:
                    raise refusal(error, method, path, self._access.where) from error
                wait_seconds = float((error.headers or {}).get("Retry-After") or delay_seconds)
            except (HTTPError, OSError) as error:
                # A broken connection may have carried a POST already: repeating it could create twice.
                if method == "POST" or time.monotonic() > deadline:
                    raise Unreachable(f"no answer from {self._access.where}: {_cause(error)}") from error
                wait_seconds = delay_seconds
            self._sleep(min(wait_seconds, 5.0))
            delay_seconds = min(delay_seconds * 2, 5.0)

    def _client(self):
        if self._dynamic is None:
            self._dynamic = self._access.dynamic_client(_TIMEOUTS_SECONDS)
        return self._dynamic

    def _find(self, api_version: str, kind: str):
        from kubernetes.client.exceptions import ApiException
        from kubernetes.dynamic.exceptions import ResourceNotFoundError
        from urllib3.exceptions import HTTPError

        try:
            return self._client().resources.get(api_version=api_version, kind=kind)
        except ResourceNotFoundError:
            return None
        except ApiException as error:
            raise refusal(error, "GET", f"/apis/{api_version}", self._access.where) from error
        except (HTTPError, OSError) as error:
            raise Unreachable(f"no answer from {self._access.where}: {_cause(error)}") from error

    def _resource(self, api_version: str, kind: str):
        resource = self._find(api_version, kind)
        if resource is None:
            raise unknown_kind(api_version, kind)
        return resource

    @staticmethod
    def _path(resource, name: str, namespace: str | None) -> str:
        return resource.path(name=name, namespace=(namespace or "default") if resource.namespaced else None)


def connect(kubeconfig: str | None = None, context: str | None = None) -> Cluster:
    """A connection that was tried: Unreachable or Refused at once, in one sentence, if it does not work.

    Without `kubeconfig`: environment KUBECONFIG, then ~/.kube/config, then the pod's service account.
    """
    access = load(kubeconfig, context)
    Cluster(access, retry_seconds=2.0).version()
    return Cluster(access)


def unknown_kind(api_version: str, kind: str) -> UnknownKind:
    """The error for a kind that the cluster does not serve."""
    return UnknownKind(f"the cluster does not serve kind {kind} of {api_version}; install its "
                       "CustomResourceDefinition (its operator) first")


def _passing(method: str, error) -> bool:
    """Whether an error of the API server goes away by itself."""
    if error.status in _RETRY_STATUS:
        return error.status == 429 or method != "POST"
    text = str(error.body or "")
    # A webhook or an aggregated API whose pods are just starting.
    return error.status == 500 and ("failed calling webhook" in text or "etcdserver" in text)


def _cause(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    text = str(reason or error).rpartition(">: ")[2].rpartition("): ")[2]
    return text or type(error).__name__
