# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks that a libvirt definition names."""
from __future__ import annotations

from dataclasses import dataclass

FENCE_TARGET = "vdzz"  # the disk that keeps a fenced domain from starting; none of the guest's


@dataclass(frozen=True)
class DomainDisk:
    """A disk of the guest: its name there, and the file, device or volume behind it."""

    target: str
    path: str
    format: str


def domain_disks(xml: str) -> list[DomainDisk]:
    """The guest's disks in the XML of a domain, or in the domain that the XML of a checkpoint holds."""
    from defusedxml import ElementTree

    root, found = ElementTree.fromstring(xml), []
    for disk in (root if root.tag == "domain" else root.find("domain")).iterfind("devices/disk"):
        source, target, driver = disk.find("source"), disk.find("target").get("dev"), disk.find("driver")
        if disk.get("device", "disk") == "disk" and source is not None and target != FENCE_TARGET:
            path = source.get("file") or source.get("dev") or source.get("volume") or ""
            found.append(DomainDisk(target, path, driver.get("type", "raw") if driver is not None else "raw"))
    return found


def sized_bitmaps(xml: str) -> bool:
    """Whether the XML of a checkpoint, asked for with sizes, has one for every bitmap: libvirt leaves out that of a bitmap that is gone or broken."""
    from defusedxml import ElementTree

    return all(disk.get("size") for disk in ElementTree.fromstring(xml).iterfind("disks/disk[@checkpoint='bitmap']"))
