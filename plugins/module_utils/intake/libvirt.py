# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt domain XML to LegacyVm; field reference: libvirt's formatdomain page."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import (
    Clock,
    Cpu,
    CpuFeature,
    Firmware,
    LegacyVm,
    NumaCell,
)

from . import guests, libvirt_devices
from .errors import IntakeError
from .ledger import EMPTY, TEXT, Cursor, Ledger, Node, Rules
from .libvirt_rules import RULES
from .units import integer, libvirt_bytes, uuid
from .xmltree import parse_many

_RULES = Rules(RULES)
_STATES = ("on", "yes", "off", "no")


def parse(raw: bytes, where: str, accepted: Iterable[str] = ()) -> list[LegacyVm]:
    """Read every domain of a file of domain XML; raises IntakeError when there is none or it is malformed."""
    vms = []
    for root in parse_many(raw, where):
        if root.tag != "domain":
            raise IntakeError(f"{where}: root element <{root.tag[:60]}>; expected <domain>, as `virsh dumpxml` writes it")
        vms.append(from_node(root, where, accepted))
    return vms


def from_node(root: Node, where: str, accepted: Iterable[str] = ()) -> LegacyVm:
    """Read one domain element."""
    domain = Cursor(root, Ledger(), where)
    name = domain.child_text("name", "name")
    if not name:
        raise IntakeError(f"{where}: <domain> without a <name>; expected the XML of one libvirt domain")
    identity = _identity(domain)
    memory, max_memory = _memory(domain)
    os_id = guests.libosinfo(domain)
    devices = libvirt_devices.read(domain.child("devices"), domain)
    vm = LegacyVm(
        name=name,
        id=f"libvirt/{identity['uuid'] or name}",
        source=where,
        **identity,
        cpu=_cpu(domain, where),
        memory_bytes=memory,
        max_memory_bytes=max_memory,
        hugepage_bytes=_hugepages(domain),
        firmware=_firmware(domain),
        features=_features(domain),
        clock=_clock(domain),
        os_id=os_id,
        os_family=guests.family(os_id),
        snapshots=[],
        **devices,
        ledger=[],
    )
    return _with_ledger(vm, domain, root, accepted)


def _with_ledger(vm: LegacyVm, domain: Cursor, root: Node, accepted: Iterable[str]) -> LegacyVm:
    return dataclasses.replace(vm, ledger=domain.ledger.lines(root, _RULES, accepted))


def _identity(domain: Cursor) -> dict:
    os = domain.child("os")
    arch = machine = ""
    if os and (kind := os.child("type")):
        virtualization = kind.text("type")
        arch, machine = kind.attr("arch", "arch"), kind.attr("machine", "machine")
        if virtualization != "hvm":
            kind.change(TEXT, "virtualization", "hvm", "KubeVirt runs full virtual machines only")
    kind = domain.attr("type", "hypervisor")
    if kind not in ("kvm", "qemu"):
        domain.change("type", "hypervisor", "kvm", "KubeVirt's hypervisor is KVM")
    arch = arch or "x86_64"
    if arch == "i686" and os:
        os.child("type").change("arch", "arch", "x86_64", "KubeVirt runs 32-bit guests on x86_64 machines")
        arch = "x86_64"
    return {
        "uuid": uuid(domain.child_text("uuid", "uuid")),
        "title": domain.child_text("title", "title"),
        "description": domain.child_text("description", "description"),
        "arch": arch,
        "machine": machine,
        "power_state": "running" if domain.attr("id", "power_state") else "off",
        "hypervisor": kind,
        "virtualization": os.child("type").node.text.strip() if os and os.child("type") else "hvm",
        "direct_kernel": _direct_kernel(os),
    }


def _direct_kernel(os: Cursor | None) -> str:
    return os.child_text("kernel", "direct_kernel") if os else ""


