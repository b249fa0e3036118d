# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal in the cluster: hash-chained events in ConfigMaps, written with optimistic concurrency."""
from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import Refused
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.codec import dump
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import GENESIS, Event, Journal, check, parse_lines, seal
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import Held
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import LABELS

CHUNK_BYTES = 256 << 10
JOURNAL_LABEL = "tandem.hybrid/journal"
KEY = "events.jsonl"


def utc_now() -> str:
    """UTC in ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JournalStore:
    """One journal in one namespace; survives the machine that writes it."""

    def __init__(self, cluster: Cluster, namespace: str, name: str = "tandem-journal", clock: Callable[[], str] = utc_now,
                 chunk_bytes: int = CHUNK_BYTES):
        self._cluster, self._namespace, self._name, self._clock = cluster, namespace, name, clock
        self._chunk_bytes = chunk_bytes
        self._lock = threading.Lock()
        self._chunk: dict | None = None
        self._number = 0
        self.events: list[Event] = []
        self.load()

    def load(self) -> None:
        """Read and check all events; raises DocumentError where the chain is broken."""
        chunks = self._cluster.list("v1", "ConfigMap", self._namespace, label_selector=f"{JOURNAL_LABEL}={self._name}")
        chunks.sort(key=lambda chunk: chunk["metadata"]["name"])
        events = []
        for chunk in chunks:
            events += parse_lines(chunk["data"].get(KEY, ""), f"ConfigMap {self._namespace}/{chunk['metadata']['name']}")
        check(events)
        self.events = events
        self._chunk, self._number = (chunks[-1], len(chunks) - 1) if chunks else (None, 0)

    def append(self, subject: str, phase: str, event: str, data: dict | None = None) -> Event:
        """Seal one event to the chain and store it; raises Held when another run has written meanwhile."""
        with self._lock:
            previous = self.events[-1].hash if self.events else GENESIS
            sealed = seal(self._clock(), subject, phase, event, data or {}, previous)
            line = json.dumps(dump(sealed), sort_keys=True, separators=(",", ":")) + "\n"
            self._store(line)
            self.events.append(sealed)
            return sealed

    def _store(self, line: str) -> None:
        text = self._chunk["data"][KEY] if self._chunk else ""
        if self._chunk and len(text) + len(line) > self._chunk_bytes:
            self._chunk, self._number, text = None, self._number + 1, ""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "data": {KEY: text + line},
                "metadata": {"name": f"{self._name}-{self._number:05d}", "namespace": self._namespace,
                             "labels": {**LABELS, JOURNAL_LABEL: self._name}}}
        try:
            if self._chunk:
                body["metadata"]["resourceVersion"] = self._chunk["metadata"]["resourceVersion"]
                self._chunk = self._cluster.replace(body)
            else:
                self._chunk = self._cluster.create(body)
        except Refused as error:
            if error.status != 409:
                raise
            # A retried request may meet its own first success; anything else is another writer.
            found = self._cluster.get("v1", "ConfigMap", body["metadata"]["name"], self._namespace)
            if not found or found["data"].get(KEY) != text + line:
                raise Held(f"the journal {self._namespace}/{self._name} was written by another run meanwhile; this one stops") from error
            self._chunk = found

    def document(self, plan_digest: str = "") -> Journal:
        """The journal as a document."""
        return Journal(list(self.events), plan_digest)
