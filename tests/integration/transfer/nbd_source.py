# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A qcow2 source disk behind a real qemu-nbd, and the mover as a process of its own."""
from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
MODULE = "ansible_collections.tandem.hybrid.plugins.module_utils.transfer.cli"
MIB = 1 << 20
needs_qemu = pytest.mark.skipif(not (shutil.which("qemu-nbd") and shutil.which("qemu-io")), reason="qemu-utils is not installed")


class Mover:
    """Runs the command line; `uri` is where the source is."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder, self.state, self.target = folder, folder / "state", folder / "disk.img"
        self.state.mkdir()
        self.uri = f"nbd+unix:///vda?socket={folder}/source.sock"

    def start(self, *arguments: str) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "collections"), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen([sys.executable, "-m", MODULE, *map(str, arguments), "--result", str(self.folder / "result.json")],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    def run(self, *arguments: str) -> dict:
        return self.finish(self.start(*arguments))

    def finish(self, process: subprocess.Popen) -> dict:
        """Wait for the end of a mover; its result."""
        out, err = process.communicate(timeout=120)
        assert out, err
        result = json.loads(out.splitlines()[-1])
        assert result["rc"] == process.returncode, err
        assert json.loads((self.folder / "result.json").read_text()) == result
        return result

    def arguments(self, generation: str, *more: str) -> list[str]:
        return ["copy", "--source", self.uri, "--target", str(self.target), "--state", str(self.state), "--disk", "vda",
                "--source-id", "libvirt:h/u/vda", "--generation", generation, "--retry-seconds", "3", *map(str, more)]

    def copy(self, generation: str, *more: str) -> dict:
        return self.run(*self.arguments(generation, *more))

    def verify(self, *more: str) -> dict:
        return self.run("verify", "--target", self.target, "--state", self.state, "--disk", "vda", *more)


@contextlib.contextmanager
def server(command: list[str], socket: pathlib.Path):
    """Run an NBD server until the end of the block."""
    socket.unlink(missing_ok=True)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 20
        while not socket.exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


def qemu_nbd(image: pathlib.Path, socket: pathlib.Path, *more: str):
    """Serve an image read-only as export `vda`."""
    return server(["qemu-nbd", "-r", "-t", "-e", "16", "-f", "qcow2", "-k", str(socket), "-x", "vda", *more, str(image)], socket)


def qemu_io(image: pathlib.Path, *commands: str) -> None:
    """Write to an image."""
    subprocess.run(["qemu-io", "-f", "qcow2", str(image)], input="\n".join(commands), check=True, capture_output=True, text=True)


def raw_bytes(image: pathlib.Path) -> bytes:
    """Return the content of an image as the guest sees it."""
    raw = image.with_suffix(".compare")
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(image), str(raw)], check=True)
    content = raw.read_bytes()
    raw.unlink()
    return content


def holds(path: pathlib.Path, content: bytes) -> bool:
    """Tell whether a file holds exactly that; a plain `==` would make pytest print the difference, which takes minutes."""
    return path.read_bytes() == content
