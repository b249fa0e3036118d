# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of passthrough devices as NVIDIA's KubeVirt device plugin advertises them: computed from the names of pci.ids."""
from __future__ import annotations

import re

# Vendor 10de; pci.ids (pci-ids.ucw.cz, 3-clause BSD or GPL): data centre and workstation GPUs that are passed to VMs.
NVIDIA = {
    "102d": "GK210GL [Tesla K80]",
    "13bd": "GM107GL [Tesla M10]",
    "13f2": "GM204GL [Tesla M60]",
    "1431": "GM206GL [Tesla M4]",
    "15f7": "GP100GL [Tesla P100 PCIe 12GB]",
    "15f8": "GP100GL [Tesla P100 PCIe 16GB]",
    "15f9": "GP100GL [Tesla P100 SXM2 16GB]",
    "17fd": "GM200GL [Tesla M40]",
    "1af1": "GA100 [A100 NVSwitch]",
    "1b38": "GP102GL [Tesla P40]",
    "1bb3": "GP104GL [Tesla P4]",
    "1db1": "GV100GL [Tesla V100 SXM2 16GB]",
    "1db2": "GV100GL [Tesla V100 DGXS 16GB]",
    "1db3": "GV100GL [Tesla V100 FHHL 16GB]",
    "1db4": "GV100GL [Tesla V100 PCIe 16GB]",
    "1db5": "GV100GL [Tesla V100 SXM2 32GB]",
    "1db6": "GV100GL [Tesla V100 PCIe 32GB]",
    "1db7": "GV100GL [Tesla V100 DGXS 32GB]",
    "1db8": "GV100GL [Tesla V100 SXM3 32GB]",
    "1df5": "GV100GL [Tesla V100 SXM2 16GB]",
    "1df6": "GV100GL [Tesla V100S PCIe 32GB]",
    "1e30": "TU102GL [Quadro RTX 6000/8000]",
    "1e36": "TU102GL [Quadro RTX 6000]",
    "1e38": "TU102GL [Tesla T40 24GB]",
    "1e78": "TU102GL [Quadro RTX 6000/8000]",
    "1eb8": "TU104GL [Tesla T4]",
    "1ff2": "TU117GL [T400 4GB]",
    "20b0": "GA100 [A100 SXM4 40GB]",
    "20b1": "GA100 [A100 PCIe 40GB]",
    "20b2": "GA100 [A100 SXM4 80GB]",
    "20b3": "GA100 [A100-SXM-64GB]",
    "20b5": "GA100 [A100 PCIe 80GB]",
    "20b7": "GA100GL [A30 PCIe]",
    "20b8": "GA100 [A100X]",
    "20b9": "GA100 [A30X]",
    "20f0": "GA100 [A100-PG506-207]",
    "20f1": "GA100 [A100 PCIe 40GB]",
    "20f2": "GA100 [A100-PG506-217]",
    "20f3": "GA100 [A800-SXM4-80GB]",
    "20f5": "GA100 [A800 80GB PCIe]",
    "20f6": "GA100 [A800 40GB PCIe]",
    "20fd": "GA100 [A100T]",
    "2230": "GA102GL [RTX A6000]",
    "2231": "GA102GL [RTX A5000]",
    "2235": "GA102GL [A40]",
    "2236": "GA102GL [A10]",
    "2237": "GA102GL [A10G]",
    "2313": "GH100 [H100 CNX]",
    "2322": "GH100 [H800 PCIe]",
    "2324": "GH100 [H800]",
    "2330": "GH100 [H100 SXM5 80GB]",
    "2331": "GH100 [H100 PCIe]",
    "2336": "GH100 [H100]",
    "2339": "GH100 [H100]",
    "24b0": "GA104GL [RTX A4000]",
    "25b6": "GA107GL [A2 / A16]",
    "26b5": "AD102GL [L40]",
    "26b8": "AD102GL [L40G]",
    "26b9": "AD102GL [L40S]",
    "27b8": "AD104GL [L4]",
}
_GPU_VENDORS = {"10de": "nvidia.com", "1002": "amd.com"}


def plugin_name(pci_name: str) -> str:
    """Return a pci.ids name as the plugin spells it: `/`, `.` and blanks become `_`, other punctuation goes, all in upper case."""
    return re.sub(r"[^A-Z0-9_]+", "", re.sub(r"[/.]|\s+", "_", pci_name.strip().upper()))


def is_gpu(vendor_id: str) -> bool:
    """Tell whether a PCI vendor's passed-through devices are taken for GPUs."""
    return vendor_id.lower() in _GPU_VENDORS


def passthrough_resource(vendor_id: str, product_id: str, pci_name: str = "") -> str:
    """Return the extended resource of a whole device; one of our own name where the vendor's plugin would not serve it."""
    vendor, product = vendor_id.lower(), product_id.lower()
    name = pci_name or (NVIDIA.get(product, "") if vendor == "10de" else "")
    if vendor == "10de" and name:
        return f"nvidia.com/{plugin_name(name)}"
    if vendor == "1002":
        return "amd.com/gpu"
    return f"tandem.hybrid/pci-{vendor}-{product}"


def vgpu_resource(profile: str) -> str:
    """Return the extended resource of an NVIDIA vGPU type; blanks become `_`, VMware's `grid_a100-8c` is `GRID A100-8C`."""
    return f"nvidia.com/{vgpu_type(profile).replace(' ', '_')}"


def vgpu_type(profile: str) -> str:
    """Return the vGPU type's own name for a profile as VMware or NVIDIA write it."""
    text = profile.strip()
    if text.lower().startswith(("grid_", "nvidia_")):
        head, _bar, tail = text.partition("_")
        return f"{head.upper()} {tail.upper()}"
    return text
