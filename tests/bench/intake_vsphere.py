# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A vCenter stand-in (govmomi's simulator) built from tests/integration/intake/vcsim; and the figures of reading it."""
from __future__ import annotations

import contextlib
import http.client
import os
import re
import resource
import subprocess
import time
from collections import Counter
from collections.abc import Iterator

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Fate
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import assembly, sources_reader
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.build import Go
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Artifact, Cache, default_root, tree_digest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError

from .figures import FULL, ROOT, figure, say

SOURCES = ROOT / "tests" / "integration" / "intake" / "vcsim"
ACCESS = sources_reader.Access("user", "secret", validate_certs=False)


def build() -> str:
    """Return the path of the simulator, built once into the cache; raises LabError where Go or its modules are missing."""
    go = Go.find()
    artifact = Artifact(name="vcsim", inputs={"sources": tree_digest(SOURCES), "go": go.version},
                        build=lambda out, needs: go.build(SOURCES, out / "vcsim", environment={"CGO_ENABLED": "0"}))
    return str(Cache(default_root(os.environ)).get(artifact).path / "vcsim")


@contextlib.contextmanager
def running(binary: str, vms: int, *more: str) -> Iterator[str]:
    """Start the simulator and yield its address as a source."""
    process = subprocess.Popen([binary, "-vms", str(vms), *more], stdout=subprocess.PIPE, text=True)
    try:
        words = process.stdout.readline().split()
        if words[:1] != ["ready"]:
            raise RuntimeError(f"vcsim: expected 'ready ADDRESS VMS', got {words}")
        yield f"vsphere://{words[1]}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextlib.contextmanager
def counted() -> Iterator[Counter]:
    """Count the HTTP requests of this process by name: the method of SOAP, or verb and path of REST without identifiers."""
    calls, request = Counter(), http.client.HTTPConnection.request

    def noted(connection, method, url, body=None, headers=None, **rest):
        named = re.search(rb"<(?:\w+:)?Body[^>]*>\s*<(\w+)", body or b"") if isinstance(body, bytes) else None
        calls[named.group(1).decode() if named else f"{method} {re.sub(r'id:[^/?]*', 'id:...', url)}"] += 1
        return request(connection, method, url, body, headers or {}, **rest)

    http.client.HTTPConnection.request = noted
    try:
        yield calls
    finally:
        http.client.HTTPConnection.request = request


def run() -> None:
    """Read 2,000 VMs (200 in the quick variant) twice and print seconds, calls and whether the bytes are the same."""
    try:
        binary = build()
    except LabError as error:
        say(f"skipped: vcsim: {error}")
        return
    count = 2000 if FULL else 200
    with running(binary, count) as source:
        started, cpu = time.perf_counter(), time.process_time()
        with counted() as calls:
            vms, rules = sources_reader.read(source, access=ACCESS)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        estate = assembly.assemble(vms, [source], rules)
        again, more = sources_reader.read(source, access=ACCESS)
        same = codec.canonical_bytes(estate) == codec.canonical_bytes(assembly.assemble(again, [source], more))
    figure("intake", f"vcsim/{count}", "read", round(seconds, 2), "s", vms=len(vms), cpu_seconds=round(cpu, 2), fields=sum(len(vm.ledger) for vm in vms),
           rules=len(rules), tagged=sum(bool(vm.tags) for vm in vms), devices=dict(Counter(device.kind for vm in vms for device in vm.host_devices)),
           vtpm=sum(bool(vm.tpm) for vm in vms), snapshots=sum(bool(vm.snapshots) for vm in vms),
           unknown=sum(line.fate is Fate.UNKNOWN for vm in estate.vms for line in vm.ledger),
           memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    figure("intake", f"vcsim/{count}", "api_calls", sum(calls.values()), "calls", by_name=dict(calls))
    figure("intake", f"vcsim/{count}", "same_bytes", int(same), "of 1", "== 1", same)


if __name__ == "__main__":
    run()
