# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fuzz of each parser: descriptors of the corpora (or samples) with bytes, tokens and slices changed; a crash is any error but IntakeError."""
from __future__ import annotations

import io
import pathlib
import signal
import sys
import time
from collections.abc import Callable

from ansible_collections.tandem.hybrid.plugins.module_utils.intake import assembly, libvirt, ova, ovf, vmx, vsphere, xmltree
from ansible_collections.tandem.hybrid.plugins.module_utils.intake.errors import IntakeError
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

from .figures import FULL, data, figure
from .intake_hostile import OVF, REGULAR, tar

TOKENS = [b"<", b">", b"/>", b"&", b"&amp;", b"<!DOCTYPE a>", b"]]>", b"\0", b"\xff", b'"', b"'", b"-1", b"0", b"99999999999999999999", b"NaN", b"1e309",
          b"0x", b"\xef\xbb\xbf", b"..", b"../", b"${x}", b" = ", b"|", b"|ZZ", b"\n", b"true", b"xmlns='x'", b"ovf:", b"byte * 2^99", b"\xc3\x28", b"[0]", b"{}", b"#"]
LIMIT_SECONDS = 5.0  # of CPU, for one example


def changed(samples: list[bytes]) -> st.SearchStrategy[bytes]:
    """Return a strategy of samples with up to eight changes each."""
    change = st.tuples(st.sampled_from(["insert", "delete", "double", "byte", "swap"]), st.floats(0, 1), st.integers(1, 200), st.sampled_from(TOKENS),
                       st.integers(0, 255))
    return st.builds(mutate, st.sampled_from(samples), st.lists(change, min_size=1, max_size=8))


def mutate(sample: bytes, changes: list[tuple]) -> bytes:
    """Return the sample with the changes applied one after the other."""
    data = bytearray(sample)
    for kind, place, length, token, byte in changes:
        at = int(place * max(len(data) - 1, 0))
        if kind == "insert":
            data[at:at] = token
        elif kind == "delete":
            del data[at:at + length]
        elif kind == "double":
            data[at:at] = data[at:at + length] * 2
        elif kind == "byte" and data:
            data[at] = byte
        elif kind == "swap":
            data[at:at + length] = token
    return bytes(data)


# A VM as the API of vSphere tells it, written as XML so that it can be changed like the others.
_VSPHERE = b"""<vm name="db"><config uuid="421a6177-5aa9-abb7-5924-fc376c18a1b4" instanceUuid="50" firmware="efi" guestId="debian12_64Guest"
version="vmx-19" nestedHVEnabled="true" changeTrackingEnabled="true"><hardware numCPU="8" numCoresPerSocket="4" memoryMB="4096">
<device type="ParaVirtualSCSIController" key="1000" busNumber="0" sharedBus="noSharing"/>
<device type="VirtualDisk" key="2000" controllerKey="1000" unitNumber="0" capacityInBytes="1073741824" capacityInKB="1048576">
<backing type="VirtualDiskFlatVer2BackingInfo" fileName="[ds] a/root.vmdk" diskMode="independent_persistent" uuid="6000C29a-1" sharing="sharingNone">
<parent fileName="[ds] a/base.vmdk"/></backing></device><device type="VirtualCdrom" key="3000" controllerKey="200" unitNumber="0"/>
<device type="VirtualVmxnet3" key="4000" macAddress="00:50:56:00:00:07"><backing type="DistributedVirtualPortBackingInfo"><port portgroupKey="dvp-9"/></backing>
<connectable startConnected="false"/></device>
<device type="VirtualPCIPassthrough" key="5000"><backing type="VirtualPCIPassthroughDeviceBackingInfo" id="0000:3b:00.0" deviceId="2331" vendorId="4318"/></device>
<device type="VirtualPCIPassthrough" key="5001"><backing type="VirtualPCIPassthroughVmiopBackingInfo" vgpu="grid_a100-8c"/></device>
<device type="VirtualTPM" key="6000"/></hardware><bootOptions efiSecureBootEnabled="true"><bootOrder type="disk" deviceKey="2000"/></bootOptions></config>
<runtime powerState="poweredOn" host="esx1"/><guest><net><ipConfig><ipAddress ipAddress="192.0.2.1" origin="manual"/></ipConfig></net></guest>
<snapshot><rootSnapshotList name="a"><childSnapshotList name="b"/></rootSnapshotList></snapshot></vm>"""


