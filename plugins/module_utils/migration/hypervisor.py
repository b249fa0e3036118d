# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands on the machine that holds the disks: this one, or the one of a qemu+ssh:// URI by ssh."""
from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer import exporter
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.exporter import Export

# qemu-nbd is started again when it dies, and ends with standard input: when this process, or its ssh connection, is gone. It ends with its
# supervisor too where setpriv (util-linux) is: a kill -9 would else leave the port taken, and an old moment of the disk behind it.
_SUPERVISE = """p=; setpriv --pdeathsig KILL true 2>/dev/null && p='setpriv --pdeathsig KILL'
exec 3<&0; trap 'kill $n $w; wait $n; exit' TERM; $p sh -c 'read -r _; kill $1' sh $$ <&3 & w=$!
while :; do $p "$@" </dev/null 3<&- & n=$!; wait $n; echo "died: $?" >&2; sleep 0.2; done"""
# Every process that mentions qemu-nbd, one a line: its pid and its arguments, a unit separator after each.
_LIST = """grep -la qemu-nbd /proc/[0-9]*/cmdline 2>/dev/null | while IFS=/ read -r _ _ p _; do
a=$(tr '\\0\\n' '\\037 ' 2>/dev/null </proc/$p/cmdline) && printf '%s\\037%s\\n' "$p" "$a"; done; :"""
_INFO = 'for f; do qemu-img info --output=json "$f" || exit; done'
_CREATE = 'umask 077; while [ $# -gt 0 ]; do qemu-img create -q -f qcow2 "$1" "$2" && chown --reference="$3" "$1" || exit; shift 3; done'
_EARLY_DEATHS = 10
_END_SECONDS = 10.0
_LIBVIRT = ("qemu", "xen", "test", "bhyve", "lxc", "ch")


