# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Libvirt domains of sixteen kinds rendered, booted by KubeVirt, and read back from the libvirt in their launcher: only announced differences.

All are booted in one go, a few at a time; each is ended as soon as its domain XML is read.
"""
from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import time

import node_parts
import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Fate
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import assembly, libvirt
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt import choices, instancetypes, maps, overhead, render

LAB = pathlib.Path(os.environ.get("TANDEM_LAB", "/var/lib/tandem/lab"))
NAMESPACE = f"tandem-round-trip-{os.getpid()}"
MAPS = maps.maps([{"source": "br0", "network": "second"}, {"source": "*", "network": "pod"}], [{"source": "*", "storage_class": "local"}],
                 [{"source": "*", "resource": "nvidia.com/GH100_H100_PCIE", "vendor_product": "10de:2331"}])
VIRSH = ("virsh", "-c", "qemu+unix:///session?socket=/var/run/libvirt/virtqemud-sock", "dumpxml")
AT_ONCE, BOOT_SECONDS = 4, 300
PAGES = 96
pytestmark = [pytest.mark.lab, pytest.mark.root]


def disk(dev, bus, serial="", order=None, unit=0):
    parts = [f'<disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="/images/{dev}.qcow2"/><target dev="{dev}" bus="{bus}"/>']
    if serial:
        parts.append(f"<serial>{serial}</serial>")
    if order:
        parts.append(f'<boot order="{order}"/>')
    if bus in ("scsi", "sata"):
        parts.append(f'<address type="drive" controller="0" bus="0" target="0" unit="{unit}"/>')
    return "".join([*parts, "</disk>"])


def domain(number, devices=None, firmware="", os="", vcpu=1, cpu="", features="<acpi/><apic/>", more=""):
    return f"""<domain type="kvm"><name>trip-{number}</name><uuid>00000000-1111-4222-8333-0000000000{number:02x}</uuid>
      <memory unit="MiB">160</memory><vcpu>{vcpu}</vcpu>
      <os {f'firmware="{firmware}"' if firmware else ""}><type arch="x86_64" machine="pc-q35-7.2">hvm</type>{os}</os>
      <features>{features}</features>{cpu}<clock offset="utc"/>
      <devices>{devices or disk("vda", "virtio")}
        <interface type="network"><mac address="52:54:00:77:00:{number:02x}"/><source network="default"/><model type="virtio"/></interface>
        {more}</devices></domain>"""


SECURE = "<firmware><feature enabled='yes' name='secure-boot'/><feature enabled='yes' name='enrolled-keys'/></firmware>"
DOMAINS = {
    "bios": domain(1), "uefi": domain(2, firmware="efi"), "uefi-secure-boot": domain(3, firmware="efi", os=SECURE, features="<acpi/><apic/><smm state='on'/>"),
    "mixed-disks": domain(4, disk("sdb", "scsi", "DATA-1", unit=1) + disk("sda", "scsi", "ROOT-1", order=1, unit=0) + disk("vda", "virtio", "FAST_1") + disk("sdc", "sata", unit=2)),
    "nic-boots-first": domain(5, disk("vda", "virtio", order=2)).replace('<model type="virtio"/></interface>', '<model type="e1000e"/><boot order="1"/></interface>'),
    "cdrom": domain(6, disk("vda", "virtio") + "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>"),
    "tpm": domain(7, firmware="efi", more="<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"),
    "gpu": domain(8, more="<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='0x3b' slot='0' function='0'/></source></hostdev>"),
    "one-socket-of-8": domain(9, vcpu=8, cpu="<cpu mode='host-model'><topology sockets='1' cores='8' threads='1'/></cpu>"),
    "eight-sockets-of-1": domain(10, vcpu=8, cpu="<cpu mode='host-model'><topology sockets='8' cores='1' threads='1'/></cpu>"),
    "link-down-legacy-nic": domain(11).replace('<model type="virtio"/></interface>', '<model type="rtl8139"/><link state="down"/></interface>'),
    "devices": domain(12, more="<watchdog model='i6300esb' action='poweroff'/><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
                               "<sound model='ich9'/><input type='tablet' bus='usb'/><graphics type='vnc'/><video><model type='vga'/></video>"),
    "hyperv": domain(13, features="<acpi/><apic/><hyperv><relaxed state='on'/><vapic state='on'/><spinlocks state='on' retries='8191'/></hyperv>"),
    "ide-and-i440fx": domain(14, disk("hda", "ide")).replace("pc-q35-7.2", "pc-i440fx-7.2"),
    "two-nics": domain(15, more='<interface type="bridge"><mac address="52:54:00:77:01:0f"/><source bridge="br0"/><model type="e1000"/></interface>'),
    "hugepages": domain(16).replace("<vcpu>", "<memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages></memoryBacking><vcpu>"),
}


def kubectl(*arguments, stdin=None):
    done = subprocess.run([LAB / "bin" / "kubectl", "--kubeconfig", LAB / "pki" / "admin.kubeconfig", *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"kubectl {' '.join(map(str, arguments))}: {done.stderr}"
    return done.stdout


@dataclasses.dataclass
class Boot:
    """What became of one domain: the VM as it was read and rendered, its launcher pod and libvirt's XML, or the reason why not."""

    vm: object
    rendered: object
    pod: dict | None = None
    xml: str = ""
    problem: str = "was not started"
    since: float = 0.0


