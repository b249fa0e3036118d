# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault really happens, and ends in "resumed, identical" or in a refusal that names the reason."""
from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import threading
import time

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer import manifest, verify
from nbd_source import MIB, holds, needs_qemu, qemu_io, qemu_nbd, raw_bytes, server

pytestmark = needs_qemu
SLOW = ("--rate-bytes-per-second", 30 * MIB)
needs_nbdkit = pytest.mark.skipif(not shutil.which("nbdkit"), reason="nbdkit is not installed")


def sock(mover):
    return mover.folder / "source.sock"


def wait_for_records(mover, process, records):
    """Wait until the journal of a running mover holds its header and that many records more."""
    journal, deadline = mover.state / "vda.journal", time.monotonic() + 60
    while not (journal.exists() and journal.read_bytes().count(b"\n") > records):
        assert process.poll() is None and time.monotonic() < deadline, "the mover did not get that far"
        time.sleep(0.005)


def kill_while_running(mover, arguments, seconds, records=0):
    """Kill a mover some time after its journal holds that many records; returns whether it was still at work."""
    process = mover.start(*arguments)
    wait_for_records(mover, process, records)
    time.sleep(seconds)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return running


def test_kill_9_of_the_mover_at_20_moments(mover, image):
    """A full copy and a delta, killed again and again; the end is identical to the source."""
    rng, killed = random.Random(20), 0
    with qemu_nbd(image, sock(mover)):
        for _ in range(10):
            killed += kill_while_running(mover, mover.arguments("g0", *SLOW), rng.uniform(0, 0.25))
        result = mover.copy("g0")
    assert result["rc"] == 0
    assert killed >= 5, "the mover was not killed at work"
    assert result["resumed"] == "partly"
    assert holds(mover.target, raw_bytes(image))
    subprocess.run(["qemu-img", "bitmap", "--add", str(image), "b0"], check=True)
    qemu_io(image, "write -P 21 3M 20M", "write -z 35M 3M", "write -P 1 50M 6M")
    killed = 0
    delta = ("--mode", "delta", "--base", "g0", "--bitmap", "b0")
    with qemu_nbd(image, sock(mover), "-B", "b0"):
        for _ in range(10):
            killed += kill_while_running(mover, mover.arguments("g1", *delta, *SLOW), rng.uniform(0, 0.3))
        result = mover.copy("g1", *delta, "--verify", "--verify-source")
    assert result["rc"] == 0
    assert killed >= 5, "the mover was not killed at work"
    assert holds(mover.target, raw_bytes(image))


def test_kill_9_of_the_exporter_is_ridden_out_or_resumed(mover, image):
    process = None
    for kill in range(1, 4):
        with qemu_nbd(image, sock(mover)):
            process = process or mover.start(*mover.arguments("g0", "--rate-bytes-per-second", 4 * MIB, "--retry-seconds", "20"))
            wait_for_records(mover, process, kill)
        sock(mover).unlink(missing_ok=True)
        time.sleep(0.1)
    with qemu_nbd(image, sock(mover)):
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert '"event": "retry"' in out
    assert holds(mover.target, raw_bytes(image))


def test_an_exporter_that_stays_away_is_resumable(mover, image):
    with qemu_nbd(image, sock(mover)):
        process = mover.start(*mover.arguments("g0", "--rate-bytes-per-second", 5 * MIB, "--retry-seconds", "1"))
        wait_for_records(mover, process, 2)
    sock(mover).unlink(missing_ok=True)
    out, _err = process.communicate(timeout=30)
    assert process.returncode == 3 and "source_unavailable" in out
    with qemu_nbd(image, sock(mover)):
        result = mover.copy("g0")
    assert (result["rc"], result["resumed"]) == (0, "partly")
    assert holds(mover.target, raw_bytes(image))


def test_sigterm_ends_soon_and_resumes(mover, image):
    with qemu_nbd(image, sock(mover)):
        process = mover.start(*mover.arguments("g0", "--rate-bytes-per-second", 4 * MIB))
        wait_for_records(mover, process, 2)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        out, _err = process.communicate(timeout=20)
        assert time.monotonic() - started < 5
        assert process.returncode == 3 and '"reason": "interrupted"' in out
        result = mover.copy("g0")
    assert (result["rc"], result["resumed"]) == (0, "partly")
    assert result["copied_bytes"] + result["resumed_bytes"] == result["planned_bytes"]


def test_two_movers_at_once_the_second_is_refused(mover, image):
    with qemu_nbd(image, sock(mover)):
        first = mover.start(*mover.arguments("g0", "--rate-bytes-per-second", 1 * MIB))
        wait_for_records(mover, first, 0)
        second = mover.copy("g0")
        first.kill()
        first.communicate()
    assert (second["rc"], second["reason"]) == (3, "locked")


