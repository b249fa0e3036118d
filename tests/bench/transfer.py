# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""make bench-transfer: our copy (SHA-256 and journal, TLS on and off) against nbdcopy, qemu-img convert and, on the full lab, CDI's HTTP import.

The tools take turns, round by round, so that other load on the machine hits all of them; ratios are medians of the rounds' ratios. nbdcopy
leaves its data in the page cache, ours is durable at the end: `nbdcopy_flush` is nbdcopy with the same promise.
"""
from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from ansible_collections.tandem.hybrid.plugins.module_utils.transfer import exporter, pki

from . import transfer_cluster
from .figures import FULL, ROOT, figure, say

CLI = "ansible_collections.tandem.hybrid.plugins.module_utils.transfer.cli"
MIB = 1 << 20
ROUNDS, DENSE_MIB, SPARSE_MIB = (5, 2048, 8192) if FULL else (3, 1024, 4096)
NOISE_MIB = 8


def dense(path: pathlib.Path, mebibytes: int) -> None:
    """Write a raw file in which no two chunks are equal."""
    with open(path, "wb") as file:
        for _ in range(mebibytes // NOISE_MIB):
            file.write(os.urandom(NOISE_MIB * MIB))


def sparse(path: pathlib.Path, noise: pathlib.Path, mebibytes: int) -> None:
    """Make a qcow2 disk of which a quarter, spread evenly, holds data."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), f"{mebibytes}M"], check=True)
    script = "\n".join(f"write -s {noise} {start}M {NOISE_MIB}M" for start in range(0, mebibytes, 4 * NOISE_MIB))
    subprocess.run(["qemu-io", "-f", "qcow2", str(path)], input=script, text=True, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def served(folder: pathlib.Path, image: pathlib.Path, kind: str, tls: pathlib.Path | None = None) -> Iterator[str]:
    """Serve an image by our exporter; gives the authority part and query of its URI."""
    pid_file = str(folder / f"{image.name}.pid")
    if tls:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        export = exporter.Export(str(image), kind, "vda", bind="127.0.0.1", port=port, tls_directory=str(tls / "exporter"))
        uri = f"nbd://127.0.0.1:{port}/vda"
    else:
        path = folder / f"{image.name}.sock"
        export = exporter.Export(str(image), kind, "vda", socket=str(path))
        uri = f"nbd+unix:///vda?socket={path}"
    exporter.start(export, pid_file, str(folder / f"{image.name}.log"))
    try:
        yield uri
    finally:
        exporter.stop(pid_file)


def timed(command: list[str]) -> dict[str, float]:
    """Run a command and return its seconds, CPU seconds and peak memory; a failure ends the benchmark."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr, env={**os.environ, "PYTHONPATH": str(ROOT / "collections")})
    process.stdout.read()
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"bench-transfer: {' '.join(command)} ended with {process.returncode}")
    return {"seconds": time.monotonic() - started, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_memory_bytes": usage.ru_maxrss * 1024}


def ours(folder: pathlib.Path, uri: str, out: pathlib.Path, tls: pathlib.Path | None = None) -> list[str]:
    """Return our command line for a full copy with an empty state."""
    state = folder / f"{out.name}.state"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    return [sys.executable, "-m", CLI, "copy", "--source", uri, "--target", str(out), "--state", str(state), "--disk", "vda",
            "--source-id", "bench", "--generation", "g0", *(["--tls", str(tls / "mover")] if tls else [])]


def rounds(case: str, out: pathlib.Path, tools: dict[str, Callable[[], list[str]]], copied_mib: int) -> dict[str, list[dict[str, float]]]:
    """Let the tools take turns; prints each one's median figures."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in tools}
    for number in range(ROUNDS):
        for name, command in tools.items():
            out.unlink(missing_ok=True)
            runs[name].append(timed(command()))
            say(f"{case} round {number + 1}/{ROUNDS} {name}: {runs[name][-1]['seconds']:.2f} s")
    out.unlink(missing_ok=True)
    for name, each in runs.items():
        seconds = statistics.median(run["seconds"] for run in each)
        figure("transfer", f"{case}/{name}", "throughput", round(copied_mib / seconds, 1), "MiB/s", seconds=round(seconds, 2),
               cpu_seconds=round(statistics.median(run["cpu_seconds"] for run in each), 2), rounds=ROUNDS,
               load=os.getloadavg()[0])
    return runs


def ratio(runs: dict[str, list[dict[str, float]]], name: str, other: str) -> float:
    """Return the median over rounds of our throughput divided by another's."""
    return round(statistics.median(theirs["seconds"] / mine["seconds"] for mine, theirs in zip(runs[name], runs[other], strict=True)), 3)


def bench_dense(folder: pathlib.Path, image: pathlib.Path, tls: pathlib.Path, client: pathlib.Path) -> None:
    """A disk without holes, over a unix socket and over mutual TLS."""
    out = folder / "out.raw"
    with served(folder, image, "raw") as uri:
        runs = rounds("dense", out, {
            "ours": lambda: ours(folder, uri, out), "nbdcopy": lambda: ["nbdcopy", uri, str(out)],
            "nbdcopy_flush": lambda: ["nbdcopy", "--flush", uri, str(out)],
            "qemu_img": lambda: ["qemu-img", "convert", "-W", "-m", "8", "-f", "raw", "-O", "raw", uri, str(out)]}, DENSE_MIB)
    value = ratio(runs, "ours", "nbdcopy")
    figure("transfer", "dense", "ours_to_nbdcopy", value, "ratio", ">= 0.70", value >= 0.70)
    figure("transfer", "dense", "ours_to_nbdcopy_flush", ratio(runs, "ours", "nbdcopy_flush"), "ratio")
    peak = max(run["peak_memory_bytes"] for run in runs["ours"])
    figure("transfer", "dense", "peak_memory", round(peak / MIB, 1), "MiB", "<= 200", peak <= 200 * MIB)
    with served(folder, image, "raw") as plain, served(folder, folder / "tls.raw", "raw", tls) as uri:
        nbds = uri.replace("nbd://", "nbds://") + f"?tls-certificates={client}"
        runs = rounds("dense_tls", out, {"ours": lambda: ours(folder, uri, out, tls), "nbdcopy": lambda: ["nbdcopy", nbds, str(out)],
                                         "nbdcopy_plain": lambda: ["nbdcopy", plain, str(out)]}, DENSE_MIB)
    figure("transfer", "dense_tls", "ours_to_nbdcopy_tls", ratio(runs, "ours", "nbdcopy"), "ratio")
    value = ratio(runs, "ours", "nbdcopy_plain")
    figure("transfer", "dense_tls", "ours_to_plain_nbdcopy", value, "ratio", ">= 0.50", value >= 0.50)


def bench_sparse(folder: pathlib.Path, image: pathlib.Path) -> None:
    """A disk of which three quarters are holes."""
    out = folder / "out.raw"
    with served(folder, image, "qcow2") as uri:
        runs = rounds("sparse", out, {
            "ours": lambda: ours(folder, uri, out), "nbdcopy": lambda: ["nbdcopy", uri, str(out)],
            "qemu_img": lambda: ["qemu-img", "convert", "-W", "-m", "8", "-f", "raw", "-O", "raw", uri, str(out)]}, SPARSE_MIB // 4)
        timed(ours(folder, uri, out))
    allocated = out.stat().st_blocks * 512 / MIB
    out.unlink()
    value = ratio(runs, "ours", "qemu_img")
    figure("transfer", "sparse", "ours_to_qemu_img", value, "ratio", "> 1", value > 1)
    figure("transfer", "sparse", "target_allocated", round(allocated, 1), "MiB", f"<= {SPARSE_MIB // 4 + 16}", allocated <= SPARSE_MIB // 4 + 16)


def bench_four(folder: pathlib.Path) -> None:
    """Four disks at once against one after the other."""
    images = [folder / f"disk{number}.raw" for number in range(4)]
    for image in images:
        dense(image, DENSE_MIB // 4)
    with contextlib.ExitStack() as stack:
        uris = [stack.enter_context(served(folder, image, "raw")) for image in images]
        outs = [image.with_suffix(".out") for image in images]
        factors = []
        for number in range(ROUNDS):
            alone = sum(timed(ours(folder, uri, out))["seconds"] for uri, out in zip(uris, outs, strict=True))
            for out in outs:
                out.unlink()
            started = time.monotonic()
            running = [subprocess.Popen(ours(folder, uri, out), stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT / "collections")})
                       for uri, out in zip(uris, outs, strict=True)]
            codes = [process.wait() for process in running]
            together = time.monotonic() - started
            if any(codes):
                raise SystemExit(f"bench-transfer: four at once ended with {codes}")
            for out in outs:
                out.unlink()
            factors.append(alone / together)
            say(f"four round {number + 1}/{ROUNDS}: one by one {alone:.2f} s, at once {together:.2f} s")
    value = round(statistics.median(factors), 3)
    figure("transfer", "four_at_once", "aggregate_to_one", value, "ratio", ">= 1", value >= 1)


def main() -> None:
    """Make the images, run the cases, print the figures."""
    missing = [tool for tool in ("qemu-nbd", "qemu-img", "qemu-io", "nbdcopy") if not shutil.which(tool)]
    if missing:
        raise SystemExit(f"bench-transfer needs {', '.join(missing)} (Debian: qemu-utils, libnbd-bin)")
    with tempfile.TemporaryDirectory(prefix="bench-transfer-", dir=os.environ.get("BENCH_WORK")) as name:
        folder = pathlib.Path(name)
        tls, client, image = folder / "pki", folder / "client", folder / "dense.raw"
        pki.create(str(tls), ["127.0.0.1"])
        client.mkdir()
        for source, target in (("ca.crt", "ca-cert.pem"), ("tls.crt", "client-cert.pem"), ("tls.key", "client-key.pem")):
            shutil.copy(tls / "mover" / source, client / target)
        say(f"making a dense disk of {DENSE_MIB} MiB and a sparse one of {SPARSE_MIB} MiB in {folder}")
        dense(image, DENSE_MIB)
        os.link(image, folder / "tls.raw")
        bench_dense(folder, image, tls, client)
        with open(folder / "noise", "wb") as file:
            file.write(os.urandom(NOISE_MIB * MIB))
        sparse(folder / "sparse.qcow2", folder / "noise", SPARSE_MIB)
        bench_sparse(folder, folder / "sparse.qcow2")
        bench_four(folder)
        transfer_cluster.bench(folder, image, ROUNDS)


if __name__ == "__main__":
    main()
