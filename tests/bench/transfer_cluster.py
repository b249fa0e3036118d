# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of make bench-transfer that needs the full lab: our mover's Job over mutual TLS against CDI's HTTP import, of the same disk.

What is timed, of both alike: from the request that creates the claim (and our pod, or CDI's DataVolume, both bound at once) until the API server
says Succeeded. So a pod's scheduling and start, the volume's making and CDI's own controllers are part of it, as they are of every migration. Each
round makes and removes its objects, so nothing is found there already. After the clock has stopped the bytes in the volume are hashed and
compared with the source's: an import that ended early, or left a blank disk, ends the benchmark. CDI reads plain HTTP and hashes nothing; ours
goes through TLS, hashes and journals.
"""
from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import http.server
import json
import os
import pathlib
import socket
import statistics
import threading
import time
from collections.abc import Iterator

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster, connect
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer import exporter, pki

from .figures import figure, say

LAB = pathlib.Path(os.environ.get("TANDEM_LAB", "/var/lib/tandem/lab"))
NAMESPACE, NODE, LIMIT_SECONDS, POLL_SECONDS = f"tandem-bench-{os.getpid()}", "lab-1", 300, 0.1
CDI, BLOCK_BYTES = "cdi.kubevirt.io/v1beta1", 1 << 20


def claim(name: str, size_bytes: int) -> dict:
    """A claim as the migration makes it, with room for what KubeVirt adds."""
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {
        "storageClassName": "local", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": str(int(size_bytes * 1.06) + 1)}}}}


def mover(size_bytes: int, address: str, port: int) -> dict:
    """A pod with our mover, as its Job would make it."""
    arguments = ["copy", "--source", f"nbd://{address}:{port}/vda", "--tls", "/tls", "--target", "/disk", "--state", "/state", "--disk", "vda",
                 "--source-id", "bench", "--generation", "g0", "--size-bytes", str(size_bytes)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ours", "namespace": NAMESPACE}, "spec": {
        "restartPolicy": "Never", "nodeSelector": {"kubernetes.io/hostname": NODE}, "securityContext": {"runAsUser": 107, "fsGroup": 107},
        "containers": [{"name": "mover", "image": "tandem.local/mover:1", "imagePullPolicy": "IfNotPresent", "args": arguments,
                        "resources": {"limits": {"memory": "256Mi"}}, "volumeMounts": [
                            {"name": "tls", "mountPath": "/tls"}, {"name": "disk", "mountPath": "/disk"}, {"name": "state", "mountPath": "/state"}]}],
        "volumes": [{"name": "tls", "secret": {"secretName": "tls", "defaultMode": 0o440}}, {"name": "state", "emptyDir": {}},
                    {"name": "disk", "persistentVolumeClaim": {"claimName": "ours"}}]}}


def data_volume(size_bytes: int, url: str) -> dict:
    """CDI's HTTP import into the same class of storage; bound at once, for the class would have it wait for a consumer that never comes."""
    return {"apiVersion": CDI, "kind": "DataVolume", "metadata": {"name": "cdi", "namespace": NAMESPACE, "annotations": {
        "cdi.kubevirt.io/storage.bind.immediate.requested": "true"}},
        "spec": {"source": {"http": {"url": url}}, "pvc": claim("", size_bytes)["spec"]}}


def timed(cluster: Cluster, *objects: dict) -> float:
    """Create objects and wait until the last one has Succeeded; returns the seconds from the first request on."""
    started, last = time.monotonic(), objects[-1]
    for wanted in objects:
        cluster.create(wanted)
    while time.monotonic() - started < LIMIT_SECONDS:
        found = cluster.get(last["apiVersion"], last["kind"], last["metadata"]["name"], NAMESPACE) or {}
        phase = found.get("status", {}).get("phase")
        if phase == "Succeeded":
            return time.monotonic() - started
        if phase == "Failed":
            raise SystemExit(f"bench-transfer: {last['kind']} {last['metadata']['name']} failed: {json.dumps(found['status'])[:600]}")
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"bench-transfer: {last['kind']} {last['metadata']['name']} is {phase} after {LIMIT_SECONDS} s")


