# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A vSphere VM as a source: exported while it is off through an NFC lease, then served like any other disk file."""
from __future__ import annotations

import contextlib
import json
import os
import shutil
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.marks import VSPHERE_KEY as MARK
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.hypervisor import Host
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import DiskTask, Settings, VmTask
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.source_file import FileSource
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.plan_steps import export_name
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.source_facts import SourceDisk, SourceFacts
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.download import download, stream_bytes
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.errors import TransferError
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.exporter import Export

TASK_SECONDS = 120
LEASE_SECONDS = 360
RETRY_SECONDS = 15.0
SAY_SECONDS = 2.0
POLL_SECONDS = 0.5


class VsphereSource(FileSource):
    """One VM of a vCenter, found by its id; every method raises MigrationError with one sentence.

    Its fence is vSphere's own: a template can't be powered on. What it was stands in its extraConfig.
    """

    def __init__(self, task: VmTask, host: Host, say: Callable[..., None]):
        super().__init__(task, host)
        self._say, self.name = say, task.vm.name
        self.ready_seconds = task.settings.copy_timeout_seconds  # the movers wait while the disks are fetched
        self._folder = os.path.join(task.settings.vsphere.directory, f"{task.settings.namespace}.{task.name}")

    # ---- looking

    def facts(self) -> SourceFacts:
        """Read power state and disks; a VM that runs can only be copied once it is off."""
        with self._vm() as (vm, _vim):
            disks = tuple(SourceDisk(f"disk{disk.key}", disk.backing.fileName, "vmdk", disk.capacityInBytes or disk.capacityInKB * 1024)
                          for disk in _disks(vm))
            return SourceFacts(vm.runtime.powerState != "poweredOff", False, bool(_mark(vm)), disks,
                               "Tandem copies vSphere disks only while they are not in use")

    def running(self) -> bool:
        with self._vm() as (vm, _vim):
            return vm.runtime.powerState != "poweredOff"

    def fenced(self) -> bool:
        with self._vm() as (vm, _vim):
            return vm.config.template and bool(_mark(vm))

    def before(self) -> dict:
        """What the VM was before it was fenced: running; empty when it is not ours."""
        with self._vm() as (vm, _vim):
            return _mark(vm)

    # ---- stopping and starting

    def fence(self, moved_to: str) -> None:
        """Note what the VM is; one that is off becomes a template at once, one that runs when it is shut down."""
        shutil.rmtree(self._folder, ignore_errors=True)  # what was fetched before may be older than the disks
        with self._vm() as (vm, vim):
            if not _mark(vm):
                pool = vm.resourcePool._moId if vm.resourcePool else ""
                _set_mark(vim, vm, json.dumps({"moved_to": moved_to, "running": vm.runtime.powerState != "poweredOff", "pool": pool}))
            if vm.runtime.powerState == "poweredOff" and not vm.config.template:
                vm.MarkAsTemplate()

    def shut_down(self, timeout_seconds: float, force: bool) -> float:
        """Stop the guest through VMware Tools in its time (hard with `force`) and make it a template; returns the seconds it took."""
        started = time.monotonic()
        with self._vm() as (vm, vim):
            if vm.runtime.powerState != "poweredOff":
                self._stop(vm, vim, timeout_seconds, force)
            if not vm.config.template:
                vm.MarkAsTemplate()
        return time.monotonic() - started

    def _stop(self, vm, vim, timeout_seconds: float, force: bool) -> None:
        with contextlib.suppress(*((vim.fault.ToolsUnavailable,) if force else ())):
            vm.ShutdownGuest()
        deadline = time.monotonic() + timeout_seconds
        while vm.runtime.powerState != "poweredOff" and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if vm.runtime.powerState != "poweredOff":
            if not force:
                raise MigrationError(f"{self.name}: the guest did not shut down within {timeout_seconds:.0f} s; it goes on running. Raise"
                                     " stop_timeout_seconds, or allow force_stop")
            self._wait(vm.PowerOffVM_Task())

    def prove_fence(self) -> str:
        """Try to start the fenced VM; returns vSphere's refusal. Raises MigrationError when it starts."""
        from pyVmomi import vmodl

        with self._vm() as (vm, _vim):
            try:
                self._wait(vm.PowerOnVM_Task())
            except (vmodl.MethodFault, MigrationError) as error:
                return f"{getattr(error, 'msg', None) or error}"
            self._wait(vm.PowerOffVM_Task())
            raise MigrationError(f"{self.name}: could be powered on although it is a template; it is off again, nothing was moved")

    def unfence(self, moved_to: str, autostart: bool) -> None:
        """Make the template a VM in its resource pool again and remove our note. Idempotent."""
        with self._vm() as (vm, vim):
            mark = _mark(vm)
            if mark and vm.config.template:
                vm.MarkAsVirtualMachine(pool=vim.ResourcePool(mark["pool"], vm._stub))
            if mark:
                _set_mark(vim, vm, "")

    def start(self) -> None:
        with self._vm() as (vm, _vim):
            if vm.runtime.powerState != "poweredOn":
                self._wait(vm.PowerOnVM_Task())

    def clean(self) -> list[str]:
        """Remove the fetched disks."""
        found = sorted(os.listdir(self._folder)) if os.path.isdir(self._folder) else []
        shutil.rmtree(self._folder, ignore_errors=True)
        return found

    # ---- exporting

    @contextlib.contextmanager
    def exporters(self, disks: tuple[DiskTask, ...], settings: Settings, port: int, generation: str, bitmap: str) -> Iterator[Callable[[], None]]:
        """Fetch the disks that are not there yet, then serve them."""
        paths = {disk.id: os.path.join(self._folder, f"{disk.id}.vmdk") for disk in disks}
        if not all(os.path.exists(path) for path in paths.values()):
            self._fetch(disks, paths)
        exports = [Export(paths[disk.id], "vmdk", export_name(generation, disk.id), settings.exporter_address, port + number,
                          tls_directory=settings.exporter_certificates) for number, disk in enumerate(disks)]
        with self._host.exporters(exports) as served:
            yield served

    def _fetch(self, disks: tuple[DiskTask, ...], paths: dict[str, str]) -> None:
        total, before = sum(disk.size_bytes for disk in disks), 0
        with contextlib.ExitStack() as stack:
            vm, vim = stack.enter_context(self._vm())
            lease, urls = stack.enter_context(self._lease(vm, vim))
            for disk in disks:
                before += self._fetch_one(disk, urls[disk.id], paths[disk.id], vm._stub, _Watch(lease, self._say, before, total))

    def _fetch_one(self, disk: DiskTask, url: str, path: str, stub, watch: _Watch) -> int:
        place = urlsplit(url.replace("*", urlsplit(self._task.vm.source).hostname or "", 1))
        headers = {"Cookie": stub.cookie} if place.hostname == urlsplit(self._task.vm.source).hostname and stub.cookie else {}
        try:
            done = download(place.geturl(), f"{path}.new", self._context(), headers, watch)
            size = stream_bytes(f"{path}.new")
        except TransferError as error:
            raise MigrationError(f"{self.name}: disk {disk.id}: {error}") from None
        if size != disk.size_bytes:
            raise MigrationError(f"{self.name}: disk {disk.id}: the export holds a disk of {size} bytes, expected {disk.size_bytes}")
        os.replace(f"{path}.new", path)
        return done

    @contextlib.contextmanager
    def _lease(self, vm, vim) -> Iterator[tuple]:
        """An export lease that is ready, with the URL of each disk; completed at the end, aborted on any error."""
        deadline = time.monotonic() + LEASE_SECONDS
        while True:
            try:
                lease = vm.ExportVm()
                break
            except vim.fault.TaskInProgress:  # the lease of a run that was killed lapses after five minutes
                if time.monotonic() > deadline:
                    raise
                self._say(phase="final", message="another task of vSphere uses the VM, waiting for its end")
                time.sleep(RETRY_SECONDS)
        try:
            while lease.state == "initializing" and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            if lease.state != "ready":
                raise MigrationError(f"{self.name}: the export lease is {lease.state}: {getattr(lease.error, 'msg', None) or 'no reason given'}")
            yield lease, self._urls(vm, lease)
        except BaseException:
            with contextlib.suppress(vim.fault.Timedout, vim.fault.InvalidState):  # it has ended by itself
                lease.HttpNfcLeaseAbort()
            raise
        lease.HttpNfcLeaseComplete()

    def _urls(self, vm, lease) -> dict[str, str]:
        """Disk to URL: by the controller's place in the lease's keys (/vm-7/ParaVirtualSCSIController0:1), else by their order."""
        offered = [item for item in lease.info.deviceUrl if item.disk]
        controllers = {device.key: device for device in vm.config.hardware.device}
        places, by_place = {item.key.rpartition("/")[2]: item.url for item in offered}, {}
        for disk in _disks(vm):
            controller = controllers[disk.controllerKey]
            by_place[f"disk{disk.key}"] = places.get(f"{type(controller).__name__.rpartition('.')[2]}{controller.busNumber}:{disk.unitNumber}")
        if all(by_place.values()):
            return by_place
        if len(offered) != len(by_place):
            raise MigrationError(f"{self.name}: the export lease offers {len(offered)} disks, the VM has {len(by_place)}")
        return dict(zip(by_place, (item.url for item in offered), strict=True))

    # ---- the connection

    def _context(self) -> ssl.SSLContext:
        path = self._task.settings.vsphere.ca_file
        try:
            return ssl.create_default_context(cafile=path or None)
        except OSError as error:
            raise MigrationError(f"vsphere.ca_file {path}: {error.strerror or error}") from None

    @contextlib.contextmanager
    def _vm(self) -> Iterator[tuple]:
        """The VM in a session of its own, so that none ends in between; what vSphere refuses becomes a MigrationError."""
        try:
            from pyVim.connect import Disconnect, SmartConnect
            from pyVmomi import vim, vmodl
        except ImportError:
            raise MigrationError(f"{self.name}: the Python library pyVmomi is missing for {sys.executable}; install pyvmomi") from None
        place = urlsplit(self._task.vm.source)
        user, password = credentials(self._task.settings)
        try:
            service = SmartConnect(host=place.hostname, port=place.port or 443, user=user, pwd=password, sslContext=self._context(), httpConnectionTimeout=60)
            try:
                vm = vim.VirtualMachine(self._task.vm.moid, service._stub)
                if (vm.config.instanceUuid or self._task.vm.moid) not in self._task.vm.id:
                    raise MigrationError(f"{self.name}: {self._task.vm.moid} is another VM by now ({vm.name}); run the assessment again")
                yield vm, vim
            finally:
                Disconnect(service)
        except vim.fault.InvalidLogin:
            raise MigrationError(f"{self._task.vm.source}: user {user} or its password is wrong") from None
        except (OSError, vmodl.MethodFault) as error:
            raise MigrationError(f"{self.name}: {self._task.vm.source}: {getattr(error, 'msg', None) or error or type(error).__name__}"[:500]) from None

    def _wait(self, task) -> None:
        deadline = time.monotonic() + TASK_SECONDS
        while task.info.state not in ("success", "error"):
            if time.monotonic() > deadline:
                raise MigrationError(f"{self.name}: vSphere's task {task.info.descriptionId} did not end within {TASK_SECONDS} s")
            time.sleep(POLL_SECONDS)
        if task.info.state == "error":
            raise MigrationError(f"{self.name}: {task.info.error.msg or type(task.info.error).__name__}")


