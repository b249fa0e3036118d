# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile descriptors, each read as module legacy_vm_info reads it (and the Estate written), in a process of its own with 512 MiB of address
space beyond the interpreter's and 60 CPU seconds."""
from __future__ import annotations

import hashlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import tarfile
import tempfile

from .figures import ROOT, figure

MEMORY_BYTES, CPU_SECONDS = 512 * 2**20, 60
_READ = """
import json, resource, sys
from ansible_collections.tandem.hybrid.plugins.module_utils.intake import commands
from ansible_collections.tandem.hybrid.plugins.module_utils.intake.errors import IntakeError
base = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (base + {memory},) * 2)
try:
    done = commands.survey({{'sources': [sys.argv[1]], 'dest': sys.argv[1] + '.json'}})
    outcome = f"parsed {{len(done['vms'])}}, {{sum(done['ledger'].values())}} fields, {{len(done['blocked'])}} blocked"
except IntakeError as error:
    outcome = str(error)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([outcome, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024]))
"""


def tar(*members: tuple[str, bytes, bytes], lie: int = 0) -> bytes:
    """Return an archive of (name, content, type) members; `lie` is added to the size that the last one states."""
    out = b""
    for number, (name, content, kind) in enumerate(members, 1):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/shadow" if kind == tarfile.SYMTYPE else ""
        info.size = len(content) + (lie if number == len(members) else 0)
        out += info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)
    return out + bytes(1024)


OVF = (b'<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"><References>'
       b'<File ovf:id="f" ovf:href="%s" ovf:size="%d"/></References><VirtualSystem ovf:id="a"><Info/></VirtualSystem></Envelope>')
REGULAR, LINK = tarfile.REGTYPE, tarfile.SYMTYPE
_BOMB = b'<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">' + b"".join(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10 if i > 1 else b"&a;" * 10)
                                                            for i in range(1, 12)) + b"]><domain><name>&a11;</name></domain>"


BIG, BIG_SHA256 = 600_000_000, "6abed397aee08fde271430d40c2407613c7cf79abfcf35fa40bb55ba5fe1cd0a"


