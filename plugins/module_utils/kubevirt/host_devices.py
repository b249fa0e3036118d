# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices of the host in a VirtualMachine: the resource each one asks for and what KubeVirt has to permit."""
from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import HostDevice, LegacyVm
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu import pci_names

from .errors import RenderError
from .maps import Maps


@dataclass(frozen=True)
class Placed:
    """A host device on the target: the list it goes to, its resource, and the entry of permittedHostDevices (list name and content)."""

    device: HostDevice
    section: str
    resource: str
    permit: tuple[str, dict]


def place(vm: LegacyVm, device: HostDevice, maps: Maps, resource: str = "") -> Placed:
    """Decide how a host device is asked for; a rule of the device map or the plan's resource wins over the computed name."""
    rule = maps.device(device)
    vendor, _colon, product = (rule.vendor_product if rule else "").lower().partition(":")
    vendor, product = device.vendor_id or vendor, device.product_id or product
    planned = resource if not vendor or device.kind in ("vgpu", "mdev") or pci_names.is_gpu(vendor) else ""
    named = planned or (rule.resource if rule else "")
    if device.kind in ("vgpu", "mdev"):
        if not named and not (device.kind == "vgpu" and device.profile):
            raise RenderError(_unknown(vm, device, "the vGPU type behind the mediated device"))
        name = named or pci_names.vgpu_resource(device.profile)
        kind = pci_names.vgpu_type(device.profile) if device.kind == "vgpu" and device.profile else name.rpartition("/")[2].replace("_", " ")
        return Placed(device, "gpus", name, ("mediatedDevices", _entry({"mdevNameSelector": kind}, name)))
    if device.kind == "usb" and vendor and product:
        name = named or f"tandem.hybrid/usb-{vendor}-{product}"
        return Placed(device, "hostDevices", name,
                      ("usb", {"resourceName": name, "selectors": [{"vendor": vendor, "product": product}]}))
    if device.kind not in ("pci", "sriov"):
        raise RenderError(f"{vm.name}: host device {device.id} of kind {device.kind or 'unknown'} has no counterpart on KubeVirt; remove it")
    if not named and not (vendor and product):
        raise RenderError(_unknown(vm, device, "vendor and product"))
    name = named or pci_names.passthrough_resource(vendor, product)
    gpu = pci_names.is_gpu(vendor) or name.startswith(("nvidia.com/", "amd.com/"))
    selector = {"pciVendorSelector": f"{vendor}:{product}".upper()} if vendor and product else {}
    return Placed(device, "gpus" if gpu else "hostDevices", name, ("pciHostDevices", _entry(selector, name)))


def _entry(selector: dict, resource: str) -> dict:
    entry = {**selector, "resourceName": resource}
    if resource.startswith(("nvidia.com/", "amd.com/")):
        entry["externalResourceProvider"] = True
    return entry


def _unknown(vm: LegacyVm, device: HostDevice, what: str) -> str:
    return (f"{vm.name}: host device {device.id} at {device.address or 'an unknown address'}: {what} can't be told from the descriptor; "
            f"add a rule to the device map, for example {{source: '{device.address or '*'}', resource: nvidia.com/NAME}}")