class _Watch:
    """Keeps the lease alive and tells the progress, at most every two seconds."""

    def __init__(self, lease, say: Callable[..., None], before: int, total: int):
        self._lease, self._say, self._before, self._total, self._last = lease, say, before, total, time.monotonic()

    def __call__(self, done: int) -> None:
        if time.monotonic() - self._last >= SAY_SECONDS:
            self._last = time.monotonic()
            done += self._before
            self._lease.HttpNfcLeaseProgress(min(99, done * 100 // self._total))  # compressed: it ends below 100
            self._say(phase="final", message=f"{done / 1e9:.2f} GB fetched")


def credentials(settings: Settings) -> tuple[str, str]:
    """User and password: from the settings' file, else from the environment variables VSPHERE_USER and VSPHERE_PASSWORD."""
    user = settings.vsphere.username or os.environ.get("VSPHERE_USER", "")
    password = os.environ.get("VSPHERE_PASSWORD", "")
    if settings.vsphere.password_file:
        try:
            with open(settings.vsphere.password_file, encoding="utf-8") as file:
                password = file.read().rstrip("\r\n")
        except OSError as error:
            raise MigrationError(f"vsphere.password_file {settings.vsphere.password_file}: {error.strerror}") from None
    if not user or not password:
        raise MigrationError("vSphere needs vsphere.username and vsphere.password_file, or the environment variables VSPHERE_USER and VSPHERE_PASSWORD")
    return user, password


def _disks(vm) -> list:
    return [device for device in vm.config.hardware.device if type(device).__name__.rpartition(".")[2] == "VirtualDisk"]


def _mark(vm) -> dict:
    found = next((item.value for item in vm.config.extraConfig or [] if item.key == MARK), "")
    return json.loads(found) if found else {}


def _set_mark(vim, vm, text: str) -> None:
    task = vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key=MARK, value=text)]))
    deadline = time.monotonic() + TASK_SECONDS
    while task.info.state not in ("success", "error") and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    if task.info.state != "success":
        raise MigrationError(f"{vm.name}: vSphere did not take our note: {getattr(task.info.error, 'msg', None) or task.info.state}")
