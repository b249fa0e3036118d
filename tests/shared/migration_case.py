# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM of its own to be migrated, killed and looked at: on the full lab, or on a control plane with a stand-in node."""
from __future__ import annotations

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
MIB = 1 << 20
RUN_SECONDS = 420  # the scheduler now and then overlooks that a claim was bound, and looks at the waiting pod again only after five minutes
SIZES = {"vda": 48 * MIB, "vdb": 16 * MIB}
PHASES = ("inspect", "prepare", "copy", "delta", "quiesce", "final", "verify", "cutover", "check", "accept")
# What is killed -9 how many seconds into which phase.
KILLS = [*((phase, victim, delay) for phase in PHASES for victim in ("playbook", "module") for delay in (0.0, 0.7)),
         *((phase, "mover", 1.0) for phase in ("copy", "delta", "quiesce", "final")), ("final", "exporter", 0.3), ("final", "exporter", 1.0),
         *((phase, "qemu", 0.5) for phase in ("copy", "delta", "quiesce"))]


class Victim:
    """A domain without an operating system, written to until it stops."""

    def __init__(self, source, folder):
        import libvirt
        import libvirt_qemu

        self.source, self._hmp = source, libvirt_qemu
        self.name, self.uuid = f"kill-{uuid.uuid4().hex[:6]}", str(uuid.uuid4())
        self.files = {target: folder / f"{self.name}-{target}.qcow2" for target in SIZES}
        for target, file in self.files.items():
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", file, str(SIZES[target])], check=True)
        disks = "".join(f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{file}'/>"
                        f"<target dev='{target}' bus='virtio'/><serial>{target.upper()}</serial></disk>" for target, file in self.files.items())
        self.connection = libvirt.open(source["uri"])
        self.domain = self.connection.defineXML(
            f"<domain type='qemu'><name>{self.name}</name><uuid>{self.uuid}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>"
            f"<os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features><devices>{disks}"
            "<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>")
        self.domain.create()
        self._seed = random.Random(self.name)
        self.writes, self._stop = 0, threading.Event()
        for _ in range(20):
            self.write()
        self.write_on()

    def write_on(self):
        """Write until the domain stops."""
        self._writer = threading.Thread(target=self._write_on, daemon=True)
        self._writer.start()

    def write(self):
        target = self._seed.choice(list(SIZES))
        offset = self._seed.randrange(SIZES[target] // 65536) * 64
        device = f"/machine/peripheral/virtio-disk{list(SIZES).index(target)}/virtio-backend"
        self._hmp.qemuMonitorCommand(self.domain, f'qemu-io -d {device} "write -P {self._seed.randrange(256)} {offset}k 64k"', 1)
        self.writes += 1

    def _write_on(self):
        import libvirt

        while not self._stop.wait(0.1):
            try:
                self.write()
            except libvirt.libvirtError:
                if not self.domain.isActive():
                    return

    def process(self, *words):
        """Pids of processes whose command line has all the words."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if all(word in line for word in words):
                found.append(int(path.parent.name))
        return found

    def remove(self):
        import libvirt

        self._stop.set()
        self._writer.join()
        if self.domain.isActive():
            self.domain.destroy()
        for checkpoint in self.domain.listAllCheckpoints():
            checkpoint.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
        for snapshot in self.domain.listAllSnapshots():
            snapshot.delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)
        self.domain.undefine()
        self.connection.close()
        for file in self.files.values():
            file.unlink()


class Case:
    """A victim with plan, estate and namespace of its own, and the playbook that migrates it.

    `lab` is a cluster with a node lab-1 and the class of storage `shared`; `source` says where its libvirt is. With `directly` only runs that
    are about ansible-playbook use it; the others call what the role's module calls.
    """

    def __init__(self, lab, source, folder, directly=False):
        from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, files
        from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, Estate, LegacyVm
        from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan

        self.lab, self.folder, self.directly = lab, folder, directly
        self.victim = Victim(source, folder)
        self.namespace = f"tandem-{self.victim.name}"
        disks = [Disk(id=target, order=number, size_bytes=SIZES[target], format="qcow2", serial=target.upper(), source=str(file))
                 for number, (target, file) in enumerate(self.victim.files.items())]
        vm = LegacyVm(name=self.victim.name, id=f"libvirt/{self.victim.uuid}", source=source["uri"], uuid=self.victim.uuid, hypervisor="qemu",
                      target_name=self.victim.name, power_state="running", memory_bytes=64 * MIB, disks=disks)
        files.write(str(folder / "estate.json"), codec.pretty(Estate([vm])))
        files.write(str(folder / "plan.json"), codec.pretty(Plan("", "", [Assignment(vm.name, "vm", 0, "lab-1", "")])))
        (folder / "vars.json").write_text(json.dumps({
            "tandem_directory": str(folder), "tandem_kubeconfig": str(lab.kubeconfig), "migration_namespace": self.namespace,
            "migration_storage_map": [{"source": "*", "storage_class": "shared", "access_modes": ["ReadWriteMany"]}],
            "migration_exporter_address": source["address"], "migration_exporter_certificates": source["certificates"],
            "migration_scratch_directory": str(folder), "migration_exporter_port": random.Random(self.namespace).randrange(690, 1200) * 16,
            "migration_force_stop": True, "migration_stop_timeout_seconds": 1, "migration_round_pause_seconds": 0,
            "migration_downtime_budget_seconds": 600, "migration_rollback_on_failure": False,
            "migration_lease_seconds": 15 if directly else 30}))  # a killed run's lease has to lapse; the lab's apiserver can be slow
        self.progress = folder / "migration-progress.jsonl"
        if directly:
            created = self.kubectl("create", "namespace", self.namespace)
            assert created.returncode == 0, created.stderr

    def settings(self, **changed):
        """Change variables of the role for the next runs."""
        file = self.folder / "vars.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **{f"migration_{name}": value for name, value in changed.items()}}))

    def kubectl(self, *arguments):
        binary = self.lab.kubeconfig.parent.parent / "bin" / "kubectl"
        return subprocess.run([binary, "--kubeconfig", self.lab.kubeconfig, "-n", self.namespace, *arguments], capture_output=True, text=True,
                              check=False, timeout=60)

    def start(self, playbook=""):
        """Begin a run; by default of the role migration."""
        if self.directly and not playbook:
            command = [sys.executable, pathlib.Path(__file__).with_name("migrate_directly.py"), self.folder / "vars.json"]
        else:
            command = [pathlib.Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", ROOT / "playbooks" / f"{playbook or 'migrate'}.yml",
                       "-e", f"@{self.folder / 'vars.json'}"]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PYTHONPATH": str(ROOT / "collections")}
        with open(self.folder / "playbook.log", "ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def await_phase(self, phase, process, timeout_seconds=RUN_SECONDS):
        """Wait until the phase has begun; returns the module's pid."""
        module, deadline = 0, time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            for line in self.progress.read_text().splitlines() if self.progress.exists() else ():
                found = json.loads(line)
                module = found.get("pid", module)
                if found.get("phase") == phase and found.get("event") == "started":
                    return module
            assert process.poll() is None, self.log()
            time.sleep(0.02)
        raise AssertionError(f"{phase} was not reached: {self.log()}")

    def pids(self, what, process, module):
        return {"playbook": lambda: [process.pid], "module": lambda: [module],
                "mover": lambda: self.victim.process("transfer", f"libvirt/{self.victim.uuid}"),
                "exporter": lambda: [pid for pid in self.victim.process("qemu-nbd", self.victim.name) if self._program(pid) == "qemu-nbd"],
                "qemu": lambda: self.victim.process("qemu-system", self.victim.uuid)}[what]()

    @staticmethod
    def _program(pid):
        try:
            return pathlib.Path(os.readlink(f"/proc/{pid}/exe")).name
        except FileNotFoundError:
            return ""  # it has just ended

    def log(self):
        return (self.folder / "playbook.log").read_text()[-4000:]

    def target_file(self, number):
        claim = self.lab.objects("-n", self.namespace, "pvc", f"{self.victim.name}-disk-{number}")[0]
        volume = self.lab.objects("pv", claim["spec"]["volumeName"])[0]
        return pathlib.Path(volume["spec"]["hostPath"]["path"]) / "disk.img"

    def power_off(self):
        """Stop the moved VM at once: without an operating system it would take its whole grace period, and virt-launcher a core's quarter."""
        (self.folder / "stop.json").write_text('{"gracePeriod": 0}')
        return self.kubectl("replace", "--raw", f"/apis/subresources.kubevirt.io/v1/namespaces/{self.namespace}/virtualmachines/{self.victim.name}/stop",
                            "-f", str(self.folder / "stop.json"))

    def remove(self):
        done = []
        if not self.directly and [vmi for vmi in self.lab.objects("-n", self.namespace, "vmi") if "deletionTimestamp" not in vmi["metadata"]]:
            done.append(self.power_off())
        done.append(self.kubectl("delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found"))
        self.victim.remove()
        assert [one.stderr for one in done if one.returncode] == []


def kill_and_finish(case, phase, victim, delay):
    """Kill -9 somebody amid a phase; the next run must finish what is left."""
    process = case.start("migrate" if victim == "playbook" else "")
    module = case.await_phase(phase, process)
    time.sleep(delay)
    killed, deadline = [], time.monotonic() + 10
    while not killed and time.monotonic() < deadline and process.poll() is None:
        killed = case.pids(victim, process, module)
        time.sleep(0.02)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    print(f"killed {victim} {killed} {delay} s into {phase}")
    process.wait(timeout=RUN_SECONDS)
    if victim in ("playbook", "module") and killed:
        assert process.returncode != 0
    for _attempt in range(3):  # a lease of a killed run may have to lapse first
        again = case.start()
        if again.wait(timeout=RUN_SECONDS) == 0:
            break
        time.sleep(3)
    assert again.returncode == 0, case.log()
    assert killed or process.returncode == 0, f"nothing was killed: {case.log()}"
    check_finished(case)


def check_finished(case):
    """The VM runs on its node with the very bytes of its stopped and fenced source, and the journal is whole."""
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.codec import loads
    from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import Journal, check

    instance = case.lab.objects("-n", case.namespace, "vmi", case.victim.name)[0]
    assert (instance["status"]["phase"], instance["status"]["nodeName"]) == ("Running", "lab-1")
    assert not case.victim.domain.isActive()
    assert "/tandem-fence/" in case.victim.domain.XMLDesc(0)
    assert case.victim.domain.listAllCheckpoints() == []
    assert case.victim.writes > 20
    for number, file in enumerate(case.victim.files.values()):
        found = subprocess.run(["qemu-img", "compare", "-U", "-f", "qcow2", "-F", "raw", file, case.target_file(number)],
                               capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr
    journal = loads(Journal, (case.folder / "journal.json").read_bytes(), "journal.json")
    check(journal.events)
    assert any(event.phase == "accept" and event.event == "done" for event in journal.events)
    assert not case.victim.process("qemu-nbd", case.victim.name)
