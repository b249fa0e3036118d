# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMware configuration files (VMX) to LegacyVm: `key = "value"` lines, keys without regard to case, `|22` for a quote."""
from __future__ import annotations

import codecs
import dataclasses
import re
from collections.abc import Iterable

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Cpu, Firmware, LegacyVm

from . import guests, vmx_devices
from .errors import IntakeError
from .ledger import Cursor, Ledger, Node, Rules
from .units import integer, uuid
from .vmx_rules import RULES

MAX_BYTES = 4 * 1024 * 1024
MAX_LINES = 20_000
DEFAULT_MEMORY_MB = 32
_RULES = Rules(RULES)
_LINE = re.compile(r'\s*([A-Za-z0-9_.:\-/ ]{1,256}?)\s*=\s*(?:"([^"]*)"|([^"\s#][^"]*?))\s*(?:#.*)?')
_ESCAPE = re.compile(r"\|([0-9A-Fa-f]{2})")


def parse(raw: bytes, where: str, accepted: Iterable[str] = ()) -> list[LegacyVm]:
    """Read the VM of a VMX file; raises IntakeError naming the first line that is wrong."""
    root = read(raw, where)
    vmx = Cursor(root, Ledger(), where)
    name = vmx.attr("displayname", "name")
    if not name:
        raise IntakeError(f"{where}: no displayName; expected the .vmx file of a VM")
    bios = uuid(vmx.attr("uuid.bios", "uuid"))
    guest = vmx.attr("guestos", "os_id")
    secure = truth(vmx.attr("uefi.secureboot.enabled", "firmware.secure_boot"))
    devices = vmx_devices.read(vmx)
    vm = LegacyVm(
        name=name, id=f"vmx/{bios or name}", source=where, uuid=bios, hypervisor="vmware",
        description=vmx.attr("annotation", "description"), machine=_machine(vmx), cpu=_cpu(vmx),
        memory_bytes=integer(vmx.attr("memsize", "memory_bytes") or str(DEFAULT_MEMORY_MB), f"{where}: memsize", 1, 2**33) * 2**20,
        firmware=Firmware("efi" if vmx.attr("firmware", "firmware.kind").lower() == "efi" else "bios", secure,
                          vmx.attr("nvram", "firmware.nvram")),
        hot_add=[name for name, key in (("cpu", "vcpu.hotadd"), ("memory", "mem.hotadd")) if truth(vmx.attr(key, "hot_add"))],
        os_id=guest, os_family=guests.family(guest), snapshots=_snapshots(devices), **devices)
    return [dataclasses.replace(vm, ledger=vmx.ledger.lines(root, _RULES, accepted))]


def read(raw: bytes, where: str) -> Node:
    """Return a VMX file as one node with an attribute for each line; a key given twice with different values is refused."""
    if len(raw) > MAX_BYTES:
        raise IntakeError(f"{where}: {len(raw)} bytes; a VMX file has at most {MAX_BYTES}")
    lines = _decode(raw, where).splitlines()
    if len(lines) > MAX_LINES:
        raise IntakeError(f"{where}: {len(lines)} lines; a VMX file has at most {MAX_LINES}")
    root = Node("vmx")
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith(("#", "<")):
            continue
        match = _LINE.fullmatch(line) if len(line) < 1_000_000 else None
        if not match:
            raise IntakeError(f'{where}, line {number}: expected key = "value", got {line.strip()[:60]!r}')
        key, value = match.group(1).strip().lower(), match.group(2) if match.group(2) is not None else match.group(3)
        value = _ESCAPE.sub(lambda found: chr(int(found.group(1), 16)), value)
        if key in root.attributes:
            if root.attributes[key] != value:
                raise IntakeError(f"{where}, line {number}: {key} is given twice with different values")
            key = f"{key}#{number}"
        root.attributes[key] = value
    return root


def truth(value: str) -> bool:
    """Return a VMX boolean."""
    return value.strip().lower() in ("true", "yes", "1", "on")


def _decode(raw: bytes, where: str) -> str:
    for mark, name in ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if raw.startswith(mark):
            encoding = name
            break
    else:
        match = re.search(rb'^\s*\.encoding\s*=\s*"([A-Za-z0-9_.-]{1,40})"', raw, re.IGNORECASE | re.MULTILINE)
        encoding = match.group(1).decode() if match else "utf-8"
    if b"\0" in raw and not encoding.lower().startswith("utf-16"):
        raise IntakeError(f"{where}: binary data; expected the text of a VMX file")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        if encoding == "utf-8":
            return raw.decode("latin-1")
        raise IntakeError(f"{where}: not text in its encoding {encoding}") from None
    except LookupError:
        raise IntakeError(f"{where}: unknown encoding {encoding}") from None


def _machine(vmx: Cursor) -> str:
    version = vmx.attr("virtualhw.version", "machine")
    return f"vmx-{version}" if version else ""


def _cpu(vmx: Cursor) -> Cpu:
    total = integer(vmx.attr("numvcpus", "cpu.sockets") or "1", f"{vmx.where}: numvcpus", 1, 65536)
    cores = integer(vmx.attr("cpuid.corespersocket", "cpu.cores") or "1", f"{vmx.where}: cpuid.coresPerSocket", 1, 65536)
    if total % cores:
        vmx.change("cpuid.corespersocket", "cpu.cores", "1", f"{total} vCPUs don't divide into sockets of {cores}")
        cores = 1
    affinity = vmx.attr("sched.cpu.affinity", "cpu.pinning")
    pins = [part.strip() for part in affinity.split(",")] if affinity and affinity.lower() != "all" else []
    return Cpu(sockets=total // cores, cores=cores, nested=truth(vmx.attr("vhv.enable", "cpu.nested")),
               pinning={str(i): pins[0] if total == 1 and len(pins) == 1 else ",".join(pins) for i in range(total)} if pins else {})


def _snapshots(devices: dict) -> list[str]:
    """Return the delta disks in use: a name like disk-000003.vmdk is a snapshot's."""
    return [disk.source for disk in devices["disks"] if re.search(r"-\d{6}\.vmdk$", disk.source)]
