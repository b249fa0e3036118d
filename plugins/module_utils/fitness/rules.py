# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest needs to boot from a bus of KubeVirt, as data."""
from __future__ import annotations

READY, REBUILD, CONVERT, UNKNOWN = "ready", "rebuild", "convert", "unknown"

# Drivers of Linux, and the option of its kernel's configuration that builds each in.
DRIVERS = {
    "virtio_pci": "VIRTIO_PCI", "virtio_blk": "VIRTIO_BLK", "virtio_scsi": "SCSI_VIRTIO", "sd_mod": "BLK_DEV_SD", "ahci": "SATA_AHCI",
    "usb_storage": "USB_STORAGE", "xhci_pci": "USB_XHCI_PCI", "virtio_net": "VIRTIO_NET", "e1000e": "E1000E"}
# Bus to the drivers that must be built in, or in the initramfs, before the root file system can be mounted. Network drivers can wait.
LINUX = {"virtio": ("virtio_pci", "virtio_blk"), "scsi": ("virtio_pci", "virtio_scsi", "sd_mod"), "sata": ("ahci", "sd_mod"),
         "usb": ("xhci_pci", "usb_storage", "sd_mod")}
# A Windows that boots from another bus today starts no virtio driver at boot, even where one is installed.
WINDOWS = {
    "virtio": (CONVERT, "Windows has no driver of its own for virtio disks"),
    "scsi": (CONVERT, "Windows has no driver of its own for virtio's SCSI"),
    "sata": (READY, "Windows has its own driver for SATA"),
    "usb": (UNKNOWN, "whether Windows starts from USB is not known")}
EVERYWHERE = "sata"  # the bus that most guests have a driver for
