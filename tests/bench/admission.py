# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""make bench-admission: every rendered VM through the real KubeVirt: create with dry-run on the server, webhooks on, unknown fields refused.

Needs a cluster with KubeVirt (KUBECONFIG, by default that of the lab). VMs that a concern blocks are not sent, but for concerns that only say
that the descriptor lacks what an operator gives: sizes and identities are given here, and unknown fields accepted.
"""
from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import time
from collections import Counter

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import connect
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import LegacyVm, Severity
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import assembly, libvirt, ovf, vmx
from ansible_collections.tandem.hybrid.plugins.module_utils.intake.errors import IntakeError
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt import instancetypes, maps, render
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.errors import RenderError

from .figures import data, figure, say

LAB_KUBECONFIG = "/var/lib/tandem/lab/pki/admin.kubeconfig"
PARSERS = {"ovf": ovf.parse, "libvirt": libvirt.parse, "vmx": vmx.parse}
SIZE_BYTES = 10 * 2**30
MAPS = maps.maps([{"source": "*", "network": "lan"}], [{"source": "*", "storage_class": "local"}])
# The corpora hold many copies of one VM, each of which would stand alone in a real estate.
COLLISIONS = {"uuid-collision", "mac-collision"}


def completed(vm: LegacyVm) -> LegacyVm:
    """Give a VM what an operator gives: memory, sizes and files of disks, identities of devices, where the descriptor lacks them."""
    disks = [dataclasses.replace(disk, size_bytes=disk.size_bytes or SIZE_BYTES, compression="",
                                 source_kind="file" if disk.source_kind == "refused" else disk.source_kind) for disk in vm.disks]
    devices = [dataclasses.replace(device, vendor_id=device.vendor_id or "10de", product_id=device.product_id or "2331")
               if device.kind in ("pci", "sriov") else device for device in vm.host_devices]
    return dataclasses.replace(vm, disks=disks, host_devices=devices, memory_bytes=vm.memory_bytes or 2**30)


def read(name: str, folder: pathlib.Path) -> list[LegacyVm]:
    """Return the VMs of every file of a corpus that can be read, unknown fields accepted."""
    vms = []
    for path in sorted(path for path in folder.iterdir() if path.is_file() and (name != "vmx" or path.suffix == ".vmx")):
        try:
            vms += [completed(vm) for vm in PARSERS[name](path.read_bytes(), path.name, ["**"])]
        except IntakeError:
            continue
    return assembly.assemble(vms, [name]).vms


def corpus(name: str, vms: list[LegacyVm], cluster, settings: render.Settings) -> None:
    """Render and send every VM that no concern blocks, and print the figures."""
    blocked, unrendered, refused, admitted, gates = Counter(), [], [], 0, Counter()
    started = time.perf_counter()
    for vm in vms:
        blocking = {concern.id for concern in vm.concerns if concern.severity is Severity.BLOCK} - COLLISIONS
        if blocking:
            blocked.update(sorted(blocking)[:1])
            continue
        try:
            rendered = render.render(vm, settings)
        except RenderError as error:
            unrendered.append(str(error))
            continue
        gates.update(rendered.feature_gates)
        gates.update(kind for kind in ("instancetype", "preference") if kind in rendered.virtual_machine["spec"])
        try:
            for manifest in rendered.manifests:
                cluster.create(manifest, dry_run=True)
            admitted += 1
        except ClusterError as error:
            refused.append(f"{vm.source}: {re.sub(r'admission webhook [^ ]+ ', '', str(error))}"[:300])
    seconds = time.perf_counter() - started
    figure("admission", name, "vms", len(vms), "VMs")
    figure("admission", name, "blocked", sum(blocked.values()), "VMs", concerns=dict(blocked.most_common()))
    figure("admission", name, "unrendered_without_concern", len(unrendered), "VMs", "== 0", not unrendered, errors=unrendered[:5])
    figure("admission", name, "admitted", admitted, "VMs", seconds=round(seconds, 1), parts=dict(gates))
    figure("admission", name, "refused", len(refused), "VMs", "== 0", not refused, refusals=refused[:10])


def main() -> None:
    """Print the figures of all corpora."""
    folder = data("../shared/contracts/descriptors")
    kubeconfig = os.environ.get("KUBECONFIG") or LAB_KUBECONFIG
    if folder is None or not pathlib.Path(kubeconfig).is_file():
        say(f"skipped: needs descriptors and a cluster with KubeVirt ({kubeconfig})")
        return
    cluster = connect(kubeconfig)
    for name in PARSERS:
        say(f"corpus {name}")
        vms, namespace = read(name, folder / name), os.environ.get("BENCH_NAMESPACE", "default")
        corpus(name, vms, cluster, render.Settings(namespace, MAPS))
        corpus(f"{name}/matched", vms, cluster, render.Settings(namespace, MAPS, instancetypes.MATCH, instancetypes.MATCH))


if __name__ == "__main__":
    main()
