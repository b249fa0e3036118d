# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that Kubernetes accepts: RFC 1123 labels, at most 63 characters, unique, and the same every time."""
from __future__ import annotations

import dataclasses
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import LegacyVm

LENGTH = 63
_SUFFIX = 6


def label(text: str, length: int = LENGTH) -> str:
    """Return text as an RFC 1123 label, or an empty string when no letter or digit is left; the cut never ends in a dash."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:length].strip("-")


def target_names(vms: Iterable[LegacyVm]) -> list[LegacyVm]:
    """Give every VM a target name: its own as a label, with a digest of its id where that is not unique, cut short or empty."""
    vms = list(vms)
    wanted = [label(vm.name) for vm in vms]
    counts = Counter(wanted)
    taken: set[str] = set()
    out = []
    for vm, name in sorted(zip(vms, wanted, strict=True), key=lambda pair: pair[0].id):
        lossy = len(label(vm.name, 10_000)) > LENGTH or not name
        final = name if counts[name] == 1 and not lossy else _with_digest(name, vm.id)
        number = 0
        while final in taken:
            number += 1
            final = _with_digest(name, f"{vm.id}#{number}")
        taken.add(final)
        out.append(dataclasses.replace(vm, target_name=final))
    return out


def _with_digest(name: str, key: str) -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()[:_SUFFIX]
    return f"{name[: LENGTH - _SUFFIX - 1].strip('-') or 'vm'}-{digest}"


def serial(text: str, key: str) -> str:
    """Return a disk serial KubeVirt admits (letters, digits, `_.+-`, at most 256): the source's own, else 20 digits of a digest of `key`."""
    if re.fullmatch(r"[A-Za-z0-9_.+-]{1,256}", text):
        return text
    return hashlib.sha256(key.encode()).hexdigest()[:20]
