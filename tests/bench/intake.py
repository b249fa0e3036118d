# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""make bench-intake: descriptors parsed, refused, crashed; ledgers complete; agreement with libvirt; hostile input; fuzz."""
from __future__ import annotations

import pathlib
import re
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter

from ansible_collections.tandem.hybrid.plugins.module_utils.intake import assembly, libvirt, ovf, vmx
from ansible_collections.tandem.hybrid.plugins.module_utils.intake.errors import IntakeError
from ansible_collections.tandem.hybrid.plugins.module_utils.intake.ledger import totals

from . import intake_fuzz, intake_hostile, intake_vmx, intake_vsphere
from .figures import data, figure, say

PARSERS = {"ovf": ovf.parse, "libvirt": libvirt.parse, "vmx": vmx.parse}


def xml_fields(raw: bytes) -> int:
    """Count the fields of one or more XML documents with another parser than the product's."""
    try:
        roots = [ElementTree.fromstring(raw)]
    except ElementTree.ParseError:
        roots = [ElementTree.fromstring(part) for part in re.findall(rb"<domain[ >].*?</domain>", raw, re.DOTALL)]
    total = 0
    for root in roots:
        for element in root.iter():
            own = ((element.text or "") + "".join(child.tail or "" for child in element)).strip()
            total += len(element.attrib) + bool(own) + (not element.attrib and not own and not len(element))
    return total


def vmx_fields(raw: bytes) -> int:
    """Count the lines of a VMX file that set a key."""
    return sum(1 for line in raw.decode("utf-8", "replace").splitlines() if "=" in line and not line.lstrip().startswith(("#", "<")))


def corpus(name: str, folder: pathlib.Path) -> None:
    """Parse every file of a corpus and print its figures."""
    parsed, refused, crashed, incomplete = [], Counter(), [], []
    started, files = time.perf_counter(), sorted(path for path in folder.iterdir() if path.is_file() and (name != "vmx" or path.suffix.lower() == ".vmx"))
    for path in files:
        try:
            vms = PARSERS[name](path.read_bytes(), path.name)
        except IntakeError as error:
            refused[re.sub(r"^.*?(, line \d+)?: ", "", str(error))[:70]] += 1
            continue
        except Exception as error:  # a crash is what is counted here
            crashed.append(f"{path.name}: {type(error).__name__}: {error}"[:200])
            continue
        settled = assembly.assemble(vms, [str(path)]).vms
        raw = path.read_bytes()
        expected = vmx_fields(raw) if name == "vmx" else xml_fields(raw)
        if sum(len(vm.ledger) for vm in settled) != expected:
            incomplete.append(path.name)
        parsed += settled
    seconds = time.perf_counter() - started
    count = len(files) - sum(refused.values()) - len(crashed)
    figure("intake", name, "files", len(files), "files")
    figure("intake", name, "parsed", count, "files", vms=len(parsed))
    figure("intake", name, "refused", sum(refused.values()), "files", reasons=dict(refused.most_common(12)))
    figure("intake", name, "crashed", len(crashed), "files", "== 0", not crashed, crashes=crashed[:5])
    figure("intake", name, "ledger_complete", count - len(incomplete), "files", f"== {count}", not incomplete, incomplete=incomplete[:5])
    fates = totals(line for vm in parsed for line in vm.ledger)
    for fate, number in fates.items():
        figure("intake", name, f"fields_{fate}", number, "fields")
    figure("intake", name, "speed", round(len(files) / seconds, 1), "files/s")


def main() -> None:
    """Print all figures."""
    folder = data("../shared/contracts/descriptors")
    if folder:
        for name in PARSERS:
            say(f"corpus {name}")
            corpus(name, folder / name)
        say("agreement with libvirt's reading of VMX")
        intake_vmx.run(folder / "vmx")
    say("hostile input")
    intake_hostile.run()
    say("vSphere")
    intake_vsphere.run()
    say("fuzz")
    intake_fuzz.run(folder)


if __name__ == "__main__":
    main()
