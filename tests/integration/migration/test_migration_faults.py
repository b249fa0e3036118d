# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults around a whole migration; each ends in "resumed, identical" or in "source running, nothing lost"."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
from migration_case import MIB, RUN_SECONDS, SIZES, check_finished

pytestmark = [pytest.mark.root, pytest.mark.control_plane]
AWAY_SECONDS = 60


@pytest.fixture
def copied(case):
    """A case whose VM was copied while it runs, and waits for its cutover."""
    hour = time.gmtime().tm_hour
    case.settings(windows=[{"start": f"{(hour + 8) % 24:02d}:00", "until": f"{(hour + 9) % 24:02d}:00"}])
    assert case.start().wait(timeout=RUN_SECONDS) == 0, case.log()
    assert case.victim.domain.isActive()
    case.settings(windows=[])
    return case


def source_goes_on(case):
    """Nothing was lost: the VM runs at its source with all that it wrote, and nothing of it runs on the cluster."""
    assert case.victim.domain.isActive()
    assert "tandem-fence" not in case.victim.domain.XMLDesc(2)
    assert case.lab.objects("-n", case.namespace, "vmi") == []
    written = case.victim.writes
    deadline = time.monotonic() + 30
    while case.victim.writes == written:
        assert time.monotonic() < deadline, "the guest's disks are not written to any more"
        time.sleep(0.1)


def test_the_api_server_is_away_for_a_minute(case, control_plane):
    from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import Processes

    layout = control_plane.layout
    server = Processes(layout.run, layout.logs).pid("kube-apiserver")
    case.settings(rate_bytes_per_second=MIB)
    process = case.start()
    case.await_phase("copy", process)
    os.kill(server, signal.SIGSTOP)
    try:
        time.sleep(AWAY_SECONDS)
    finally:
        os.kill(server, signal.SIGCONT)
    assert process.wait(timeout=RUN_SECONDS) != 0, "a run that could not renew its lease in its time has to stop: another may have begun"
    assert case.victim.domain.isActive()
    case.settings(rate_bytes_per_second=0)
    assert case.start().wait(timeout=RUN_SECONDS) == 0, case.log()
    check_finished(case)


def test_a_target_node_that_dies_amid_the_cutover_gives_the_machine_back(case, node):
    """Its VM is off at that moment and must not wait for the node: it runs at its source again within about a minute."""
    case.settings(rate_bytes_per_second=8 * MIB, rollback_on_failure=True)
    process = case.start()
    case.await_phase("final", process)
    with node.dead():
        assert process.wait(timeout=RUN_SECONDS) != 0
        assert "its node lab-1 is not ready" in case.log()
        case.victim.write_on()
        source_goes_on(case)
    case.settings(rate_bytes_per_second=0)
    assert case.start().wait(timeout=RUN_SECONDS) == 0, case.log()
    check_finished(case)


def test_a_source_started_by_hand_in_mid_cutover_is_noticed_and_keeps_the_machine(case):
    """Its fence refuses every usual start; here somebody takes the fence off as well. The target must not start beside it."""
    from xml.etree import ElementTree

    import libvirt

    case.settings(rate_bytes_per_second=8 * MIB, rollback_on_failure=True)
    process = case.start()
    case.await_phase("final", process)
    with pytest.raises(libvirt.libvirtError, match="tandem-fence/moved-to-"):
        case.victim.domain.create()
    fence = ElementTree.fromstring(case.victim.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)).find("devices/disk/target[@dev='vdzz']/..")
    case.victim.domain.detachDeviceFlags(ElementTree.tostring(fence, "unicode"), libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    assert process.wait(timeout=RUN_SECONDS) != 0
    assert "its fence was taken off since it was stopped" in case.log()
    case.victim.write_on()
    source_goes_on(case)


def test_a_disk_that_was_resized_is_told_and_the_source_goes_on(copied):
    copied.victim.domain.blockResize("vdb", 32 * MIB, 1)
    assert copied.start().wait(timeout=RUN_SECONDS) != 0
    assert f"disk vdb has {32 * MIB} bytes at the source, the estate says {16 * MIB}; run the assessment again" in copied.log()
    source_goes_on(copied)


@pytest.mark.parametrize("again", [True, False], ids=["started again", "left off"])
def test_after_a_kill_of_qemu_every_byte_is_compared(copied, again):
    """Its bitmaps die with it, though libvirt goes on listing their checkpoint; then it is started by hand, or not."""
    victim = copied.victim
    (pid,) = victim.process("qemu-system", victim.uuid)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while victim.domain.isActive():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    if again:
        victim.domain.create()
        victim.write_on()
    assert copied.start().wait(timeout=RUN_SECONDS) == 0, copied.log()
    assert "every byte is read again and compared" in copied.progress.read_text()
    check_finished(copied)


def test_after_a_snapshot_of_another_tool_every_byte_is_compared(copied, tmp_path):
    """An external snapshot moves the writes to an overlay that no bitmap of ours covers."""
    import libvirt

    victim = copied.victim
    overlays = {target: tmp_path / f"{victim.name}-{target}.overlay" for target in SIZES}
    disks = "".join(f"<disk name='{target}' snapshot='external'><source file='{file}'/></disk>" for target, file in overlays.items())
    victim.domain.snapshotCreateXML(f"<domainsnapshot><name>foreign</name><disks>{disks}</disks></domainsnapshot>",
                                    libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC)
    for _ in range(10):
        victim.write()
    victim.files = overlays
    assert copied.start().wait(timeout=RUN_SECONDS) == 0, copied.log()
    assert "every byte is read again and compared" in copied.progress.read_text()
    check_finished(copied)
    for file in overlays.values():
        chain = json.loads(subprocess.run(["qemu-img", "info", "-U", "--backing-chain", "--output=json", file], check=True, capture_output=True).stdout)
        assert not [bitmap for layer in chain for bitmap in layer["format-specific"]["data"].get("bitmaps", [])], "a bitmap of ours was left"