def prepared(name):
    (read,) = libvirt.parse(DOMAINS[name].encode(), f"{name}.xml")
    sized = dataclasses.replace(read, disks=[dataclasses.replace(item, size_bytes=32 * 2**20) for item in read.disks])
    (vm,) = assembly.assemble([sized], ["test"], device_ids={"0000:3b:00.0": "10de:2331"}).vms
    return Boot(vm, render.render(vm, render.Settings(NAMESPACE, MAPS, run_strategy="Always")))


def start(boot):
    manifests = json.loads(json.dumps(boot.rendered.manifests))
    manifests[-1]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 0  # no guest answers a power button
    kubectl("apply", "--validate=strict", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))
    boot.since = time.monotonic()


def look(boots):
    """Read the domains of the VMs that run; tell for each other one how far it is."""
    items = json.loads(kubectl("get", "pods,vmi", "-n", NAMESPACE, "-o", "json"))["items"]
    for boot in boots:
        name = boot.vm.target_name
        pods = [one for one in items if one["kind"] == "Pod" and one["metadata"]["labels"].get("vm.kubevirt.io/name") == name]
        vmi = next((one for one in items if one["kind"] == "VirtualMachineInstance" and one["metadata"]["name"] == name), {})
        status = vmi.get("status", {})
        boot.problem = f"{status.get('phase', 'no instance')}: {[c.get('message') for c in status.get('conditions', []) if c.get('message')]}"
        if pods and status.get("phase") == "Running":
            with contextlib.suppress(AssertionError):  # libvirt in the launcher may need another moment
                boot.xml = kubectl("exec", "-n", NAMESPACE, pods[0]["metadata"]["name"], "-c", "compute", "--", *VIRSH, f"{NAMESPACE}_{name}")
                boot.pod = pods[0]


@pytest.fixture(scope="module")
def boots(standing):
    """Boot every domain, a few at a time, and return what became of each by name."""
    found = {name: prepared(name) for name in DOMAINS}
    waiting, running = collections.deque(found.values()), []
    objects = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, node_parts.DEFINITION]
    dummies = node_parts.has_dummy_links(LAB)
    with node_parts.multus(LAB) if dummies else contextlib.nullcontext(), node_parts.hugepages(LAB, PAGES) as given:
        if given < PAGES:
            waiting.remove(found["hugepages"])
            found["hugepages"].problem = f"the machine gives {given} hugepages of the {PAGES} that are asked for"
        else:
            kubectl("wait", "nodes", "--all", f"--for=jsonpath={{.status.allocatable.hugepages-2Mi}}={2 * PAGES}Mi", "--timeout=60s")
        if not dummies:
            waiting.remove(found["two-nics"])
            found["two-nics"].problem = "the machine gives no links of the kind dummy (CONFIG_DUMMY), which KubeVirt's bridge binding needs"
        kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        kubectl("wait", "--for=condition=Established", f"crd/{node_parts.DEFINITION['metadata']['name']}", "--timeout=30s")
        kubectl("apply", "-f", "-", stdin=json.dumps(node_parts.network(NAMESPACE, "second")))
        try:
            while waiting or running:
                while waiting and len(running) < AT_ONCE:
                    running.append(waiting.popleft())
                    start(running[-1])
                time.sleep(1)
                look(running)
                for boot in [one for one in running if one.xml or time.monotonic() - one.since > BOOT_SECONDS]:
                    kubectl("delete", "vm", "-n", NAMESPACE, boot.vm.target_name, "--wait=false")
                    running.remove(boot)
        finally:
            kubectl("delete", "namespace", NAMESPACE, "--timeout=100s")
            kubectl("delete", "crd", node_parts.DEFINITION["metadata"]["name"])
    return found


