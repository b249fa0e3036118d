# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's legacy side: a libvirt of its own with two guests, and a third as an OVA file."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import files
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.commands import attempt, run
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.lab import Step
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.processes import Daemon, Processes, wait_for

LIBVIRTD = "libvirtd"
START_SECONDS = 120
_LIBVIRTD_CONF = """\
unix_sock_rw_perms = "0700"
auth_unix_ro = "none"
auth_unix_rw = "none"
"""
# Guests run as root without cgroups, labels or namespaces: the lab may itself run in a container.
_QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = []
security_driver = "none"
stdio_handler = "file"
namespaces = []
backup_tls_x509_cert_dir = "{certificates}"
backup_tls_x509_verify = 1
"""


@dataclass(frozen=True)
class Domain:
    """A libvirt guest: its disks among the artefact's files, and the port of its HTTP service on the lab's address."""

    name: str
    disks: tuple[str, ...]
    port: int
    runs: bool


DOMAINS = (
    Domain("orders", ("orders-root.qcow2", "orders-data.qcow2"), port=8081, runs=True),
    Domain("report", ("report-root.qcow2",), port=8082, runs=False),
)
OVA = "crm.ova"


class Source:
    """The legacy side of the lab in a directory. `files` is the role's files directory, `guests` the artefact."""

    def __init__(self, layout: Layout, files: Path, guests: Path) -> None:
        self.layout, self.files, self.guests = layout, files, guests
        self.directory = layout.directory / "source"
        self.processes = Processes(self.directory / "daemons", self.directory / "log")
        self.disks = self.directory / "disks"
        self.certificates = self.directory / "certificates"
        self.record = layout.directory / "source.json"

    @property
    def uri(self) -> str:
        """The libvirt URI by which the machine's root reaches the guests."""
        return f"qemu+unix:///system?socket={self.directory}/run/libvirt/libvirt-sock"

    def facts(self) -> dict:
        """What others need to know, as source.json has it."""
        urls = {domain.name: f"http://{self.layout.host_address}:{domain.port}" for domain in DOMAINS}
        return {
            "uri": self.uri,
            "address": self.layout.host_address,
            "certificates": str(self.certificates),
            "ova": str(self.disks / OVA),
            "guests": {name: {"url": url} for name, url in urls.items()},
        }

    def steps(self) -> Iterator[Step]:
        """All that has to be done, in order; none when the source is as wanted.

        A guest that was set up before is left as it is: a migration may have stopped it for good.
        """
        if not (self.directory / "etc" / "qemu.conf").exists():
            yield Step("make directories of the libvirt source", self._make_directories)
        if not (self.disks / OVA).exists():
            yield Step(f"copy {OVA}", lambda: _copy(self.guests / OVA, self.disks / OVA))
        libvirtd = self._libvirtd()
        if self.processes.state(libvirtd) != "running":
            yield Step("start libvirtd of the source", lambda: self._start(libvirtd))
        known = self._recorded().get("guests", {})
        for domain in DOMAINS:
            if domain.name not in known:
                what = f"define {domain.name}{' and start it' if domain.runs else ''}"
                yield Step(what, lambda domain=domain: self._set_up(domain))
        if self._recorded() != self.facts():
            yield Step("write source.json", self._write_record)

    def absent_steps(self) -> Iterator[Step]:
        """What ends and removes everything of the source."""
        if self.processes.pid(LIBVIRTD) is not None:
            yield Step("end libvirtd of the source", lambda: self.processes.stop([LIBVIRTD]))
        for name, pid in self._running().items():
            yield Step(f"end guest {name}", lambda pid=pid: os.kill(pid, signal.SIGKILL))
        if self.directory.exists() or self.record.exists():
            yield Step("remove the libvirt source", self._remove)

    def _libvirtd(self) -> Daemon:
        script = self.files / "source" / "enter.sh"
        namespace = ["unshare", "--mount", "--propagation", "private"]
        enter = [*namespace, "sh", str(script), str(self.directory)]
        command = ["libvirtd", "--config", "/etc/libvirt/libvirtd.conf", "--pid-file", "/run/libvirtd.pid"]
        configuration = _LIBVIRTD_CONF + self._qemu_conf() + self._forwards()
        return Daemon(LIBVIRTD, command, enter, configuration=configuration)

    def _qemu_conf(self) -> str:
        return _QEMU_CONF.format(certificates=self.certificates)

    def _forwards(self) -> str:
        """What the hook reads: guest, and the address on which its HTTP service can be reached."""
        return "".join(f"{domain.name} {self.layout.host_address}:{domain.port}\n" for domain in DOMAINS)

    def _make_directories(self) -> None:
        for name in ("etc/hooks", "lib", "cache", "log", "run", "disks", "certificates"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        (self.directory / "etc" / "libvirtd.conf").write_text(_LIBVIRTD_CONF)
        (self.directory / "etc" / "qemu.conf").write_text(self._qemu_conf())
        (self.directory / "etc" / "forwards").write_text(self._forwards())
        hook = self.directory / "etc" / "hooks" / "qemu"
        hook.write_bytes((self.files / "source" / "hook.sh").read_bytes())
        hook.chmod(0o755)

    def _start(self, libvirtd: Daemon) -> None:
        self._make_directories()
        if not self._running():  # as after a boot: so that libvirtd starts what is marked for it
            shutil.rmtree(self.directory / "run")
            (self.directory / "run").mkdir()
        self.processes.start(libvirtd)
        wait_for(
            lambda: self.processes.pid(LIBVIRTD) is None or attempt([*self._virsh(), "list"]).returncode == 0,
            START_SECONDS,
            lambda: f"libvirtd of the source doesn't answer: {self.processes.last_words(LIBVIRTD)}",
        )
        run([*self._virsh(), "list"])  # says why, if it has ended

    def _set_up(self, domain: Domain) -> None:
        if domain.name in self._running():
            # a killed run started it before it was written down
            run([*self._virsh(), "destroy", domain.name])
        for name in domain.disks:
            _copy(self.guests / name, self.disks / name)
        template = Template((self.files / "source" / f"{domain.name}.xml").read_text())
        definition = self.directory / f"{domain.name}.xml"
        definition.write_text(template.substitute(disks=self.disks, logs=self.directory / "log"))
        run([*self._virsh(), "define", str(definition)])
        if domain.runs:
            run([*self._virsh(), "autostart", domain.name])
            run([*self._virsh(), "start", domain.name])

    def _virsh(self) -> list[str]:
        return ["virsh", "--quiet", "--connect", self.uri]

    def _running(self) -> dict[str, int]:
        """The process ids of running guests by name, found without libvirtd's help."""
        found = {}
        for path in (self.directory / "run" / "libvirt" / "qemu").glob("*.pid"):
            pid = int(path.read_text())
            with contextlib.suppress(OSError):  # the guest has ended
                if Path(f"/proc/{pid}/root/run").samefile(self.directory / "run"):  # which only this lab's processes have as /run
                    found[path.stem] = pid
        return found

    def _recorded(self) -> dict:
        return json.loads(self.record.read_text()) if self.record.exists() else {}

    def _write_record(self) -> None:
        files.write(str(self.record), json.dumps(self.facts(), indent=2) + "\n")

    def _remove(self) -> None:
        self.record.unlink(missing_ok=True)
        if self.directory.exists():
            shutil.rmtree(self.directory)


def _copy(source: Path, target: Path) -> None:
    """A copy that is either whole or not there."""
    between = target.with_name(f".{target.name}.new")
    shutil.copyfile(source, between)
    between.rename(target)
