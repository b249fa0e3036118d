# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the mover: copy, verify, manifest, export. Exit codes: 0 complete, 3 run again, 42 permanent, 2 usage."""
from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import resource
import signal
import sys
import threading
import time

from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.look import look
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.rules import LINUX

from . import checks, copy, exporter, job, manifest, verify
from .connection import Endpoint
from .disk_journal import COMPARE, DELTA, FULL, DiskState
from .errors import EXIT_COMPLETE, TransferError
from .nbd import ALLOCATION
from .progress import say
from .pull import Limit
from .target import Target

TERMINATION_LOG = "/dev/termination-log"        # Kubernetes' default termination message path
MAX_MESSAGE = 1500                              # the termination message is cut at 4096 bytes


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_unused: stopped.set())     # pid 1 has no default handler
    started, values = time.monotonic(), {}
    try:
        options.run(options, stopped, values)
        code, reason, message = EXIT_COMPLETE, "", ""
    except TransferError as error:
        code, reason, message = error.exit_code, error.reason, str(error)
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    result = {"event": "result", "command": options.command, "rc": code, "reason": reason, "message": message[:MAX_MESSAGE], **values,
              "wall_seconds": round(time.monotonic() - started, 2),
              "cpu_seconds": round(sum(part.ru_utime + part.ru_stime for part in usage), 2),
              "peak_memory_bytes": usage[0].ru_maxrss * 1024}
    _report(result, options.result)
    return code


def _report(result: dict, path: str) -> None:
    text = json.dumps(result)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    if path or os.path.exists(TERMINATION_LOG):
        with open(path or TERMINATION_LOG, "w", encoding="ascii") as file:
            file.write(text)


def _copy(options: argparse.Namespace, stopped: threading.Event, values: dict) -> None:
    endpoint = _endpoint(options)
    todo = job.CopyJob(
        endpoint, options.target, options.state, options.disk, options.source_id, options.generation, options.mode, options.base,
        options.bitmap, options.supersede, options.size_bytes, options.threads, options.wait_seconds, options.retry_seconds, _limit(options))
    result = job.CopyResult()
    values.update(disk=options.disk, generation=options.generation, mode=options.mode)
    try:
        done = copy.copy(todo, stopped, result)
    finally:
        values.update(dataclasses.asdict(result))
    started = time.monotonic()
    if options.verify:
        _check("the target", verify.verify_target(options.target, done, options.threads, stopped, options.disk), "target", values)
    if options.verify_source:
        _check("the source", _verify_source(options, done, stopped), "source", values)
    values["verify_seconds"] = round(time.monotonic() - started, 2)
    if options.fitness:
        values["fitness"] = _fitness(options.target, options.fitness, done.size_bytes)


def _fitness(path: str, bus: str, size_bytes: int) -> dict:
    """Look whether the guest on a disk boots from the bus that it gets."""
    target, started = Target(path, size_bytes, writable=False), time.monotonic()
    try:
        found = look(target.read, size_bytes, bus)
    finally:
        target.close()
    return {**dataclasses.asdict(found), "seconds": round(time.monotonic() - started, 2)}


def _verify(options: argparse.Namespace, stopped: threading.Event, values: dict) -> None:
    path = options.manifest or DiskState(options.state, options.disk).manifest_path
    found = manifest.read(path)
    if found is None:
        raise TransferError("manifest_missing", f"{path}: no manifest")
    values.update(disk=options.disk, generation=found.generation, size_bytes=found.size_bytes, root=found.root)
    if options.expect_root and options.expect_root != found.root:
        raise TransferError("manifest_damaged", f"{path} has the root {found.root}, expected {options.expect_root}")
    _check("the target", verify.verify_target(options.target, found, options.threads, stopped, options.disk), "target", values)
    if options.source:
        _check("the source", _verify_source(options, found, stopped), "source", values)


def _verify_source(options: argparse.Namespace, found: manifest.Manifest, stopped: threading.Event) -> verify.Comparison:
    endpoint = _endpoint(options)
    return verify.verify_source(endpoint, found, options.threads, options.retry_seconds, stopped,
                                lambda: checks.connect(endpoint, [ALLOCATION], options.wait_seconds, stopped), _limit(options), options.disk)


