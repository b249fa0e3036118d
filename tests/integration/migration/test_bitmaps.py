# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dirty bitmaps after the end of QEMU: kept when it closed the disks, lost when it was killed; libvirt lists the checkpoint in both cases."""
from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import threading
import time

import pytest
from migration_case import SIZES, Victim

pytestmark = pytest.mark.root
POINT = "tandem-0-a"


@pytest.fixture
def victim(source, tmp_path):
    from ansible_collections.tandem.hybrid.plugins.module_utils.transfer import pki

    pki.create(str(tmp_path / "pki"), [source["address"]])
    shutil.copytree(tmp_path / "pki" / "exporter", source["certificates"], dirs_exist_ok=True)
    victim = Victim(source, tmp_path)
    yield victim
    victim.remove()
    shutil.rmtree(source["certificates"])
    pathlib.Path(source["certificates"]).mkdir(mode=0o700)


@pytest.fixture
def machine(victim, source, six_ports, tmp_path):
    """The victim as a source, with a checkpoint from which its changes are recorded."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.migration.hypervisor import Host
    from ansible_collections.tandem.hybrid.plugins.module_utils.migration.source_libvirt import LibvirtSource, connect

    machine = LibvirtSource(connect(source["uri"]), victim.uuid, victim.name, Host(""), str(tmp_path))
    machine.ports, machine.folder = six_ports, str(tmp_path)
    begin(machine, POINT, "")
    machine.end_backup()
    return machine


def begin(machine, checkpoint, previous):
    machine.begin_backup(checkpoint, previous, "127.0.0.1", machine.ports, list(SIZES))


def off(victim, end):
    end()
    deadline = time.monotonic() + 30
    while victim.domain.isActive():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill(victim):
    (pid,) = victim.process("qemu-system", victim.uuid)
    off(victim, lambda: os.kill(pid, signal.SIGKILL))


def stop(victim):
    off(victim, victim.domain.destroy)


def test_bitmaps_outlive_an_orderly_end(victim, machine):
    assert machine.knows(POINT) and machine.only_checkpoint_is(POINT)
    stop(victim)
    assert machine.knows(POINT) and machine.only_checkpoint_is(POINT)
    victim.domain.create()
    assert machine.knows(POINT)
    begin(machine, "tandem-1-b", POINT)
    machine.end_backup()
    assert machine.knows(POINT) and not machine.only_checkpoint_is(POINT)


@pytest.mark.parametrize("written_down", [False, True], ids=["never written down", "written down before"])
def test_bitmaps_of_a_killed_qemu_are_known_to_be_lost(victim, machine, written_down):
    """Also where an earlier QEMU left them in the disks: what the killed one wrote is not in them."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import SourceChanged

    if written_down:
        stop(victim)
        victim.domain.create()
        assert machine.knows(POINT)
    kill(victim)
    assert [item.getName() for item in victim.domain.listAllCheckpoints()] == [POINT]
    assert not machine.knows(POINT) and not machine.only_checkpoint_is(POINT)
    victim.domain.create()
    assert not machine.knows(POINT) and not machine.only_checkpoint_is(POINT)
    with pytest.raises(SourceChanged):
        begin(machine, "tandem-1-b", POINT)
    begin(machine, "tandem-2-c", "")
    machine.end_backup()
    machine.drop_checkpoints(keep="tandem-2-c")
    assert machine.only_checkpoint_is("tandem-2-c")
    stop(victim)
    assert machine.only_checkpoint_is("tandem-2-c")
    machine.clean()
    assert victim.domain.listAllCheckpoints() == []


def test_qemu_outlives_questions_while_a_backup_begins(victim, machine, source):
    """QEMU 7.2 crashes when it is asked about its disks while it creates a qcow2 file itself: monitoring does that all the time."""
    import libvirt

    ended = threading.Event()

    def ask():
        connection = libvirt.open(source["uri"])
        domain = connection.lookupByUUIDString(victim.uuid)
        while not ended.is_set():
            with contextlib.suppress(libvirt.libvirtError):
                domain.blockInfo("vda")
        connection.close()

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    try:
        for number in range(60):
            begin(machine, f"tandem-{number}", "")
            machine.end_backup()
            machine.drop_checkpoints()
            assert victim.domain.isActive()
    finally:
        ended.set()
        for asker in askers:
            asker.join()


def scratch_files(machine):
    return list(pathlib.Path(machine.folder).glob("tandem-*"))


def test_what_a_backup_needs_beside_the_disks_is_removed_with_it(victim, machine):
    begin(machine, "tandem-1-b", POINT)
    assert len(scratch_files(machine)) == len(SIZES)
    machine.end_backup()
    assert not scratch_files(machine)
    begin(machine, "tandem-1-c", POINT)
    kill(victim)  # nobody ends that backup
    machine.clean()
    assert not scratch_files(machine)