def _memory(domain: Cursor) -> tuple[int, int | None]:
    memory = _quantity(domain.child("memory"), "memory_bytes", domain.where)
    current = domain.child("currentMemory")
    if current:
        now = _quantity(current, "memory_bytes", domain.where)
        if memory and now != memory:
            current.change(TEXT, "memory_bytes", str(memory), "the guest boots with its full memory; ballooned down at the source")
        memory = memory or now
    most = domain.child("maxMemory")
    limit = None
    if most:
        limit = _quantity(most, "max_memory_bytes", domain.where)
        most.attr("slots", "max_memory_bytes")
    return memory, limit


def _quantity(cursor: Cursor | None, target: str, where: str) -> int:
    if cursor is None:
        return 0
    return libvirt_bytes(cursor.text(target) or "0", cursor.attr("unit", target), f"{where}: <{cursor.tag}>")


def _hugepages(domain: Cursor) -> int | None:
    pages = (backing := domain.child("memoryBacking")) and backing.child("hugepages")
    if not pages:
        return None
    sizes = [
        libvirt_bytes(page.attr("size", "hugepage_bytes"), page.attr("unit", "hugepage_bytes"), f"{domain.where}: <page>")
        for page in pages.children("page")
        if page.peek("size")
    ]
    if EMPTY in pages.node.field_names():
        pages.flag("hugepage_bytes")
    return max(sizes, default=2 * 2**20)