class Host:
    """The hypervisor of a libvirt URI; an empty one is this machine."""

    def __init__(self, uri: str):
        parts = urlsplit(uri)
        scheme, _plus, transport = parts.scheme.partition("+")
        self.name = parts.hostname or "localhost"
        self._prefix: list[str] = []
        if transport == "ssh":
            port = ["-p", str(parts.port)] if parts.port else []
            self._prefix = ["ssh", "-o", "BatchMode=yes", *port, f"{parts.username}@{parts.hostname}" if parts.username else self.name, "--"]
        elif scheme and transport not in ("", "unix"):
            raise MigrationError(f"{uri}: disks are exported on the hypervisor by ssh; expected qemu+ssh://HOST/system or a local URI")

    @staticmethod
    def is_libvirt(uri: str) -> bool:
        """Whether the text is a libvirt URI, as opposed to a file."""
        return "://" in uri and urlsplit(uri).scheme.partition("+")[0] in _LIBVIRT

    def run(self, argv: list[str], text: str = "") -> str:
        """Run a command there with `text` as its input; raises MigrationError with its last line of complaint."""
        done = subprocess.run(self._command(argv), input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            complaint = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise MigrationError(f"{self.name}: {argv[0]} failed ({done.returncode}): {complaint}")
        return done.stdout

    def must_exist(self, path: str) -> None:
        """Raise MigrationError unless the file can be read there."""
        try:
            self.run(["test", "-r", path])
        except MigrationError:
            raise MigrationError(f"{path}: can't be read on {self.name}") from None

    def write(self, path: str, text: str) -> None:
        """Write a private file there, by rename."""
        self.run(["sh", "-c", 'umask 077; mkdir -p "$(dirname "$1")"; cat >"$1.new"; mv "$1.new" "$1"', "sh", path], text)

    def create_images(self, images: list[tuple[str, int, str]]) -> None:
        """Create empty, private qcow2 files there; of each the path, the size in bytes, and a file that has the owner it shall have."""
        self.run(["sh", "-c", _CREATE, "sh", *(str(word) for image in images for word in image)])

    def remove_files(self, prefix: str) -> None:
        """Remove the files there whose paths begin so; none is fine."""
        self.run(["sh", "-c", 'rm -f "$1"*', "sh", prefix])

    def remove_bitmaps(self, path: str, prefix: str) -> list[str]:
        """Remove the bitmaps with our prefix from a qcow2 file that nothing has open, and from what it is based on; returns their names."""
        names = []
        for info in json.loads(self.run(["qemu-img", "info", "--output=json", "--backing-chain", path])):
            bitmaps = info.get("format-specific", {}).get("data", {}).get("bitmaps", [])
            found = [item["name"] for item in bitmaps if item["name"].startswith(prefix)]
            for name in found:
                self.run(["qemu-img", "bitmap", "--remove", info["filename"], name])
            names += found
        return names

    def hold_bitmap(self, paths: list[str], name: str) -> bool:
        """Whether each of the disks, which nothing has open, holds this bitmap, written down by a QEMU that closed it in order."""
        text = self.run(["sh", "-c", _INFO, "sh", *paths])
        infos = [json.loads(one + "\n}") for one in text.split("\n}")[:-1]]  # a closing brace in the first column ends each
        bitmaps = [info.get("format-specific", {}).get("data", {}).get("bitmaps", []) for info in infos]
        return all(any(item["name"] == name and "in-use" not in item["flags"] for item in found) for found in bitmaps)

    @contextmanager
    def exporters(self, exports: list[Export]) -> Iterator[Callable[[], None]]:
        """Serve the exports as long as the context lasts, each supervised; yields a check that raises when one of them can't be served."""
        self.end_orphans(exports)
        served = [_Served(self, export) for export in exports]
        try:
            yield lambda: [one.check() for one in served]
        finally:
            for one in served:
                one.let_go()
            for one in served:
                one.end()

    def end_orphans(self, exports: list[Export]) -> None:
        """End what an earlier run left serving these very disks at these very ports; whatever else is there is not touched."""
        ours, deadline = [_identity(exporter.command(export)) for export in exports], time.monotonic() + _END_SECONDS
        while pids := [pid for pid, command in self._exporting() if _identity(command) in ours]:
            if time.monotonic() > deadline:
                raise MigrationError(f"{self.name}: the exporter of an earlier run, process {pids[0]}, does not end")
            self.run(["sh", "-c", 'kill -9 "$@" 2>/dev/null; sleep 0.1', "sh", *pids])

    def holder(self, export: Export) -> str:
        """What is known of who else has the port of an export, in words."""
        ours = _identity(exporter.command(export))
        return next((f"process {pid}, which exports {command[-1]}" for pid, command in self._exporting()
                     if f"--port={export.port}" in command and _identity(command) != ours), "another program")

    def _exporting(self) -> Iterator[tuple[str, list[str]]]:
        """Pid and command of each qemu-nbd there, and of the supervisors, from qemu-nbd on."""
        for line in self.run(["sh", "-c", _LIST]).splitlines():
            pid, *words = line.rstrip("\x1f").split("\x1f")
            if "qemu-nbd" in words:
                yield pid, words[words.index("qemu-nbd"):]

    def popen(self, argv: list[str], words) -> subprocess.Popen:
        """Start a command there that lives as long as its standard input; its complaints go to the file `words`."""
        return subprocess.Popen(self._command(argv), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=words)

    def _command(self, argv: list[str]) -> list[str]:
        return [*self._prefix, shlex.join(argv)] if self._prefix else argv


def _identity(command: list[str]) -> list[str]:
    """The part of qemu-nbd's command that is the same for every generation of one disk: port, address, certificates, file."""
    return [word for word in command if not word.startswith(("--export-name=", "--bitmap="))]


class _Served:
    """One export and its supervisor."""

    def __init__(self, host: Host, export: Export):
        self._host, self._export = host, export
        self._words = tempfile.TemporaryFile("a+")  # noqa: SIM115 - closed by end(); appended to, as reading moves the place that they share
        self._start()

    def _start(self) -> None:
        self._process = self._host.popen(["sh", "-c", _SUPERVISE, "sh", *exporter.command(self._export)], self._words)

    def check(self) -> None:
        """Start a supervisor that was killed again; raises MigrationError when the disk can't be served."""
        if self._process.poll() is not None:
            self._words.write(f"died: the supervisor with {self._process.returncode}\n")
            self._words.flush()
            self.let_go()
            self._host.end_orphans([self._export])
            self._start()
        self._words.seek(0)
        lines = [line.strip() for line in self._words if line.strip()]
        if sum(line.startswith("died:") for line in lines) < _EARLY_DEATHS:
            return
        last = next((line for line in reversed(lines) if not line.startswith("died:")), lines[-1])
        if "Address already in use" in last:
            raise MigrationError(f"{self._host.name}: port {self._export.port} is taken by {self._host.holder(self._export)}; end it, or choose"
                                 " another exporter_port")
        raise MigrationError(f"{self._host.name}: {self._export.image} can't be exported: {last}")

    def let_go(self) -> None:
        """Tell the supervisor to end."""
        self._process.stdin.close()

    def end(self) -> None:
        """Wait until nothing serves the disk any more."""
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:  # the connection hangs, or somebody killed what waits for the end of the input
            self._process.kill()
            self._process.wait()
        self._words.close()
