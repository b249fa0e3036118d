# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill something -9 in a phase of a migration, try to start what is fenced, run twice at once: nothing may be lost, nothing may run twice.

The VM is a domain without an operating system whose disks are written to through its running QEMU, so a case takes seconds. The whole
matrix of kills runs on a control plane with a stand-in node (tests/integration/migration); these few show that real nodes and KubeVirt
make no difference.
"""
from __future__ import annotations

import json
import time

import pytest
from migration_case import Case, check_finished, kill_and_finish

pytestmark = [pytest.mark.lab, pytest.mark.root]
QUICK = [("copy", "playbook", 0.7), ("delta", "module", 0.7), ("quiesce", "playbook", 0.7), ("final", "exporter", 0.3), ("final", "mover", 1.0),
         ("cutover", "playbook", 0.7), ("copy", "qemu", 0.5)]


@pytest.fixture(scope="session")
def source(standing):
    """The lab's libvirt: uri, address, certificates."""
    return json.loads((standing.kubeconfig.parent.parent / "source.json").read_text())


@pytest.fixture
def case(lab, source, tmp_path):
    case = Case(lab, source, tmp_path)
    yield case
    case.remove()


@pytest.mark.parametrize(("phase", "victim", "delay"), QUICK)
def test_a_killed_migration_is_finished_by_the_next_run(case, phase, victim, delay):
    kill_and_finish(case, phase, victim, delay)


def test_a_fenced_target_waits_for_its_window_and_is_not_started_by_any_route(case):
    hour = time.gmtime().tm_hour
    case.settings(windows=[{"start": f"{(hour + 8) % 24:02d}:00", "until": f"{(hour + 9) % 24:02d}:00"}])
    assert case.start().wait(timeout=300) == 0, case.log()
    assert case.victim.domain.isActive(), "a VM that waits for its window goes on running"
    name = case.victim.name
    for patch in ('{"spec":{"runStrategy":"Always"}}', '{"spec":{"runStrategy":"Manual"}}', '{"metadata":{"labels":{"tandem.hybrid/fenced":null}}}'):
        refused = case.kubectl("patch", "vm", name, "--type=merge", "-p", patch)
        assert refused.returncode != 0
        assert "tandem fence" in refused.stderr
    started = case.kubectl("replace", "--raw", f"/apis/subresources.kubevirt.io/v1/namespaces/{case.namespace}/virtualmachines/{name}/start", "-f",
                           "/dev/null")  # what virtctl start sends
    assert started.returncode != 0
    assert "tandem fence" in started.stderr
    assert not case.lab.objects("-n", case.namespace, "vmi")
    case.settings(windows=[])
    assert case.start().wait(timeout=300) == 0, case.log()
    check_finished(case)
    import libvirt

    with pytest.raises(libvirt.libvirtError, match=r"tandem-fence/moved-to-"):
        case.victim.domain.create()


def test_a_second_run_at_the_same_time_is_refused_and_told_by_whom(case):
    first = case.start()
    case.await_phase("copy", first)
    second = case.start()
    assert second.wait(timeout=300) != 0
    assert "another run holds the lease" in case.log()
    assert first.wait(timeout=300) == 0, case.log()
    check_finished(case)


def test_a_rollback_restores_the_source_even_when_the_journal_is_gone(case):
    assert case.start().wait(timeout=300) == 0, case.log()
    check_finished(case)
    assert case.kubectl("delete", "configmap", "-l", "tandem.hybrid/journal").returncode == 0
    stopped = case.power_off()
    assert stopped.returncode == 0, stopped.stderr
    case.settings(rollback_vms=[case.victim.name])
    assert case.start("rollback").wait(timeout=300) != 0
    assert "in a migration that this journal does not know" in case.log()
    assert not case.victim.domain.isActive()
    case.settings(accept_loss=[case.victim.name])
    assert case.start("rollback").wait(timeout=300) == 0, case.log()
    assert case.victim.domain.isActive()
    assert "tandem-fence" not in case.victim.domain.XMLDesc(2)
