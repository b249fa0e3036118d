# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live libvirt through libvirt-python: every domain's XML, state, disk sizes and the identity of passed-through devices."""
from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, HostDevice, LegacyVm
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.marks import unmarked

from . import libvirt as libvirt_xml
from .errors import IntakeError
from .xmltree import parse

STATES = {0: "unknown", 1: "running", 2: "running", 3: "paused", 4: "running", 5: "off", 6: "crashed", 7: "suspended"}


def read(uri: str, accepted: Iterable[str] = ()) -> list[LegacyVm]:
    """Read all domains of a libvirt connection, read-only; raises IntakeError when it can't be reached."""
    try:
        import libvirt
    except ImportError:
        raise IntakeError(f"{uri}: the Python library libvirt-python is missing for {sys.executable}; install it or Debian's python3-libvirt") from None
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    try:
        connection = libvirt.openReadOnly(uri)
    except libvirt.libvirtError as error:
        raise _refusal(uri, error) from None
    try:
        return [_domain(libvirt, connection, domain, uri, accepted) for domain in sorted(connection.listAllDomains(), key=lambda d: d.name())]
    except libvirt.libvirtError as error:
        raise _refusal(uri, error) from None
    finally:
        connection.close()


def _refusal(uri: str, error: Exception) -> IntakeError:
    """Return the last line of libvirt's message: before it stands a banner where ssh refuses a host's key."""
    lines = [line.strip() for line in error.get_error_message().splitlines() if line.strip()]
    return IntakeError(f"{uri}: {lines[-1] if lines else 'no reason given'}"[:600])


def _domain(libvirt, connection, domain, uri: str, accepted: Iterable[str]) -> LegacyVm:
    raw, before = unmarked(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))  # a migrated VM is reported as what it was
    vm = libvirt_xml.from_node(parse(raw.encode(), f"{uri}: {domain.name()}"), uri, accepted)
    return dataclasses.replace(
        vm, power_state=before.get("power") or STATES.get(domain.state()[0], "unknown"),
        autostart=before["autostart"] == "yes" if before else bool(domain.autostart()), host=connection.getHostname(),
        snapshots=sorted(domain.snapshotListNames()) if domain.snapshotNum() else [],
        disks=[_sized(libvirt, domain, _located(libvirt, connection, disk)) for disk in vm.disks],
        host_devices=[_identified(libvirt, connection, device) for device in vm.host_devices])


def _located(libvirt, connection, disk: Disk) -> Disk:
    """Return a volume of a storage pool with its path on the host; a pool that is not active leaves it as it is."""
    pool, _slash, volume = disk.source.partition("/")
    if disk.source_kind != "volume" or not volume:
        return disk
    try:
        path = connection.storagePoolLookupByName(pool).storageVolLookupByName(volume).path()
    except libvirt.libvirtError:
        return disk
    return dataclasses.replace(disk, source=path, source_kind="block" if path.startswith("/dev/") else "file")


def _sized(libvirt, domain, disk: Disk) -> Disk:
    if disk.device not in ("disk", "lun") or not disk.source:
        return disk
    try:
        return dataclasses.replace(disk, size_bytes=domain.blockInfo(disk.id)[0] or None)
    except libvirt.libvirtError:
        return disk


def _identified(libvirt, connection, device: HostDevice) -> HostDevice:
    """Ask the node device driver for vendor, product and mediated type; devices it does not know stay as the XML says."""
    name = {"pci": f"pci_{device.address.replace(':', '_').replace('.', '_')}",
            "mdev": f"mdev_{device.address.replace('-', '_')}"}.get(device.kind, "")
    if not name:
        return device
    try:
        root = parse(connection.nodeDeviceLookupByName(name).XMLDesc(0).encode(), name)
    except libvirt.libvirtError:
        return device
    values: dict[str, str] = {}
    for capability in (child for child in root.children if child.tag == "capability"):
        for child in capability.children:
            if child.tag in ("vendor", "product"):
                values[f"{child.tag}_id"] = child.attributes.get("id", "").lower().removeprefix("0x")
            elif child.tag == "type" and device.kind == "mdev":
                values["profile"] = child.attributes.get("id", "")
    return dataclasses.replace(device, **values)
