# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A libvirt domain as a source: checkpoints and pull backups while it runs, shutdown, fence, and the way back."""
from __future__ import annotations

import functools
import sys
import time

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.marks import FENCE_DIRECTORY, METADATA_KEY, METADATA_URI, metadata, unmarked
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.domain_disks import FENCE_TARGET, domain_disks, sized_bitmaps
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.errors import MigrationError, SourceChanged
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.hypervisor import Host
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import DiskTask, Settings
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.plan_steps import export_name
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.source_facts import SourceDisk, SourceFacts
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.exporter import Export

OURS = "tandem-"
_END_SECONDS = 60
_BITMAP_GONE = ("missing or broken bitmap", "inconsistent", "Bitmaps are of different sizes", "different size", "does not exist",
                "checkpoint", "bitmap")


def connect(uri: str):
    """Open a libvirt connection; raises MigrationError naming the URI, or the missing library and the interpreter."""
    try:
        import libvirt
    except ImportError:
        raise MigrationError(f"the Python library libvirt-python is missing for {sys.executable}; needed to reach {uri}") from None
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors come as exceptions; nothing goes to standard error
    try:
        return libvirt.open(uri)
    except libvirt.libvirtError as error:
        raise MigrationError(f"{uri}: {error.get_error_message()}") from None


def _guarded(cls):
    """Turn what libvirt refuses in any public method into a MigrationError of one sentence."""
    def guard(method):
        @functools.wraps(method)
        def call(self, *args, **kwargs):
            try:
                return method(self, *args, **kwargs)
            except self._libvirt.libvirtError as error:
                raise MigrationError(f"{self.name}: {method.__name__.replace('_', ' ')}: {error.get_error_message()}") from None
        return call

    for name, method in list(vars(cls).items()):
        if callable(method) and not name.startswith("_"):
            setattr(cls, name, guard(method))
    return cls


