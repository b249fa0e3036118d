# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan says to Forklift, and what it refuses to say."""
from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, LegacyVm, Nic
from ansible_collections.tandem.hybrid.plugins.module_utils.forklift.errors import ForkliftError
from ansible_collections.tandem.hybrid.plugins.module_utils.forklift.render import Forklift, ProviderRule, Target, migration, render
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.errors import RenderError
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.maps import maps

VM = LegacyVm(name="erp", id="vsphere/erp", source="vsphere://vc", moid="vm-1", power_state="running",
              disks=[Disk("disk2000", order=0, source="[fast] erp/erp.vmdk"), Disk("disk2001", order=1, source="[fast] erp/erp_1.vmdk"), Disk("cdrom1", device="cdrom")],
              nics=[Nic("n0", network="VM Network")])
TARGET = Target("erp", "shop", "shop-erp", {}, {"tandem.hybrid/vm": "erp"})
MAPS = maps([{"source": "*", "network": "pod"}], [{"source": "fast", "storage_class": "ssd"}])
RULE = ProviderRule("vsphere://*", "vcenter", "vsphere")


def forklift(**more):
    return Forklift("mtv", "host", [replace(RULE, **more)])


def test_a_provider_that_is_there_is_only_named():
    found = render(VM, TARGET, MAPS, forklift())
    assert found.provider is None and [item["kind"] for item in found.objects] == ["NetworkMap", "StorageMap", "Plan"]
    assert found.plan["spec"]["provider"]["source"] == {"name": "vcenter", "namespace": "mtv"}
    assert found.storage_map["spec"]["map"] == [{"source": {"name": "fast"}, "destination": {"storageClass": "ssd", "volumeMode": "Filesystem", "accessMode": "ReadWriteOnce"}}]
    assert found.plan["spec"]["targetLabels"] == {"tandem.hybrid/vm": "erp"} and "targetAffinity" not in found.plan["spec"]


@pytest.mark.parametrize("power, kind, wanted", [("running", "vsphere", "warm"), ("off", "vsphere", "cold"), ("running", "ovirt", "warm"), ("running", "ova", "cold")])
def test_what_runs_is_copied_warm_where_forklift_can(power, kind, wanted):
    assert render(replace(VM, power_state=power), TARGET, MAPS, forklift(type=kind)).plan["spec"]["type"] == wanted


def test_static_addresses_are_kept_where_the_estate_knows_some():
    assert render(VM, TARGET, MAPS, forklift()).plan["spec"]["preserveStaticIPs"] is False
    assert render(replace(VM, static_addresses=["192.0.2.7"]), TARGET, MAPS, forklift()).plan["spec"]["preserveStaticIPs"] is True


def test_each_attempt_is_a_migration_of_its_own():
    plan = render(VM, TARGET, MAPS, forklift()).plan
    assert migration(plan, 3)["metadata"]["name"] == "shop-erp-3" and migration(plan, 3)["spec"] == {"plan": {"name": "shop-erp", "namespace": "mtv"}}


@pytest.mark.parametrize("vm, more, sentence", [
    (replace(VM, source="ovirt://engine"), {}, "no rule of the Forklift providers fits its source ovirt://engine"),
    (VM, {"type": "hyperv"}, "type 'hyperv'; expected one of vsphere, ovirt, ova"),
    (VM, {"url": "https://vc/sdk"}, "a url needs secret"),
    (replace(VM, disks=[Disk("d", source="uuid-of-a-disk")], datastores=["a", "b"]), {}, "the storage of disk d is not known")])
def test_what_is_missing_is_named(vm, more, sentence):
    with pytest.raises(ForkliftError, match=sentence):
        render(vm, TARGET, maps([{"source": "*", "network": "pod"}], [{"source": "*", "storage_class": "ssd"}]), forklift(**more))


def test_one_storage_can_not_go_to_two_classes():
    split = maps([{"source": "*", "network": "pod"}], [{"source": "*erp_1.vmdk", "storage_class": "hdd"}, {"source": "*", "storage_class": "ssd"}])
    with pytest.raises(ForkliftError, match="disks of fast go to ssd and hdd"):
        render(VM, TARGET, split, forklift())


def test_a_network_without_a_rule_is_refused():
    with pytest.raises(RenderError, match="no rule of the network map"):
        render(VM, TARGET, maps([], [{"source": "*", "storage_class": "ssd"}]), forklift())
