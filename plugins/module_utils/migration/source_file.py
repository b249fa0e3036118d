# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disk files as a source: a VM that exists only as files (qcow2, raw, VMDK, a member of an OVA) and runs nowhere."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.migration.hypervisor import Host
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import DiskTask, Settings, VmTask
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.plan_steps import export_name
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.source_facts import SourceDisk, SourceFacts
from ansible_collections.tandem.hybrid.plugins.module_utils.transfer.exporter import Export


class FileSource:
    """The files of one VM; nothing of it can run, so there is nothing to stop, fence or give back."""

    ready_seconds = 120.0  # from the end of the source to exporters that answer

    def __init__(self, task: VmTask, host: Host):
        self._task, self._host = task, host

    def facts(self) -> SourceFacts:
        """The disks as the estate has them, after a look whether their files can be read."""
        for disk in self._task.disks:
            self._host.must_exist(disk.source)
        disks = tuple(SourceDisk(disk.id, disk.source, disk.format, disk.size_bytes) for disk in self._task.disks)
        return SourceFacts(False, False, False, disks)

    def exporters(self, disks: tuple[DiskTask, ...], settings: Settings, port: int, generation: str, bitmap: str):
        return self._host.exporters([
            Export(disk.source, disk.format or "raw", export_name(generation, disk.id), settings.exporter_address, port + number,
                   tls_directory=settings.exporter_certificates, bitmap=bitmap, member=disk.member) for number, disk in enumerate(disks)])

    def running(self) -> bool:
        return False

    def fenced(self) -> bool:
        return True

    def before(self) -> dict:
        """No marks are left on files."""
        return {}

    def knows(self, _checkpoint: str) -> bool:
        return False

    def only_checkpoint_is(self, _checkpoint: str) -> bool:
        return False

    def shut_down(self, _timeout_seconds: float, _force: bool) -> float:
        return 0.0

    def fence(self, moved_to: str) -> None:
        """Nothing could start it."""

    def unfence(self, moved_to: str, autostart: bool) -> None:
        """Nothing was fenced."""

    def prove_fence(self) -> str:
        return "there is nothing that could be started"

    def start(self) -> None:
        """It never ran."""

    def end_backup(self) -> None:
        """There is none."""

    def clean(self) -> list[str]:
        return []
