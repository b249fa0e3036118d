# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents of a small run: three VMs and two models onto three nodes, one VM moved warm, one cold, one rolled back."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity, Gpu, Node, Running
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.codec import digest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Concern, Estate, Fate, LedgerLine, LegacyVm, Severity
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import GENESIS, Journal, seal
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import (
    Assignment,
    DeviceUse,
    Failure,
    Level,
    NodeSetting,
    Plan,
    Unplaced,
    Utilisation,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.verification import Check, Verification

GIB, H100 = 2**30, "NVIDIA-H100-80GB-HBM3"


def capacity():
    def node(name, mode, gpus, zone="east"):
        return Node(name, {"cpu_milli": 64000, "memory_bytes": 256 * GIB}, zone=zone, gpu_mode=mode, gpus=gpus)
    return Capacity(
        nodes=[node("node-1", "mig-mixed", [Gpu("gpu-1a", H100, memory_bytes=80 * GIB, mig={"1g.10gb": [0, 1, 2], "3g.40gb": [4]}, used_slots=[0]),
                                            Gpu("gpu-1b", H100, memory_bytes=80 * GIB)]),
               node("node-2", "vm-passthrough", [Gpu("gpu-2a", H100, memory_bytes=80 * GIB)]), node("node-3", "", [], "west")],
        running=[Running("coredns", "kube-system", "node-3", {"cpu_milli": 2000, "memory_bytes": 4 * GIB}),
                 Running("notebook", "science", "node-1", {"cpu_milli": 8000, "memory_bytes": 32 * GIB}, devices=["gpu-1a/1g.10gb@0"])])


def plan(unplaced=False):
    def one(name, kind, node, shape, devices, resource, reason, **more):
        return Assignment(name, kind, 0, node, shape, devices, {"cpu_milli": 4000, "memory_bytes": 8 * GIB}, resource, reason=reason, **more)
    return Plan(
        digest(capacity()), "sha256:" + "d" * 64,
        [one("assistant", "model", "node-1", "1xmig-1g.10gb", [DeviceUse("gpu-1a", "1g.10gb", 1)], "nvidia.com/mig-1g.10gb", "MIG instance exists", wave=1),
         one("crm", "vm", "node-3", "vm", [], "", "one of 3 of 3 nodes that can host it: first node by name with room", wave=2, eligible=["node-1", "node-2", "node-3"]),
         one("embedder", "model", "node-1", "1xgpu-1gib", [DeviceUse("gpu-1b")], "nvidia.com/gpu", "node-1 is the only one of 3 nodes that can host it", wave=1),
         one("orders", "vm", "node-3", "vm", [], "", "one of 3 of 3 nodes that can host it: node is in use anyway", wave=1, eligible=["node-1", "node-2", "node-3"]),
         one("report", "vm", "node-2", "vm", [DeviceUse("gpu-2a")], "nvidia.com/GH100_H100_PCIE", "node-2 is the only one of 3 nodes that can host it", wave=2)],
        unplaced=[Unplaced("archive", 0, ["memory", "zone west"], "256 GiB more memory in zone west", "archive/0 has no place: memory + zone west can't be met together")] if unplaced else [],
        settings=[NodeSetting("node-1", "mig-mixed", {"gpu-1a": ["1g.10gb@0", "1g.10gb@1", "1g.10gb@2", "3g.40gb@4"]})],
        levels=[Level("placed", 5, 5, 0), Level("failover", 1, 1, 0), Level("moves", 0, 0, 0, "min"), Level("nodes", 3, 3, 0, "min")],
        failures=[Failure("node-1", ["node-1"], {}, []), Failure("node-2", ["node-2"], {}, []), Failure("node-3", ["node-3"], {"orders/0": "node-1"}, [])],
        utilisation=Utilisation({"cpu_milli": 52}, {"cpu_milli": 156}, 0, 0), engine="tandem 0.1.0")


def estate(name="orders"):
    ledger = [LedgerLine(f"/domain/x[{n}]", "1", Fate.MAPPED if n < 40 else Fate.CHANGED if n < 46 else Fate.DROPPED) for n in range(50)]
    return Estate([
        LegacyVm("CRM", "ovf:crm", "crm.ova", target_name="crm", ledger=ledger[:44], concerns=[
            Concern("disk-bus-changed", Severity.WARN, "the disk moves from LSI Logic SCSI to virtio", "check that the guest has the driver")]),
        LegacyVm(name, "libvirt:orders", "qemu:///system", target_name=name, ledger=ledger),
        LegacyVm("report", "libvirt:report", "qemu:///system", target_name="report", ledger=ledger[:48], concerns=[
            Concern("passthrough-no-live-migration", Severity.INFORM, "a VM with a passed-through GPU can't move live", "")])])


def journal(name="orders"):
    events, previous = [], GENESIS

    def add(at, subject, phase, event, **data):
        nonlocal previous
        stamp = f"2026-01-02T03:{int(at) // 60:02d}:{at % 60:06.3f}Z"
        sealed = seal(stamp, subject, phase, event, data, previous)
        events.append(sealed)
        previous = sealed.hash
    add(0.0, "", "run", "started", vms=[name, "crm", "report"])
    add(1.0, name, "inspect", "done", mode="warm", running=True)
    add(3.1, name, "prepare", "done")
    add(3.2, name, "copy", "begin")
    add(11.4, name, "copy", "round", bytes=268_435_456)
    add(11.5, name, "copy", "done")
    add(15.8, name, "delta", "round", bytes=4_194_304)
    add(20.2, name, "delta", "done", predicted_seconds=23.1)
    add(20.3, name, "quiesce", "stop")
    add(25.3, name, "quiesce", "done", stop_seconds=5.0)
    add(27.5, name, "final", "round", bytes=1_048_576)
    add(29.9, name, "final", "done")
    add(30.0, name, "verify", "done", roots={"vda": "ab" * 32, "vdb": "cd" * 32})
    add(40.6, name, "cutover", "done")
    add(41.7, name, "check", "done", downtime_seconds=21.4, predicted_seconds=23.1)
    add(42.9, name, "accept", "done")
    add(45.0, "crm", "inspect", "done", mode="cold", running=False)
    add(46.0, "crm", "prepare", "done")
    add(46.1, "crm", "copy", "done")
    add(46.2, "crm", "delta", "done")
    add(48.0, "crm", "quiesce", "done")
    add(61.0, "crm", "final", "round", bytes=734_003_200)
    add(63.1, "crm", "final", "done")
    add(63.5, "crm", "verify", "done", roots={"disk-1": "ef" * 32})
    add(63.6, "crm", "cutover", "devices", devices="planned", sentence="guest ready for scsi: all there")
    add(76.2, "crm", "cutover", "done")
    add(78.5, "crm", "check", "done", downtime_seconds=31.0)
    add(79.0, "crm", "accept", "done")
    add(44.5, "report", "inspect", "done", mode="cold", running=True)
    add(45.9, "report", "prepare", "done")
    add(46.0, "report", "quiesce", "stop")
    add(51.0, "report", "quiesce", "done")
    add(60.0, "report", "final", "done")
    add(71.0, "report", "cutover", "failed", message="the guest did not answer on port 80 within 120 s")
    add(71.1, "report", "rollback", "started")
    add(76.0, "report", "rollback", "rolled-back", reason="the guest did not answer on port 80 within 120 s")
    add(79.2, "", "run", "done")
    return Journal(events)


def verification():
    return Verification([
        Check("assistant", "assistant", True, "4182 orders, the ledger is intact", "2026-01-02T03:04:00+00:00", {
            "question": "How many orders are there, and is the ledger intact?", "model_sentence": "There are 4182 orders and the ledger is intact."}),
        Check("completion", "assistant", True, "answered 14 tokens in 0.61 s", "2026-01-02T03:03:50+00:00"),
        Check("completion", "embedder", True, "answered 12 tokens in 0.55 s", "2026-01-02T03:03:52+00:00"),
        Check("device", "report", False, "holds 0 of 1 nvidia.com/GH100_H100_PCIE", "2026-01-02T03:05:10+00:00"),
        Check("live-migration", "orders", True, "node-3 to node-1 to node-3 in 9.1 and 8.8 s; 0 of 231 acknowledged rows lost, 9 requests failed and were retried, longest gap 5.2 s", "2026-01-02T03:05:00+00:00"),
        Check("placement", "orders", True, "runs on node-3, as planned", "2026-01-02T03:05:10+00:00")])
