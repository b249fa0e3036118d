# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo's migration left behind: an unbroken ledger, the same machine, a fenced source, a journal that proves it."""
from __future__ import annotations

import hashlib
import json
import urllib.request

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.root]


@pytest.fixture(scope="module")
def journal(demo):
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.codec import loads
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import Journal, check

    found = loads(Journal, (demo.directory / "journal.json").read_bytes(), "journal.json")
    check(found.events)
    return found


@pytest.fixture(scope="module")
def orders(demo):
    return next(vm for vm in demo.document("estate.json")["vms"] if vm["name"] == "orders")


@pytest.fixture(scope="module")
def source(demo):
    return json.loads((demo.kubeconfig.parent.parent / "source.json").read_text())


def done(journal, vm, phase):
    return [event.data for event in journal.events if (event.subject, event.phase, event.event) == (vm, phase, "done")][-1]


def ask(demo, vm, path):
    service = demo.objects("-n", "tandem-demo", "service", vm)[0]
    with urllib.request.urlopen(f"http://{service['spec']['clusterIP']}{path}", timeout=30) as answer:
        return answer.read().decode()


def test_every_row_of_the_ledger_is_there_and_follows_from_the_one_before(demo, journal):
    last, number = "genesis", 0
    rows = ask(demo, "orders", "/cgi-bin/ledger").splitlines()
    for row in rows:
        count, _seconds, digest = row.split()
        number += 1
        assert int(count) == number
        assert digest == hashlib.sha256(f"{last} {count}".encode()).hexdigest()
        last = digest
    assert number > 50


def test_orders_moved_warm_and_every_byte_was_compared_with_the_stopped_source(journal, orders):
    assert done(journal, "orders", "inspect")["mode"] == "warm"
    disks = done(journal, "orders", "final")["disks"]
    assert {name: disk["size_bytes"] for name, disk in disks.items()} == {disk["id"]: disk["size_bytes"] for disk in orders["disks"]}
    assert all(disk["missing_bytes"] == 0 and disk["verify_seconds"] > 0 for disk in disks.values())
    assert set(done(journal, "orders", "verify")["roots"]) == set(disks)


def test_it_is_the_same_machine(demo, orders):
    status = json.loads(ask(demo, "orders", "/cgi-bin/status"))
    assert status["uuid"].lower() == orders["uuid"].lower()
    assert status["mac"].lower() == orders["nics"][0]["mac"].lower()
    instance = demo.objects("-n", "tandem-demo", "vmi", "orders")[0]
    assert [disk.get("serial", "") for disk in instance["spec"]["domain"]["devices"]["disks"]] == [disk.get("serial", "") for disk in orders["disks"]]


def test_the_downtime_was_predicted(journal):
    found = done(journal, "orders", "check")
    measured, predicted = found["downtime_seconds"], found["predicted_seconds"]
    within = abs(measured - predicted) <= max(0.3 * measured, 3)
    print(f"orders: {'within' if within else 'NOT within'} 30 % or 3 s: predicted {predicted:.1f} s, measured {measured:.1f} s, of it stop {found['stop_seconds']} s, start {found['start_seconds']} s")
    # How long a guest boots under emulation on a machine that does other work is nobody's to know: the bar is printed, a wrong model fails.
    assert within or measured / 3 < predicted < measured * 3


@pytest.mark.parametrize("vm", ["crm", "report"])
def test_stopped_vms_moved_cold(journal, vm):
    assert done(journal, vm, "inspect")["mode"] == "cold"
    assert done(journal, vm, "verify")["roots"]


def test_the_source_is_off_and_does_not_start(demo, source):
    import libvirt

    connection = libvirt.open(source["uri"])
    domain = connection.lookupByName("orders")
    assert not domain.isActive()
    with pytest.raises(libvirt.libvirtError, match=r"tandem-fence/moved-to-tandem-demo.orders"):
        domain.create()
    assert domain.listAllCheckpoints() == []
    connection.close()


def test_a_second_run_changes_nothing(demo):
    run = demo.playbook("migrate")
    assert (run.returncode, run.changed) == (0, 0), run.output[-3000:]


def test_a_rollback_names_what_would_be_lost_and_touches_nothing(demo):
    run = demo.playbook("rollback", "-e", json.dumps({"migration_rollback_vms": ["orders"]}))
    assert run.returncode != 0
    assert "a rollback loses everything that orders wrote on the cluster since" in run.output
    assert demo.objects("-n", "tandem-demo", "vmi", "orders")[0]["status"]["phase"] == "Running"