def _check(what: str, comparison: verify.Comparison, key: str, values: dict) -> None:
    values[f"{key}_read_bytes"] = comparison.read_bytes
    values["bad_chunks"] = comparison.bad_chunks
    values["first_bad_offsets"] = comparison.first_bad_offsets
    verify.require_equal(what, comparison)


def _manifest(options: argparse.Namespace, stopped: threading.Event, values: dict) -> None:
    made = verify.make_manifest(options.target, options.source_id, options.generation, options.threads, stopped)
    manifest.write(options.output, made)
    values.update(generation=made.generation, size_bytes=made.size_bytes, chunk_bytes=made.chunk_bytes, root=made.root)


def _export(options: argparse.Namespace, stopped: threading.Event, _values: dict) -> None:
    export = exporter.Export(options.image, options.format, options.name, options.bind, options.port, options.socket, options.tls,
                             options.client_cn, options.bitmap, options.member)
    if options.pid_file:
        pathlib.Path(options.pid_file).write_text(f"{os.getpid()}\n", encoding="ascii")
    exporter.supervise(export, stopped, options.ready_seconds, say)


def _endpoint(options: argparse.Namespace) -> Endpoint:
    return Endpoint(options.source, options.tls, options.tls_hostname, options.timeout_seconds)


def _limit(options: argparse.Namespace) -> Limit:
    return Limit(options.rate_bytes_per_second, options.rate_file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mover", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("copy", help="copy one generation of a disk")
    _source_options(run, required=True)
    for name in ("target", "state", "disk", "source-id", "generation"):
        run.add_argument(f"--{name}", required=True)
    run.add_argument("--mode", choices=(FULL, DELTA, COMPARE), default=FULL)
    run.add_argument("--base", default="", help="generation that a delta builds on")
    run.add_argument("--bitmap", default="", help="dirty bitmap of a delta")
    run.add_argument("--size-bytes", type=int, default=0, help="expected size")
    run.add_argument("--fitness", choices=sorted(LINUX), default="", help="look whether the guest boots from this bus")
    for name in ("supersede", "verify", "verify-source"):
        run.add_argument(f"--{name}", action="store_true")
    run.set_defaults(run=_copy)
    run = commands.add_parser("verify", help="reread a disk and compare it with its manifest")
    _source_options(run, required=False)
    run.add_argument("--target", required=True)
    for name in ("state", "disk", "manifest", "expect-root"):
        run.add_argument(f"--{name}", default="")
    run.set_defaults(run=_verify)
    run = commands.add_parser("manifest", help="hash an existing disk into a manifest")
    for name in ("target", "output", "source-id", "generation"):
        run.add_argument(f"--{name}", required=True)
    run.set_defaults(run=_manifest)
    run = commands.add_parser("export", help="serve a stopped disk until SIGTERM")
    for name in ("image", "format", "name"):
        run.add_argument(f"--{name}", required=True)
    for name in ("socket", "tls", "bitmap", "member", "pid-file"):
        run.add_argument(f"--{name}", default="")
    run.add_argument("--bind", default="127.0.0.1")
    run.add_argument("--port", type=int, default=10809)
    run.add_argument("--client-cn", default="mover", help="common name that the mover's certificate must have")
    run.add_argument("--ready-seconds", type=float, default=10.0)
    run.set_defaults(run=_export)
    for command in commands.choices.values():
        command.add_argument("--threads", type=int, choices=range(1, 17), default=8, metavar="1..16")
        command.add_argument("--result", default="", help="file for the result; default the termination message")
    return parser


def _source_options(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument("--source", required=required, default="", help="nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH")
    for name in ("tls", "tls-hostname", "rate-file"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--rate-bytes-per-second", type=int, default=0)
    for name, default in (("wait-seconds", 0.0), ("retry-seconds", 60.0), ("timeout-seconds", 20.0)):
        parser.add_argument(f"--{name}", type=float, default=default)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)                              # a connection that still waits for a dead exporter must not delay the end