def _ova(raw: bytes, where: str) -> list:
    """Read an archive as it is; where a tar header's sum is what stops it, correct the sums so that a change gets further."""
    try:
        return ova.parse(io.BytesIO(raw), where)
    except IntakeError:
        blocks = [bytearray(raw[at:at + 512]) for at in range(0, len(raw), 512)]
        for block in blocks:
            if len(block) == 512 and block[257:262] == b"ustar":
                block[148:156] = b" " * 8
                block[148:156] = b"%06o\0 " % sum(block)
        return ova.parse(io.BytesIO(b"".join(blocks)), where)


def _vsphere(raw: bytes, where: str) -> list:
    return [vsphere.parse("vm-1", xmltree.parse(raw, where), where, {"dvp-9": "production"}, ["stage/test"])]


def parsers(folder: pathlib.Path | None) -> dict[str, tuple[Callable, list[bytes]]]:
    """Return parser and samples by name; small files of the corpora where they are there."""
    def files(name: str, suffix: str, fallback: bytes) -> list[bytes]:
        found = sorted((folder / name).glob(f"*{suffix}")) if folder else []
        return [path.read_bytes() for path in found if path.stat().st_size < 20_000] or [fallback]

    archive = tar(("a.ovf", OVF % (b"d", 1), REGULAR), ("d", b"x", REGULAR), ("a.mf", b"SHA1(d)= 11f6ad8ec52a2984abaafd7c3b516503785c2072\n", REGULAR))
    domain = b"<domain type='kvm'><name>a</name><memory unit='GiB'>1</memory><devices><disk type='file'><target dev='vda'/></disk></devices></domain>"
    return {"libvirt": (libvirt.parse, files("libvirt", ".xml", domain)), "ovf": (ovf.parse, files("ovf", ".ovf", OVF % (b"d", 1))),
            "vmx": (vmx.parse, files("vmx", ".vmx", b'displayName = "a"\nmemsize = "64"\n')), "ova": (_ova, [archive]), "vsphere": (_vsphere, [_VSPHERE])}


def run(folder: pathlib.Path | None, names: tuple[str, ...] = ()) -> None:
    """Fuzz each parser (or those named) for 10 minutes of CPU each in the full variant, 15 seconds else, and print the figures."""
    budget = 600.0 if FULL else 15.0
    for name, (parse, samples) in parsers(folder).items():
        if names and name not in names:
            continue
        count, slow, crashes = fuzz(parse, samples, budget)
        figure("intake", f"fuzz/{name}", "examples", count, "examples", cpu_seconds=budget)
        figure("intake", f"fuzz/{name}", "crashed", len(crashes), "crashes", "== 0", not crashes, crashes=crashes[:3])
        figure("intake", f"fuzz/{name}", "timed_out", slow, "examples", "== 0", not slow)


def fuzz(parse: Callable, samples: list[bytes], cpu_seconds: float) -> tuple[int, int, list[str]]:
    """Return examples tried, examples slower than the limit, and crashes with their input, within a budget of CPU time."""
    tried, slow, crashes, start, round_ = 0, 0, [], time.process_time(), 0

    def late(_signal, _frame) -> None:
        nonlocal slow
        slow += 1
        raise IntakeError("over the limit")

    def check(raw: bytes) -> None:
        nonlocal tried
        tried += 1
        signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_SECONDS)
        try:
            assembly.assemble(parse(raw, "fuzz"), ["fuzz"])
        except IntakeError:
            pass
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    signal.signal(signal.SIGVTALRM, late)

    while time.process_time() - start < cpu_seconds and len(crashes) < 3:
        round_ += 1
        test = seed(round_)(settings(max_examples=200, deadline=None, database=None, phases=[Phase.generate, Phase.shrink], verbosity=Verbosity.quiet,
                                     suppress_health_check=list(HealthCheck))(given(changed(samples))(check)))
        try:
            test()
        except Exception as error:  # a crash is what is counted here
            crashes.append(f"{type(error).__name__}: {error}"[:400])
    return tried, slow, crashes


if __name__ == "__main__":
    run(data("../shared/contracts/descriptors"), tuple(sys.argv[1:]))