def _cpu(domain: Cursor, where: str) -> Cpu:
    count = domain.child("vcpu")
    most = integer((count.text("cpu.max_vcpus") if count else "") or "1", f"{where}: <vcpu>", 1, 65536)
    now = integer(count.attr("current", "cpu.vcpus") if count and count.peek("current") else str(most), f"{where}: vcpu@current", 1, 65536)
    cpu = domain.child("cpu")
    sockets, cores, threads = _topology(cpu, most, where)
    current = -(-now // (cores * threads))
    if count and current * cores * threads != now:
        count.change("current" if count.peek("current") else TEXT, "cpu.vcpus", str(current * cores * threads), "vCPUs come in whole sockets")
    mode, model, features = "", "", []
    if cpu:
        model = cpu.child_text("model", "cpu.model")
        mode = cpu.attr("mode", "cpu.mode") or ("custom" if model else "")
        for i, feature in enumerate(cpu.children("feature")):
            target = f"cpu.features[{i}]"
            features.append(CpuFeature(feature.attr("name", target), feature.attr("policy", target, "require") or "require"))
    return Cpu(
        sockets=current,
        cores=cores,
        threads=threads,
        max_vcpus=sockets * cores * threads if sockets > current else None,
        mode=mode,
        model=model,
        features=features,
        pinning=_pinning(domain),
        numa=_numa(cpu, domain, where),
        nested=any(f.name in ("vmx", "svm") and f.policy in ("force", "require") for f in features),
    )


def _topology(cpu: Cursor | None, vcpus: int, where: str) -> tuple[int, int, int]:
    topology = cpu and cpu.child("topology")
    if not topology:
        return vcpus, 1, 1

    def read(name: str) -> int:
        return integer(topology.attr(name, f"cpu.{name}", "1") or "1", f"{where}: topology@{name}", 1, 65536)

    sockets, cores, threads = read("sockets"), read("cores"), read("threads")
    for name in ("dies", "clusters"):
        if topology.peek(name):
            factor = read(name)
            cores *= factor
            if factor > 1:
                topology.change(name, "cpu.cores", str(cores), f"KubeVirt knows no {name}; their cores are counted together")
    if sockets * cores * threads != vcpus:
        fixed = -(-vcpus // (cores * threads))
        topology.change("sockets" if topology.peek("sockets") else "cores", "cpu.sockets", str(fixed), f"the topology does not multiply to {vcpus} vCPUs")
        sockets = fixed
    return sockets, cores, threads


def _pinning(domain: Cursor) -> dict[str, str]:
    out = {}
    tune = domain.child("cputune")
    for pin in tune.children("vcpupin") if tune else ():
        target = f"cpu.pinning[{pin.peek('vcpu')}]"
        out[pin.attr("vcpu", target)] = pin.attr("cpuset", target)
    return out


def _numa(cpu: Cursor | None, domain: Cursor, where: str) -> list[NumaCell]:
    tune = domain.child("numatune")
    nodes = {cell.attr("cellid", "cpu.numa"): cell.attr("nodeset", "cpu.numa") for cell in (tune.children("memnode") if tune else ())}
    cells = []
    for i, cell in enumerate((cpu.child("numa").children("cell")) if cpu and cpu.child("numa") else ()):
        target = f"cpu.numa[{i}]"
        number = integer(cell.attr("id", target, str(i)), f"{where}: numa cell@id", 0, 65536)
        node = nodes.get(str(number), "")
        cells.append(
            NumaCell(
                number,
                cell.attr("cpus", target),
                libvirt_bytes(cell.attr("memory", target, "0"), cell.attr("unit", target), f"{where}: numa cell@memory"),
                int(node) if node.isdigit() and len(node) < 6 else None,
            )
        )
    return cells


def _firmware(domain: Cursor) -> Firmware:
    os = domain.child("os")
    kind, secure, nvram, keys = "bios", False, "", True
    if os:
        loader = os.child("loader")
        named = os.attr("firmware", "firmware.kind")
        if loader:
            path = loader.text("firmware.kind")
            flash = loader.attr("type", "firmware.kind") == "pflash"
            secure = loader.attr("secure", "firmware.secure_boot") == "yes"
            if flash or any(word in path.upper() for word in ("OVMF", "AAVMF", "EDK2", "UEFI")):
                kind = "efi"
        kind = "efi" if named == "efi" or (not named and kind == "efi") else "bios"
        nvram = os.child_text("nvram", "firmware.nvram")
        for feature in os.child("firmware").children("feature") if os.child("firmware") else ():
            name = feature.attr("name", "firmware.secure_boot")
            state = feature.attr("enabled", "firmware.secure_boot") == "yes"
            if name == "secure-boot":
                secure = state
            elif name == "enrolled-keys":
                keys = state
    return Firmware(kind, kind == "efi" and secure and keys, nvram, _serial(domain))


def _serial(domain: Cursor) -> str:
    for info in domain.children("sysinfo"):
        if info.peek("type") != "smbios" or not info.child("system"):
            continue
        for entry in info.child("system").children("entry"):
            if entry.peek("name") == "serial":
                entry.attr("name", "firmware.serial")
                return entry.text("firmware.serial")
    return ""


def _features(domain: Cursor) -> dict[str, str]:
    out: dict[str, str] = {}
    features = domain.child("features")
    if not features:
        return out
    for name in ("acpi", "apic", "pae", "smm", "pvspinlock"):
        if feature := features.child(name):
            _feature(out, feature, name)
    for group in ("hyperv", "kvm"):
        for feature in features.child(group) if features.child(group) else ():
            _feature(out, feature, f"{group}.{feature.tag}")
    return out


def _feature(out: dict[str, str], feature: Cursor, name: str) -> None:
    target = f"features.{name}"
    state = feature.attr("state", target, "on") or "on"
    if EMPTY in feature.node.field_names():
        feature.flag(target)
    out[name] = "on" if state in ("on", "yes") else "off" if state in _STATES else state
    for extra in ("retries", "value"):
        if feature.peek(extra):
            out[f"{name}.{extra}"] = feature.attr(extra, f"{target}.{extra}")
    for child in feature:
        if child.peek("state"):
            out[f"{name}.{child.tag}"] = "on" if child.attr("state", f"{target}.{child.tag}") == "on" else "off"


def _clock(domain: Cursor) -> Clock:
    clock = domain.child("clock")
    if not clock:
        return Clock()
    offset = clock.attr("offset", "clock.offset", "utc") or "utc"
    zone = clock.attr("timezone", "clock.timezone")
    timers = {}
    for timer in clock.children("timer"):
        name = timer.peek("name")
        target = f"clock.timers.{name}"
        timer.attr("name", target)
        timers[name] = "off" if timer.attr("present", target, "yes") == "no" else timer.attr("tickpolicy", target) or "on"
    return Clock(offset, zone, timers)
