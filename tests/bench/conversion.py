# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""make bench-conversion: a Debian that can boot from IDE alone, moved warm onto the running full lab and converted there by the real virt-v2v.

It needs about 4 GB in the lab's cache and ten minutes, most of them under emulation; so it is no test of `make test`.
"""
from __future__ import annotations

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

import yaml
from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, files
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, Estate, LegacyVm, Nic
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import Journal, check
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Cache, default_root
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.conversion_image import NAME as IMAGE

from .conversion_guest import DATA_MIB, DISKS, READY, ROOT_MIB, conversion_guest
from .figures import ROOT, figure, say

LAB = pathlib.Path(os.environ.get("TANDEM_LAB", "/var/lib/tandem/lab"))
NAME, MIB, BOOT_SECONDS = f"convert-{os.getpid()}", 1 << 20, 600
MAC, SERIALS = "52:54:00:c0:4e:01", ("CONVERT1", "CONVERT2")
DOMAIN = """<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>512</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/><apic/></features><devices>{disks}
  <interface type='user'><mac address='{mac}'/><model type='virtio'/></interface><memballoon model='none'/>
  <serial type='file'><source path='{log}'/><target port='0'/></serial></devices></domain>"""
DISK = """<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{file}'/><target dev='hd{letter}' bus='ide'/>
  <serial>{serial}</serial></disk>"""


def main() -> None:
    """Build what is missing, run the guest at the source, migrate it, print the figures, and remove it all."""
    record = LAB / "source.json"
    if not record.is_file():
        raise SystemExit(f"bench-conversion needs the full lab: {record} does not exist (make lab)")
    images = yaml.safe_load((ROOT / "roles" / "lab" / "defaults" / "main.yml").read_text())["lab_images"]
    started = time.monotonic()
    playbook("lab", {"lab_images": [*images, "conversion-image"]}, ROOT / "inventories" / "lab")
    say(f"the lab has {IMAGE} after {time.monotonic() - started:.0f} s")
    disks = Cache(default_root(os.environ), say).get(conversion_guest()).path
    with tempfile.TemporaryDirectory(prefix="bench-conversion-", dir=os.environ.get("BENCH_WORK")) as name:
        bench(pathlib.Path(name), disks, json.loads(record.read_text()))


def bench(folder: pathlib.Path, disks: pathlib.Path, source: dict) -> None:
    """Move one guest."""
    import libvirt

    own = [folder / name for name in DISKS]
    for name, file in zip(DISKS, own, strict=True):
        subprocess.run(["cp", disks / name, file], check=True)
    identity, console = str(uuid.uuid4()), folder / "console.log"
    rows = "".join(DISK.format(file=file, letter="ab"[number], serial=SERIALS[number]) for number, file in enumerate(own))
    connection = libvirt.open(source["uri"])
    domain = connection.defineXML(DOMAIN.format(name=NAME, uuid=identity, disks=rows, log=console, mac=MAC))
    kubectl = [LAB / "bin" / "kubectl", "--kubeconfig", LAB / "pki" / "admin.kubeconfig"]
    try:
        domain.create()
        say("the guest boots at its source")
        until(lambda: console.exists() and READY in console.read_text(errors="replace"), "the guest at its source")
        documents(folder, source, identity, own)
        playbook("migrate", variables(folder, source), "localhost,")
        say(page := answer(kubectl))
        tell(folder, page, json.loads(subprocess.run([*kubectl, "-n", NAME, "get", "vmi", NAME, "-o", "json"], check=True, capture_output=True).stdout))
    finally:
        subprocess.run([*kubectl, "delete", "namespace", NAME, "--wait=false", "--ignore-not-found"], check=False, stdout=subprocess.DEVNULL)
        if domain.isActive():
            domain.destroy()
        for checkpoint in domain.listAllCheckpoints():
            checkpoint.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
        domain.undefine()
        connection.close()


def documents(folder: pathlib.Path, source: dict, identity: str, own: list[pathlib.Path]) -> None:
    """Estate and plan of the guest."""
    sizes = (ROOT_MIB * MIB, DATA_MIB * MIB)
    disks = [Disk(id=f"hd{'ab'[number]}", order=number, bus="ide", size_bytes=sizes[number], format="qcow2", serial=SERIALS[number], source=str(file))
             for number, file in enumerate(own)]
    vm = LegacyVm(name=NAME, id=f"libvirt/{identity}", source=source["uri"], uuid=identity, hypervisor="qemu", target_name=NAME, power_state="running",
                  memory_bytes=512 * MIB, disks=disks, nics=[Nic(id="net0", mac=MAC, model="virtio")])
    files.write(str(folder / "estate.json"), codec.pretty(Estate([vm])))
    files.write(str(folder / "plan.json"), codec.pretty(Plan("", "", [Assignment(NAME, "vm", 0, "lab-1", "")])))


def variables(folder: pathlib.Path, source: dict) -> dict:
    """The role's variables."""
    return {"tandem_directory": str(folder), "tandem_kubeconfig": str(LAB / "pki" / "admin.kubeconfig"), "migration_namespace": NAME,
            "migration_storage_map": [{"source": "*", "storage_class": "shared", "access_modes": ["ReadWriteMany"]}],
            "migration_exporter_address": source["address"], "migration_exporter_certificates": source["certificates"],
            "migration_scratch_directory": str(folder), "migration_exporter_port": random.Random(NAME).randrange(690, 1180) * 16,
            "migration_unfit_guest": "convert", "migration_conversion_image": IMAGE, "migration_conversion_timeout_seconds": 1800,
            "migration_downtime_budget_seconds": 1800, "migration_stop_timeout_seconds": 180, "migration_start_timeout_seconds": BOOT_SECONDS,
            "migration_ports": [80], "migration_probe": {"port": 80, "path": "/", "timeout_seconds": BOOT_SECONDS}}


