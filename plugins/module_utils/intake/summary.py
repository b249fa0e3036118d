# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An Estate as lines of text: one row a VM, its concerns below, the ledger's totals at the end."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Estate, Fate, Severity

from .ledger import totals

_WIDTH = 24


def table(estate: Estate) -> list[str]:
    """Return the lines that `assess` prints."""
    lines = [f"{'VM':<{_WIDTH}} {'vCPU':>5} {'memory':>9} {'disks':>5} {'NICs':>4} {'fields':>6} {'changed':>7} {'unknown':>7}  concerns"]
    for vm in sorted(estate.vms, key=lambda vm: (vm.name, vm.id)):
        fates = totals(vm.ledger)
        weights = [sum(1 for concern in vm.concerns if concern.severity is severity) for severity in Severity]
        told = ", ".join(f"{count} {severity.value}" for count, severity in zip(weights, Severity, strict=True) if count)
        lines.append(f"{vm.name[:_WIDTH]:<{_WIDTH}} {vm.cpu.vcpus:>5} {vm.memory_bytes / 2**30:>6.1f}GiB {len(vm.disks):>5} {len(vm.nics):>4} "
                     f"{len(vm.ledger):>6} {fates['changed']:>7} {fates['unknown']:>7}  {told or 'none'}")
        for concern in vm.concerns:
            if concern.severity is not Severity.INFORM:
                lines.append(f"  {concern.severity.value:<6} {concern.id}: {concern.sentence} {concern.remedy}")
    everything = totals(line for vm in estate.vms for line in vm.ledger)
    lines.append(f"Ledger: {sum(everything.values())} fields, " + ", ".join(f"{count} {fate}" for fate, count in everything.items()))
    return lines


def summary(estate: Estate) -> dict:
    """Return the numbers a person asks for first: VMs, ledger lines by fate, concerns by severity, and one row a VM."""
    rows = []
    for vm in estate.vms:
        rows.append({
            "name": vm.name, "id": vm.id, "target_name": vm.target_name, "source": vm.source, "power_state": vm.power_state,
            "vcpus": vm.cpu.vcpus, "memory_bytes": vm.memory_bytes, "disks": len(vm.disks), "nics": len(vm.nics),
            "host_devices": len(vm.host_devices), "ledger": totals(vm.ledger),
            "concerns": [{"id": c.id, "severity": c.severity.value, "sentence": c.sentence, "remedy": c.remedy} for c in vm.concerns]})
    everything = [line for vm in estate.vms for line in vm.ledger]
    counts = {severity.value: sum(1 for vm in estate.vms for c in vm.concerns if c.severity is severity) for severity in Severity}
    return {"vms": rows, "ledger": totals(everything), "concerns": counts,
            "blocked": [vm.name for vm in estate.vms if any(c.severity is Severity.BLOCK for c in vm.concerns)],
            "unknown": sorted({line.path for line in everything if line.fate is Fate.UNKNOWN}), "table": table(estate)}