def digest(path: pathlib.Path, size_bytes: int) -> str:
    """SHA-256 of the first bytes of a file."""
    found, left = hashlib.sha256(), size_bytes
    with open(path, "rb") as file:
        while left and (block := file.read(min(left, BLOCK_BYTES))):
            found.update(block)
            left -= len(block)
    return f"{found.hexdigest()} of {size_bytes - left} bytes"


def check(cluster: Cluster, name: str, expected: str, size_bytes: int) -> None:
    """End the benchmark unless the claim's disk begins with the very bytes of the source; the lab's volumes are folders of this machine."""
    volume = cluster.get("v1", "PersistentVolumeClaim", name, NAMESPACE)["spec"]["volumeName"]
    path = pathlib.Path(cluster.get("v1", "PersistentVolume", volume)["spec"]["hostPath"]["path"]) / "disk.img"
    found = digest(path, size_bytes)
    if found != expected:
        raise SystemExit(f"bench-transfer: {name}: {path} holds {found}, the source {expected}: its time means nothing")


def remove(cluster: Cluster) -> None:
    """Delete a round's objects and wait until they are gone."""
    objects = (("v1", "Pod", "ours"), (CDI, "DataVolume", "cdi"), ("v1", "PersistentVolumeClaim", "ours"), ("v1", "PersistentVolumeClaim", "cdi"))
    for one in objects:
        cluster.delete(*one, NAMESPACE)
    deadline = time.monotonic() + LIMIT_SECONDS
    while any(cluster.get(*one, NAMESPACE) for one in objects) or cluster.list("v1", "Pod", NAMESPACE):
        if time.monotonic() > deadline:
            raise SystemExit(f"bench-transfer: the objects in {NAMESPACE} do not go away")
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def web(folder: pathlib.Path, address: str) -> Iterator[str]:
    """Serve a folder by HTTP."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_unused: None
    with http.server.ThreadingHTTPServer((address, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{address}:{server.server_port}"
        server.shutdown()


def bench(folder: pathlib.Path, image: pathlib.Path, rounds: int) -> None:
    """Let both take turns."""
    record = LAB / "source.json"
    if not record.is_file():
        say(f"CDI's HTTP import is left out: {record} does not exist (make lab)")
        return
    address, size = json.loads(record.read_text())["address"], image.stat().st_size
    expected, cluster = digest(image, size), connect(str(LAB / "pki" / "admin.kubeconfig"))
    tls, public = folder / "cluster-pki", folder / "public"
    pki.create(str(tls), [address])
    public.mkdir()
    os.link(image, public / "disk.img")
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    exporter.start(exporter.Export(str(image), "raw", "vda", address, port, tls_directory=str(tls / "exporter")),
                   str(folder / "cluster.pid"), str(folder / "cluster.log"))
    took: dict[str, list[float]] = {"ours": [], "cdi": []}
    try:
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        secret = {file.name: base64.b64encode(file.read_bytes()).decode() for file in (tls / "mover").iterdir()}
        cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls", "namespace": NAMESPACE}, "data": secret})
        with web(public, address) as url:
            for number in range(rounds):
                took["ours"].append(timed(cluster, claim("ours", size), mover(size, address, port)))
                took["cdi"].append(timed(cluster, data_volume(size, f"{url}/disk.img")))
                for name in took:
                    check(cluster, name, expected, size)
                say(f"in_cluster round {number + 1}/{rounds}: {', '.join(f'{name} {each[-1]:.1f} s' for name, each in took.items())}, bytes equal")
                remove(cluster)
    finally:
        exporter.stop(str(folder / "cluster.pid"))
        cluster.delete("v1", "Namespace", NAMESPACE)
    for name, each in took.items():
        seconds = statistics.median(each)
        figure("transfer", f"in_cluster/{name}", "throughput", round(size / (1 << 20) / seconds, 1), "MiB/s", rounds=rounds,
               seconds=round(seconds, 2), tls=name == "ours", load=os.getloadavg()[0])
    ratios = [theirs / mine for mine, theirs in zip(took["ours"], took["cdi"], strict=True)]
    figure("transfer", "in_cluster", "ours_to_cdi", round(statistics.median(ratios), 2), "ratio")