def playbook(name: str, extra: dict, inventory) -> None:
    """Run a playbook, its words to standard error."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(extra, file)
        file.flush()
        command = [pathlib.Path(sys.executable).parent / "ansible-playbook", "-i", inventory, ROOT / "playbooks" / f"{name}.yml", "-e", f"@{file.name}"]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PYTHONPATH": str(ROOT / "collections")}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)


def until(ready, what: str) -> None:
    """Wait until it is so; end the benchmark when it takes too long."""
    deadline = time.monotonic() + BOOT_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"bench-conversion: {what} is not up after {BOOT_SECONDS} s")
        time.sleep(1)


def answer(kubectl: list) -> str:
    """What the moved guest has mounted, in its own words."""
    address = subprocess.run([*kubectl, "-n", NAME, "get", "service", NAME, "-o", "jsonpath={.spec.clusterIP}"], check=True, capture_output=True, text=True)
    with urllib.request.urlopen(f"http://{address.stdout}/", timeout=60) as page:
        return page.read().decode()


def tell(folder: pathlib.Path, page: str, instance: dict) -> None:
    """Print the figures of the move."""
    events = codec.loads(Journal, (folder / "journal.json").read_bytes(), "journal.json").events
    check(events)
    done = {event.phase: event.data for event in events if event.event == "done"}
    converted = [event.data for event in events if event.event == "conversion"]
    checked, load = done["check"], round(os.getloadavg()[0], 1)
    version = next(data["version"] for data in converted if "version" in data)
    buses = [disk["disk"]["bus"] for disk in instance["spec"]["domain"]["devices"]["disks"]]
    mounted = sorted(page.split("\n"))
    figure("conversion", "debian12-ide", "disk_buses", buses, "", "virtio, virtio", buses == ["virtio", "virtio"])
    figure("conversion", "debian12-ide", "mounted", [row for row in mounted if row], "", "/dev/vda1 /, /dev/vdb /data",
           {"/dev/vda1 /", "/dev/vdb /data"} <= set(mounted))
    figure("conversion", "debian12-ide", "convert_seconds", checked["convert_seconds"], "s", version=version, load=load)
    for name in ("stop_seconds", "final_seconds", "start_seconds", "predicted_seconds", "downtime_seconds"):
        figure("conversion", "debian12-ide", name, checked[name], "s", mode=done["inspect"]["mode"])
    verdict = next(event.data for event in reversed(events) if event.event == "fitness")
    figure("conversion", "debian12-ide", "verdict", verdict["verdict"], "", "rebuild", verdict["verdict"] == "rebuild", sentence=verdict["sentence"])


if __name__ == "__main__":
    main()