@_guarded
class LibvirtSource:
    """One domain, found by UUID (or name); every method raises MigrationError with one sentence."""

    ready_seconds = 120.0  # from the end of the source to exporters that answer

    def __init__(self, connection, uuid: str, name: str, host: Host, scratch_directory: str):
        import libvirt
        self._libvirt, self._host = libvirt, host
        try:
            self._domain = connection.lookupByUUIDString(uuid) if uuid else connection.lookupByName(name)
        except libvirt.libvirtError as error:
            raise MigrationError(f"{name}: {connection.getURI()} does not have it: {error.get_error_message()}") from None
        self.name = name
        self._scratch = f"{scratch_directory}/tandem-{self._domain.UUIDString()}-"  # how the paths of a backup's own files begin

    # ---- looking

    def facts(self) -> SourceFacts:
        """Read the domain; a transient one is refused because it would vanish with its shutdown."""
        if not self._domain.isPersistent():
            raise MigrationError(f"{self.name}: the domain is transient and would vanish when it stops; define it (virsh define) first")
        running = bool(self._domain.isActive())
        disks = tuple(self._disks())
        raw = [disk.target for disk in disks if disk.format != "qcow2"]
        foreign = [item for item in self._checkpoints() if not item.startswith(OURS)]
        refused = ""
        if raw:
            refused = f"disk {', '.join(raw)} is not qcow2, only that keeps dirty bitmaps"
        elif foreign:
            refused = f"checkpoint {foreign[0]} of another tool exists"
        return SourceFacts(running, bool(self._domain.autostart()), self.fenced(), disks, refused)

    def _disks(self):
        for disk in domain_disks(self._domain.XMLDesc(0)):
            try:
                size = self._domain.blockInfo(disk.target)[0]
            except self._libvirt.libvirtError as error:
                raise MigrationError(f"{self.name}: disk {disk.target} ({disk.path}): {error.get_error_message()}") from None
            yield SourceDisk(disk.target, disk.path, disk.format, size)

    def _checkpoints(self) -> list[str]:
        return [item.getName() for item in self._domain.listAllCheckpoints()]

    # ---- copying while it runs

    def backup_runs(self, checkpoint: str) -> bool:
        """Whether a pull backup runs that began with this checkpoint; it outlives the run that started it."""
        return checkpoint in self._checkpoints() and bool(self._backup())

    def knows(self, checkpoint: str) -> bool:
        """Whether the source still records what changed since this checkpoint of ours, in the files that it has now."""
        return bool(checkpoint) and checkpoint in self._checkpoints() and self._same_files(checkpoint) and self._bitmaps_whole(checkpoint)

    def only_checkpoint_is(self, checkpoint: str) -> bool:
        """Whether this checkpoint's bitmap holds all changes by itself: it is the only one, and no snapshot moved the writes elsewhere."""
        return self._checkpoints() == [checkpoint] and self._same_files(checkpoint) and self._bitmaps_whole(checkpoint)

    def _same_files(self, checkpoint: str) -> bool:
        """Whether the domain writes to the files to which it wrote at the checkpoint; after a snapshot it writes to an overlay."""
        then = self._domain.checkpointLookupByName(checkpoint).getXMLDesc(0)
        return domain_disks(then) == domain_disks(self._domain.XMLDesc(0))

    def _bitmaps_whole(self, checkpoint: str) -> bool:
        """Whether every disk still has the checkpoint's bitmap: QEMU writes it down only when it closes the disk, so a killed one takes it along.

        libvirt goes on listing the checkpoint as if nothing had happened.
        """
        if not self._domain.isActive():
            return self._host.hold_bitmap([disk.path for disk in self._disks()], checkpoint)
        xml = self._domain.checkpointLookupByName(checkpoint).getXMLDesc(self._libvirt.VIR_DOMAIN_CHECKPOINT_XML_SIZE)
        return sized_bitmaps(xml)

    def begin_backup(self, checkpoint: str, previous: str, address: str, port: int, targets: list[str]) -> None:
        """Freeze all disks at one moment and export them over NBD with TLS; the changes since `previous` as bitmap `dirty`.

        The files that take up what the guest overwrites meanwhile are made beforehand: a QEMU that makes them itself crashes when monitoring asks
        about its disks at that moment (seen with 7.2). Raises SourceChanged when libvirt no longer has the bitmap of `previous`.
        """
        self.end_backup()
        if checkpoint in self._checkpoints():  # left by a killed run; what it tracked is covered by `previous` or a full copy
            self._delete_checkpoint(checkpoint)
        scratch = f"{self._scratch}{time.time_ns():x}-"
        self._host.create_images([(scratch + disk.target, disk.size_bytes, disk.path) for disk in self._disks() if disk.target in targets])
        incremental = f"<incremental>{previous}</incremental>" if previous else ""
        bitmap = " exportbitmap='dirty'" if previous else ""
        disks = "".join(
            f"<disk name='{target}' backup='yes' type='file' exportname='{export_name(checkpoint, target)}'{bitmap}>"
            f"<scratch file='{scratch}{target}'/></disk>" for target in targets)
        backup = (f"<domainbackup mode='pull'>{incremental}<server transport='tcp' name='{address}' port='{port}' tls='yes'/>"
                  f"<disks>{disks}</disks></domainbackup>")
        marks = "".join(f"<disk name='{target}' checkpoint='bitmap'/>" for target in targets)
        point = f"<domaincheckpoint><name>{checkpoint}</name><disks>{marks}</disks></domaincheckpoint>"
        try:
            self._domain.backupBegin(backup, point, self._libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL)
        except self._libvirt.libvirtError as error:
            self._host.remove_files(scratch)
            text = error.get_error_message()
            kind = SourceChanged if previous and any(mark in text for mark in _BITMAP_GONE) else MigrationError
            raise kind(f"{self.name}: no backup of the running VM: {text}") from None

    def end_backup(self) -> None:
        """End a pull backup and remove its own files; none is fine. A backup of another tool is never ended: it is refused."""
        deadline = time.monotonic() + _END_SECONDS
        while description := self._backup():
            if "/tandem-" not in description:
                raise MigrationError(f"{self.name}: a backup of another tool runs on it; wait for its end")
            if time.monotonic() > deadline:
                raise MigrationError(f"{self.name}: its backup does not end within {_END_SECONDS} s")
            try:
                self._domain.abortJob()
            except self._libvirt.libvirtError as error:
                if error.get_error_code() != self._libvirt.VIR_ERR_OPERATION_INVALID:  # it is ending already
                    raise MigrationError(f"{self.name}: its backup does not end: {error.get_error_message()}") from None
            time.sleep(0.05)
        self._host.remove_files(self._scratch)

    def _backup(self) -> str:
        try:
            return self._domain.backupGetXMLDesc() if self._domain.isActive() else ""
        except self._libvirt.libvirtError as error:
            if error.get_error_code() in (self._libvirt.VIR_ERR_NO_DOMAIN_BACKUP, self._libvirt.VIR_ERR_OPERATION_INVALID):
                return ""
            raise MigrationError(f"{self.name}: {error.get_error_message()}") from None

    def drop_checkpoints(self, keep: str = "") -> None:
        """Remove our checkpoints but `keep`; what they tracked is merged into the one before."""
        for name in self._checkpoints():
            if name.startswith(OURS) and name != keep:
                self._delete_checkpoint(name)

    def exporters(self, disks: tuple[DiskTask, ...], settings: Settings, port: int, generation: str, bitmap: str):
        """A context in which the stopped disks are exported, one after the other from `port` on; `bitmap` is exported with them."""
        paths = {disk.target: disk for disk in self._disks()}
        return self._host.exporters([
            Export(paths[disk.id].path, paths[disk.id].format, export_name(generation, disk.id), settings.exporter_address, port + number,
                   tls_directory=settings.exporter_certificates, bitmap=bitmap) for number, disk in enumerate(disks)])

    def clean(self) -> list[str]:
        """Remove our checkpoints and, from the files of a stopped domain, their bitmaps; returns what was removed."""
        names = [name for name in self._checkpoints() if name.startswith(OURS)]
        self.drop_checkpoints()
        if not self._backup():
            self._host.remove_files(self._scratch)
        removed = [] if self._domain.isActive() else [
            f"{name} of {disk.target}" for disk in self._disks() if disk.format == "qcow2" for name in self._host.remove_bitmaps(disk.path, OURS)]
        return removed or names

    def _delete_checkpoint(self, name: str) -> None:
        checkpoint = self._domain.checkpointLookupByName(name)
        metadata_only = self._libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY
        try:
            checkpoint.delete(0 if self._domain.isActive() else metadata_only)
        except self._libvirt.libvirtError:
            checkpoint.delete(metadata_only)  # its bitmap is broken or gone; only libvirt's record of it is left

    # ---- stopping and the fence

    def fenced(self) -> bool:
        """Whether the definition holds our fence device."""
        return FENCE_DIRECTORY in self._domain.XMLDesc(self._libvirt.VIR_DOMAIN_XML_INACTIVE)

    def before(self) -> dict[str, bool]:
        """What a fenced domain was before (running, autostart), from its own metadata; empty when it is not fenced."""
        _xml, remembered = unmarked(self._domain.XMLDesc(self._libvirt.VIR_DOMAIN_XML_INACTIVE))
        return {"running": remembered["power"] == "running", "autostart": remembered["autostart"] == "yes"} if remembered else {}

    def fence(self, moved_to: str) -> None:
        """Switch autostart off and add a disk whose file can't exist to the definition: libvirt then refuses every start and names the file.

        Works while the domain runs, which is not disturbed. What it was is remembered in its metadata.
        """
        if not self.fenced():
            state = "running" if self._domain.isActive() else "off"
            self._remember(metadata(state, bool(self._domain.autostart())))
            self._domain.attachDeviceFlags(_fence_device(moved_to), self._libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        self._domain.setAutostart(0)

    def unfence(self, moved_to: str, autostart: bool) -> None:
        """Take our marks off the definition and restore autostart."""
        if self.fenced():
            self._domain.detachDeviceFlags(_fence_device(moved_to), self._libvirt.VIR_DOMAIN_AFFECT_CONFIG)
            self._remember(None)
        self._domain.setAutostart(int(autostart))

    def _remember(self, element: str | None) -> None:
        self._domain.setMetadata(self._libvirt.VIR_DOMAIN_METADATA_ELEMENT, element, METADATA_KEY, METADATA_URI, self._libvirt.VIR_DOMAIN_AFFECT_CONFIG)

    def prove_fence(self) -> str:
        """Try to start the fenced, stopped domain; returns libvirt's refusal, which names the fence unless it fails for another reason first.

        Raises MigrationError if libvirt lets it start (it is then stopped at once).
        """
        if not self.fenced():
            raise MigrationError(f"{self.name}: its definition does not hold our fence any more")
        try:
            self._domain.createWithFlags(self._libvirt.VIR_DOMAIN_START_PAUSED)
        except self._libvirt.libvirtError as error:
            return error.get_error_message()
        self._domain.destroy()
        raise MigrationError(f"{self.name}: libvirt starts the fenced domain; it was stopped again, nothing ran in it")

    def running(self) -> bool:
        return bool(self._domain.isActive())

    def shut_down(self, timeout_seconds: float, force: bool) -> float:
        """Ask the guest to power off (agent, then ACPI) and wait; returns seconds. Raises MigrationError at the end of the time."""
        started = time.monotonic()
        asked = 0.0
        while self._domain.isActive():
            now = time.monotonic()
            if now - started > timeout_seconds:
                if not force:
                    raise MigrationError(f"{self.name}: did not shut down within {timeout_seconds:.0f} s and goes on running; raise the time,"
                                         " shut it down by hand, or allow a forced stop")
                self._domain.destroyFlags(self._libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
            elif now - asked > 10:  # a guest that still boots ignores the first press of the button
                asked = now
                self._press()
            time.sleep(0.05)
        return time.monotonic() - started

    def _press(self) -> None:
        for flag in (self._libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT, self._libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN):
            try:
                self._domain.shutdownFlags(flag)
                return
            except self._libvirt.libvirtError:
                if not self._domain.isActive():
                    return

    def start(self) -> None:
        """Start the domain; running already is fine."""
        if not self._domain.isActive():
            try:
                self._domain.create()
            except self._libvirt.libvirtError as error:
                raise MigrationError(f"{self.name}: did not start at the source: {error.get_error_message()}") from None


def _fence_device(moved_to: str) -> str:
    return (f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{FENCE_DIRECTORY}/moved-to-{moved_to}'/>"
            f"<target dev='{FENCE_TARGET}' bus='virtio'/><readonly/></disk>")
