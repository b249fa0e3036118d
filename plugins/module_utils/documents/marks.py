# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marks that a migration leaves on a source, which a later assessment must see through: the VM is still what it was."""
from __future__ import annotations

import re

FENCE_DIRECTORY = "/tandem-fence"
METADATA_KEY = "tandem"
METADATA_URI = "https://tandem.hybrid/source/v1"
VSPHERE_KEY = "tandem.hybrid.before"  # in the extraConfig of a VM of vSphere, whose fence is to be a template
_DISK = re.compile(r"[ \t]*<disk\b(?:(?!</disk>)[\s\S])*?" + re.escape(FENCE_DIRECTORY) + r"/[\s\S]*?</disk>\n?")
_OWN = re.compile(r"[ \t]*<" + METADATA_KEY + r":source\b[^>]*/>\n?")
_EMPTY = re.compile(r"[ \t]*<metadata>\s*</metadata>\n?|[ \t]*<metadata/>\n?")


def metadata(power_state: str, autostart: bool) -> str:
    """The element that remembers what the domain was before it was fenced."""
    return f"<source power='{power_state}' autostart='{'yes' if autostart else 'no'}'/>"


def unmarked(xml: str) -> tuple[str, dict[str, str]]:
    """A domain's XML without our marks, and what they remember (power, autostart); empty when there are none."""
    found = _OWN.search(xml)
    if not found:
        return xml, {}
    remembered = dict(re.findall(r"(\w+)=['\"](\w+)['\"]", found.group()))
    return _EMPTY.sub("", _DISK.sub("", _OWN.sub("", xml))), remembered