def write_large(path: pathlib.Path) -> None:
    """Write an OVA with a disk of 600 MB of zeros, as a sparse file, and a manifest that is right."""
    descriptor = OVF % (b"d", BIG)
    manifest = f"SHA256(a.ovf)= {hashlib.sha256(descriptor).hexdigest()}\nSHA256(d)= {BIG_SHA256}\n".encode()
    disk = tarfile.TarInfo("d")
    disk.size = BIG
    with path.open("wb") as file:
        file.write(tar(("a.ovf", descriptor, REGULAR), ("a.mf", manifest, REGULAR))[:-1024] + disk.tobuf(tarfile.USTAR_FORMAT))
        file.truncate(file.tell() + -(-BIG // 512) * 512 + 1024)


def cases() -> dict[str, tuple[str, bytes]]:
    """Return file suffix and content by the name of the case."""
    domain = b"<domain><name>a</name><memory>1048576</memory>%s</domain>"
    return {
        "entity-expansion": (".xml", _BOMB),
        "external-entity": (".xml", b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><domain><name>&x;</name></domain>'),
        "parameter-entity": (".xml", b'<!DOCTYPE d SYSTEM "http://127.0.0.1:9/x.dtd"><domain><name>a</name></domain>'),
        "deep-nesting": (".xml", domain % (b"<a>" * 1_000_000)),
        "attribute-of-100-mb": (".xml", domain % (b'<a b="' + b"x" * 100_000_000 + b'"/>')),
        "attribute-of-50-mb": (".xml", domain % (b'<a b="' + b"x" * 50_000_000 + b'"/>')),
        "text-of-50-mb": (".xml", domain % (b"<title>" + b"x" * 50_000_000 + b"</title>")),
        "50-mb-of-text": (".xml", domain % (b"<metadata>%s</metadata>" % (b"x" * 1_000_000) * 50)),
        "50-mb-of-comments": (".xml", domain % (b"<!--" + b"x" * 50_000_000 + b"-->")),
        "50-mb-of-elements": (".xml", domain % (b"<a/>" * 12_500_000)),
        "50-mb-of-attributes": (".xml", domain % (b'<metadata a="%s"/>' % (b"x" * 480) * 100_000)),
        "many-documents": (".xml", (domain % b"") * 200_000),
        "truncated": (".xml", (domain % b"<devices>")[:-12]),
        "utf-16": (".xml", (domain % b"").decode().encode("utf-16")),
        "bom": (".xml", b"\xef\xbb\xbf" + domain % b""),
        "latin-1": (".xml", b'<?xml version="1.0" encoding="iso-8859-1"?>' + domain % b"<title>B\xfcro</title>"),
        "unknown-encoding": (".xml", b'<?xml version="1.0" encoding="klingon"?>' + domain % b""),
        "binary": (".xml", os.urandom(100_000)),
        "huge-number": (".xml", domain % (b"<vcpu>" + b"9" * 500_000 + b"</vcpu>")),
        "ovf-traversal": (".ovf", OVF % (b"../../etc/passwd", 1)),
        "ova-traversal": (".ova", tar(("a.ovf", OVF % (b"d", 1), REGULAR), ("../../etc/cron.d/x", b"x", REGULAR))),
        "ova-symlink": (".ova", tar(("a.ovf", OVF % (b"d", 1), REGULAR), ("d", b"", LINK))),
        "ova-absolute": (".ova", tar(("/a.ovf", OVF % (b"d", 1), REGULAR))),
        "ova-lying-tar-size": (".ova", tar(("a.ovf", OVF % (b"d", 1), REGULAR), ("d", b"x", REGULAR), lie=2**33 - 2)),
        "ova-without-descriptor": (".ova", tar(("d", b"x", REGULAR))),
        "ova-twice-the-name": (".ova", tar(("a.ovf", OVF % (b"d", 1), REGULAR), ("a.ovf", OVF % (b"e", 1), REGULAR))),
        "ova-wrong-checksum": (".ova", tar(("a.ovf", OVF % (b"d", 1), REGULAR), ("a.mf", b"SHA256(a.ovf)= " + b"0" * 64, REGULAR))),
        "ova-no-tar": (".ova", b"\x1f\x8b" + os.urandom(5000)),
        "vmx-binary": (".vmx", os.urandom(100_000)),
        "vmx-line-of-4-mb": (".vmx", b'displayName = "' + b"x" * 4_000_000 + b'"'),
        "vmx-traversal": (".vmx", b'displayName = "a"\nscsi0:0.present = "TRUE"\nscsi0:0.fileName = "../../../etc/shadow"\n'),
        "vmx-many-lines": (".vmx", b'a = "b"\n' * 500_000),
        "vmx-regex": (".vmx", b"a" + b" " * 200_000 + b"="),
    }


def run() -> None:
    """Read every case and print outcome, time and memory."""
    worst_seconds, worst_bytes, bad, outcomes = 0.0, 0, [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (suffix, content) in (cases() | {"ova-of-600-mb": (".ova", None)}).items():
            path = pathlib.Path(folder) / f"{name}{suffix}"
            write_large(path) if content is None else path.write_bytes(content)
            outcome, seconds, used = read(path)
            path.unlink()
            path.with_name(f"{path.name}.json").unlink(missing_ok=True)
            outcomes[name] = outcome.replace(f"{folder}/", "")[:160]
            worst_seconds, worst_bytes = max(worst_seconds, seconds), max(worst_bytes, used)
            if not used or "\n" in outcome:
                bad.append(name)
    figure("intake", "hostile", "cases", len(outcomes), "cases", outcomes=outcomes)
    figure("intake", "hostile", "crashed", len(bad), "cases", "== 0", not bad, cases=bad)
    figure("intake", "hostile", "cpu_worst", round(worst_seconds, 2), "s", "<= 60", worst_seconds <= CPU_SECONDS)
    figure("intake", "hostile", "memory_worst", round(worst_bytes / 2**20), "MiB", "<= 512", worst_bytes <= MEMORY_BYTES)


def read(path: pathlib.Path) -> tuple[str, float, int]:
    """Return outcome, CPU seconds and peak memory of reading a file; memory 0 where the process died."""
    done = subprocess.run(
        [sys.executable, "-c", _READ.format(memory=MEMORY_BYTES), str(path)], capture_output=True, text=True, timeout=600, check=False,
        env=dict(os.environ, PYTHONPATH=str(ROOT / "collections")), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS,) * 2))
    if done.returncode:
        return f"exit {done.returncode}: {done.stderr[-300:]}", 0.0, 0
    outcome, seconds, used = json.loads(done.stdout)
    return outcome, seconds, used


if __name__ == "__main__":
    run()