def test_the_limit_can_be_changed_while_it_runs(mover, image):
    (mover.folder / "rate").write_text(str(1 * MIB))
    with qemu_nbd(image, sock(mover)):
        process = mover.start(*mover.arguments("g0", "--rate-file", mover.folder / "rate"))
        time.sleep(3)
        assert process.poll() is None, "13 MiB at 1 MiB/s take longer than this"
        (mover.folder / "rate").write_text("0")
        out, _err = process.communicate(timeout=10)
    assert process.returncode == 0, out


def test_100_of_100_flipped_bits_are_found_in_data_and_in_holes(mover, image):
    rng = random.Random(100)
    with qemu_nbd(image, sock(mover)):
        mover.copy("g0")
    size, found = 64 * MIB + 512, 0
    expected, never = manifest.read(str(mover.state / "vda.manifest")), threading.Event()
    for number in range(100):
        position = size - 1 if number == 0 else rng.randrange(size)
        saved = _flip(mover.target, position, 1 << rng.randrange(8))
        comparison = verify.verify_target(str(mover.target), expected, 2, never)
        found += comparison.first_bad_offsets == [position // expected.chunk_bytes * expected.chunk_bytes]
        _put(mover.target, position, saved)
    assert found == 100
    _flip(mover.target, size // 2, 1)
    result = mover.verify()
    assert (result["rc"], result["reason"], result["bad_chunks"]) == (42, "damaged", 1)


def _flip(path, position, mask):
    with open(path, "r+b") as file:
        file.seek(position)
        saved = file.read(1)
        file.seek(position)
        file.write(bytes([saved[0] ^ mask]))
    return saved


def _put(path, position, content):
    with open(path, "r+b") as file:
        file.seek(position)
        file.write(content)


def test_a_target_that_fills_up_is_permanent_and_resumes_when_it_grew(mover, image):
    limit = 20 * MIB                    # RLIMIT_FSIZE stands in for a full volume: the write fails with an errno, mid copy
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with qemu_nbd(image, sock(mover)):
        mover.target.touch()
        os.truncate(mover.target, 64 * MIB + 512)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            process = mover.start(*mover.arguments("g0"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        out, _err = process.communicate(timeout=30)
        assert process.returncode == 42 and '"reason": "no_space"' in out
        result = mover.copy("g0", "--verify")
    assert result["rc"] == 0
    assert holds(mover.target, raw_bytes(image))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_volume_too_small_is_refused_before_a_byte_is_written(mover, image, tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(volume)], check=True)
    try:
        mover.target = volume
        with qemu_nbd(image, sock(mover)):
            result = mover.copy("g0")
        assert (result["rc"], result["reason"], result["copied_bytes"]) == (42, "no_space", 0)
    finally:
        subprocess.run(["umount", str(volume)], check=True)


@pytest.fixture
def device(tmp_path):
    """A loop device full of noise, larger than the disk."""
    (tmp_path / "device.raw").write_bytes(random.Random(1).randbytes(72 * MIB))
    found = subprocess.run(["losetup", "-f", "--show", str(tmp_path / "device.raw")], capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"no loop device: {found.stderr.strip()}")
    yield found.stdout.strip()
    subprocess.run(["losetup", "-d", found.stdout.strip()], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")
def test_a_block_device_full_of_noise_becomes_the_disk(mover, image, device, tmp_path):
    mover.target = device
    with qemu_nbd(image, sock(mover)):
        killed = kill_while_running(mover, mover.arguments("g0", *SLOW), 0.1)
        result = mover.copy("g0", "--verify", "--verify-source")
    assert killed and result["rc"] == 0
    content = raw_bytes(image)
    with open(device, "rb") as file:
        assert file.read(len(content)) == content
    subprocess.run(["qemu-img", "resize", "-q", str(image), "80M"], check=True)
    other = tmp_path / "other-state"
    other.mkdir()
    mover.state = other
    with qemu_nbd(image, sock(mover)):
        assert mover.copy("g0")["reason"] == "target_too_small"


def faulty(mover, raw, filters, *parameters):
    """Serve a raw file by nbdkit with fault filters."""
    return server(["nbdkit", "-f", "-r", "-U", str(sock(mover)), *[f"--filter={name}" for name in filters], "file", str(raw), *parameters],
                  sock(mover))


@pytest.fixture
def raw(mover, image):
    path = mover.folder / "source.raw"
    path.write_bytes(raw_bytes(image))
    mover.uri = mover.uri.replace("/vda?", "/?")
    return path


@needs_nbdkit
def test_read_errors_are_retried_and_counted(mover, raw):
    with faulty(mover, raw, ["error"], "error-pread=EIO", "error-pread-rate=30%"):
        results = [mover.copy("g0", "--threads", "1")]
        while results[-1]["rc"] == 3 and len(results) < 10:
            results.append(mover.copy("g0", "--threads", "1"))
    assert sum(result["source_errors"] for result in results) > 0, "the fault did not fire"
    assert results[-1]["rc"] == 0
    assert holds(mover.target, raw.read_bytes())


@needs_nbdkit
def test_a_bad_spot_ends_as_resumable_with_the_place_and_everything_else_copied(mover, raw):
    trigger = mover.folder / "broken"
    trigger.touch()
    with faulty(mover, raw, ["error"], "error-pread=EIO", "error-pread-rate=100%", f"error-pread-file={trigger}"):
        result = mover.copy("g0", "--threads", "2")
        assert (result["rc"], result["reason"]) == (3, "source_error")
        assert "Input/output error at" in result["message"]
        assert result["source_errors"] >= 5
        trigger.unlink()
        assert mover.copy("g0", "--verify-source")["rc"] == 0
    assert holds(mover.target, raw.read_bytes())


def test_a_stalled_source_times_out_and_resumes(mover, image):
    """The server is stopped amid a copy (nbdkit 1.32's delay filter would die when the mover hangs up)."""
    with qemu_nbd(image, sock(mover)) as source:
        process = mover.start(*mover.arguments("g0", "--timeout-seconds", "1", "--rate-bytes-per-second", 10 * MIB))
        wait_for_records(mover, process, 1)
        source.send_signal(signal.SIGSTOP)
        result = mover.finish(process)
        assert (result["rc"], result["reason"]) == (3, "source_unavailable")
        assert result["source_errors"] > 0 and "no answer within 1 s" in result["message"]
        source.send_signal(signal.SIGCONT)
        again = mover.copy("g0")
        assert (again["rc"], again["resumed"]) == (0, "partly")
    assert holds(mover.target, raw_bytes(image))


def test_a_resized_source_is_noticed_by_a_delta(mover, image):
    with qemu_nbd(image, sock(mover)):
        mover.copy("g0")
    subprocess.run(["qemu-img", "resize", "-q", str(image), "80M"], check=True)
    subprocess.run(["qemu-img", "bitmap", "--add", str(image), "b0"], check=True)
    with qemu_nbd(image, sock(mover), "-B", "b0"):
        result = mover.copy("g1", "--mode", "delta", "--base", "g0", "--bitmap", "b0")
        assert (result["rc"], result["reason"]) == (42, "size_changed")
        assert mover.copy("g1", "--mode", "compare", "--verify")["rc"] == 0
    assert holds(mover.target, raw_bytes(image))


def test_a_delta_whose_backup_died_is_superseded_by_the_next(mover, image):
    delta = ("--mode", "delta", "--base", "g0", "--bitmap", "b0")
    with qemu_nbd(image, sock(mover)):
        mover.copy("g0")
    subprocess.run(["qemu-img", "bitmap", "--add", str(image), "b0"], check=True)
    qemu_io(image, "write -P 21 3M 20M")
    with qemu_nbd(image, sock(mover), "-B", "b0"):
        assert kill_while_running(mover, mover.arguments("g1", *delta, "--rate-bytes-per-second", 5 * MIB), 0, records=1)
    qemu_io(image, "write -P 22 10M 20M")
    with qemu_nbd(image, sock(mover), "-B", "b0"):
        assert mover.copy("g2", *delta)["reason"] == "other_generation"
        assert mover.copy("g0")["reason"] == "other_generation", "the target is no longer at g0"
        assert mover.copy("g2", *delta, "--supersede", "--verify-source", "--verify")["rc"] == 0
    assert holds(mover.target, raw_bytes(image))


def test_compare_after_an_interrupted_delta_trusts_the_target_only(mover, image):
    with qemu_nbd(image, sock(mover)):
        mover.copy("g0")
    subprocess.run(["qemu-img", "bitmap", "--add", str(image), "b0"], check=True)
    before = raw_bytes(image)
    qemu_io(image, "write -P 21 3M 20M")
    with qemu_nbd(image, sock(mover), "-B", "b0"):
        slow = ("--mode", "delta", "--base", "g0", "--bitmap", "b0", "--rate-bytes-per-second", 5 * MIB)
        assert kill_while_running(mover, mover.arguments("g1", *slow), 0, records=1)
    assert not holds(mover.target, before)
    qemu_io(image, f"write -s {_part(mover, before)} 3M 20M")
    with qemu_nbd(image, sock(mover)):
        result = mover.copy("g2", "--mode", "compare", "--verify", "--verify-source")
    assert result["rc"] == 0 and result["written_bytes"] > 0
    assert holds(mover.target, before)


def _part(mover, content):
    path = mover.folder / "part"
    path.write_bytes(content[3 * MIB:23 * MIB])
    return path