def view(vm, orders):
    """Return what the guest sees, by field of the Estate; disks and interfaces in the guest's order."""
    values = {"uuid": vm.uuid, "memory_bytes": vm.memory_bytes, "cpu.sockets": vm.cpu.sockets, "cpu.cores": vm.cpu.cores, "cpu.threads": vm.cpu.threads,
              "firmware.kind": vm.firmware.kind, "firmware.secure_boot": vm.firmware.secure_boot, "tpm": vm.tpm, "watchdog": vm.watchdog,
              "watchdog_action": vm.watchdog_action, "sound": vm.sound, "rng": vm.rng, "clock.offset": vm.clock.offset,
              "hugepage_bytes": vm.hugepage_bytes, "inputs": [text for text in vm.inputs if text.startswith("tablet")]}
    values |= {f"features.{name}": state for name, state in vm.features.items() if name.startswith(("acpi", "apic", "hyperv", "smm"))}
    for place, item in enumerate(choices.kept_disks(vm)):
        values |= {f"disk {place} bus": item.bus, f"disk {place} serial": item.serial, f"disk {place} boot_order": orders[item.id]}
    for place, item in enumerate(vm.nics):
        values |= {f"nic {place} mac": item.mac, f"nic {place} model": choices.nic_model(item) if item.model.startswith("virtio") else item.model, f"nic {place} link_up": item.link_up}
    return values


def by_bus(vm):
    """Return the VM with its disks grouped by their target bus, the order in which libvirt counts them within a bus."""
    return dataclasses.replace(vm, disks=[dataclasses.replace(item, order=10_000 * sorted(set(choices.BUSES.values())).index(choices.disk_bus(item)) + item.order) for item in vm.disks])


@pytest.mark.parametrize("name", DOMAINS)
def test_kubevirt_boots_what_the_ledger_announced(boots, name):
    source, rendered, pod = boots[name].vm, boots[name].rendered, boots[name].pod
    if boots[name].problem.startswith("the machine gives"):
        pytest.skip(boots[name].problem)
    assert pod, f"{name} does not run: {boots[name].problem}"
    (result,) = libvirt.parse(boots[name].xml.encode(), "launcher")
    before, after = view(by_bus(source), choices.boot_orders(source)), view(by_bus(result), choices.boot_orders(result))
    told = {line.target for line in source.ledger if line.fate in (Fate.CHANGED, Fate.DROPPED)}
    places = {f"disk {place}": f"disks[{source.disks.index(next(d for d in source.disks if d.id == item.id))}]" for place, item in enumerate(choices.kept_disks(by_bus(source)))}
    silent = {}
    for field, value in before.items():
        head, _blank, tail = field.rpartition(" ")
        target = f"{places.get(head, head.replace('nic ', 'nics[') + ']')}.{tail}" if head else field
        if after.get(field) != value and target not in told:
            silent[field] = (value, after.get(field))
    assert not silent, f"differences that the ledger did not announce: {silent}"
    assert len(result.disks) == len(choices.kept_disks(source)) and len(result.nics) == len(source.nics)
    compute, log = (next(c for c in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])) if c["name"] == wanted) for wanted in ("compute", "guest-console-log"))
    spec = rendered.virtual_machine["spec"]["template"]["spec"]
    asked = sum(overhead.quantity_bytes(c["resources"]["requests"]["memory"]) for c in (compute, log))
    assert asked == overhead.launcher_requests(spec, emulation=True)["memory_bytes"]
    devices = spec["domain"]["devices"]
    for device in (*devices.get("gpus", ()), *devices.get("hostDevices", ())):
        assert compute["resources"]["limits"][device["deviceName"]] == "1"


def test_the_tables_of_instance_types_and_preferences_are_those_of_the_cluster():
    kinds = "virtualmachineclusterinstancetypes.instancetype.kubevirt.io", "virtualmachineclusterpreferences.instancetype.kubevirt.io"
    types, preferences = ({one["metadata"]["name"]: one["spec"] for one in json.loads(kubectl("get", kind, "-o", "json"))["items"]} for kind in kinds)
    for (vcpus, mebibytes), name in instancetypes._SIZES.items():
        assert (types[name]["cpu"]["guest"], overhead.quantity_bytes(types[name]["memory"]["guest"])) == (vcpus, mebibytes * 2**20), name
    for _pattern, name, vcpus, mebibytes in instancetypes._GUESTS:
        needed = preferences[name]["requirements"]
        assert (needed["cpu"]["guest"], overhead.quantity_bytes(needed["memory"]["guest"])) == (vcpus, mebibytes * 2**20), name
