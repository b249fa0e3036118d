# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guest operating systems: identifiers of libosinfo, VMware and CIM to a family and a preference of common-instancetypes."""
from __future__ import annotations

from .ledger import Cursor

_LINUX = ("linux", "ubuntu", "debian", "rhel", "centos", "fedora", "sles", "suse", "sled", "oracle", "photon", "coreos", "rocky", "alma",
          "alpine", "arch", "gentoo", "mandrake", "mandriva", "turbo", "asianux", "amazon", "crxpod", "mageia", "altlinux", "cirros")
_BSD = ("freebsd", "openbsd", "netbsd", "dragonfly")
_OTHERS = {"darwin": "macos", "macos": "macos", "solaris": "solaris", "netware": "netware", "os2": "os2", "vmkernel": "esxi",
           "unixware": "unix", "openserver": "unix", "dos": "dos", "eCom": "os2"}


def libosinfo(domain: Cursor) -> str:
    """Return the libosinfo identifier from a domain's metadata, or an empty string."""
    metadata = domain.child("metadata")
    os = metadata and metadata.child("libosinfo:libosinfo", "libosinfo:os")
    return os.attr("id", "os_id") if os else ""


def family(os_id: str) -> str:
    """Return linux, windows, bsd, another family's name, or an empty string when the identifier tells nothing."""
    text = os_id.lower().replace("_64", "").removeprefix("http://").removeprefix("https://")
    if "win" in text.replace("darwin", "") or "microsoft" in text or text.startswith("longhorn"):
        return "windows"
    if any(word in text for word in _BSD):
        return "bsd"
    for word, name in _OTHERS.items():
        if word.lower() in text:
            return name
    return "linux" if any(word in text for word in _LINUX) else ""


# CIM_OperatingSystem.OsType (DMTF CIM schema 2.x): ranges by family.
_CIM = ((36, 36, "linux"), (79, 85, "linux"), (88, 100, "linux"), (106, 114, "linux"), (42, 42, "bsd"), (78, 78, "bsd"),
        (14, 18, "windows"), (57, 59, "windows"), (63, 77, "windows"), (103, 105, "windows"), (115, 116, "windows"), (29, 30, "solaris"),
        (69, 77, "windows"), (21, 21, "netware"), (86, 87, "netware"))


def cim_family(number: str) -> str:
    """Return the family for a CIM OsType number, or an empty string."""
    if not number.isdigit() or len(number) > 4:
        return ""
    return next((name for low, high, name in _CIM if low <= int(number) <= high), "")
