# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XML as hostile input: no document type, no entities but the five of XML, bounded depth, size and counts."""
from __future__ import annotations

import codecs
import re
from xml.parsers import expat

from .errors import IntakeError
from .ledger import Node

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 64
MAX_ATTRIBUTES = 256
MAX_VALUE = 1024 * 1024
MAX_NODES = 200_000
MAX_DOCUMENTS = 10_000
PREFIXES = {
    "http://libvirt.org/schemas/domain/qemu/1.0": "qemu",
    "http://libvirt.org/schemas/domain/lxc/1.0": "lxc",
    "http://libvirt.org/schemas/domain/xen/1.0": "xen",
    "http://libvirt.org/schemas/domain/bhyve/1.0": "bhyve",
    "http://libosinfo.org/xmlns/libvirt/domain/1.0": "libosinfo",
    "http://www.w3.org/XML/1998/namespace": "xml",
    "http://www.w3.org/2001/XMLSchema-instance": "xsi",
    "http://www.vmware.com/schema/ovf": "vmw",
    "http://www.virtualbox.org/ovf/machine": "vbox",
    "http://www.vmware.com/vcloud/v1.5": "vcloud",
    "http://www.vmware.com/vcloud": "vcd",
}
OVF = ""
_PATTERNS = (
    (re.compile(r"https?://(schemas|www)\.(dmtf\.org|vmware\.com)/(wbem/)?(schema/)?ovf/envelope/[\d.]+|"
                r"http://www\.vmware\.com/schema/ovf/1/envelope"), OVF),
    (re.compile(r"https?://schemas\.dmtf\.org/(wbem/)?.*CIM_VirtualSystemSettingData.*"), "vssd"),
    (re.compile(r"https?://schemas\.dmtf\.org/(wbem/)?.*CIM_ResourceAllocationSettingData.*"), "rasd"),
    (re.compile(r"https?://schemas\.dmtf\.org/(wbem/)?.*CIM_(EthernetPort|Storage)AllocationSettingData.*"), "asd"),
    (re.compile(r"https?://schemas\.dmtf\.org/(wbem/)?.*/common"), "cim"),
)
_ENCODING = re.compile(rb"""^<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,40})["']""")
_NATIVE = {"utf-8", "utf-16", "iso8859-1", "ascii"}
_MORE = (expat.errors.codes[expat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT],
         expat.errors.codes[expat.errors.XML_ERROR_MISPLACED_XML_PI])


def parse(raw: bytes, where: str) -> Node:
    """Parse one document; raises IntakeError with the place of the first thing that is wrong."""
    documents = parse_many(raw, where)
    if len(documents) != 1:
        raise IntakeError(f"{where}: {len(documents)} XML documents one after the other; expected one")
    return documents[0]


def parse_many(raw: bytes, where: str) -> list[Node]:
    """Parse a file of one or more documents, as `virsh dumpxml` appends them; raises IntakeError."""
    if len(raw) > MAX_BYTES:
        raise IntakeError(f"{where}: {len(raw)} bytes; a descriptor has at most {MAX_BYTES}")
    raw, encoding = _decode(raw, where)
    documents: list[Node] = []
    start, budget = 0, MAX_NODES
    while True:
        builder = _Builder(where, encoding, budget)
        try:
            builder.parser.Parse(raw[start:] if start else raw, True)
        except (LookupError, ValueError) as error:  # expat asks Python about an encoding it doesn't know
            raise IntakeError(f"{where}: encoding: {str(error)[:120]}") from None
        except expat.ExpatError as error:
            skip = builder.parser.ErrorByteIndex
            if error.code in _MORE and builder.root is not None and not builder.stack and skip > 0 and len(documents) < MAX_DOCUMENTS:
                documents.append(builder.root)
                budget -= builder.nodes
                start += skip
                continue
            line = raw.count(b"\n", 0, start) + error.lineno
            raise IntakeError(f"{where}, line {line}: not well-formed XML: {expat.ErrorString(error.code)}") from None
        documents.append(builder.root)
        return documents


def _decode(raw: bytes, where: str) -> tuple[bytes, str | None]:
    for mark in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if raw.startswith(mark):
            return raw.rstrip(b"\0") if mark == codecs.BOM_UTF8 else raw, None
    raw = raw.strip(b" \t\r\n\0") if not raw[:4].count(0) else raw
    if not raw:
        raise IntakeError(f"{where}: empty; expected an XML descriptor")
    match = _ENCODING.match(raw)
    if match:
        name = match.group(1).decode()
        try:
            known = codecs.lookup(name).name
            if known in _NATIVE:
                return raw, None
            return raw.decode(known).encode("utf-8"), "utf-8"
        except (LookupError, ValueError, TypeError) as error:
            raise IntakeError(f"{where}: encoding {name}: {str(error)[:120]}") from None
    return raw, None


class _Builder:
    def __init__(self, where: str, encoding: str | None, budget: int):
        self.where, self.budget, self.nodes = where, budget, 0
        self.root: Node | None = None
        self.stack: list[Node] = []
        self.parts: list[list[str]] = []
        self.sizes: list[int] = []
        parser = expat.ParserCreate(encoding, " ")
        parser.buffer_text = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        self.parser = parser

    def _refuse(self, what: str):
        raise IntakeError(f"{self.where}, line {self.parser.CurrentLineNumber}: {what}")

    def _doctype(self, name, _system, _public, _internal):
        self._refuse(f"document type declaration <!DOCTYPE {name[:40]}>; a VM descriptor has none, and entities are not expanded")

    def _start(self, name, attributes):
        self.nodes += 1
        if self.nodes > self.budget:
            self._refuse(f"more than {MAX_NODES} elements")
        if len(self.stack) >= MAX_DEPTH:
            self._refuse(f"elements nested deeper than {MAX_DEPTH}")
        if len(attributes) > MAX_ATTRIBUTES:
            self._refuse(f"more than {MAX_ATTRIBUTES} attributes on one element")
        for key, value in attributes.items():
            if len(value) > MAX_VALUE or len(key) > MAX_VALUE:
                self._refuse(f"attribute {_short(key)[:40]} of {len(value)} characters; at most {MAX_VALUE}")
        node = Node(_short(name))
        for key, value in attributes.items():
            short = _short(key)
            node.attributes[short if short not in node.attributes else f"ovf:{short}"] = value
        if self.stack:
            self.stack[-1].children.append(node)
        else:
            self.root = node
        self.stack.append(node)
        self.parts.append([])
        self.sizes.append(0)

    def _end(self, _name):
        self.stack.pop().text = "".join(self.parts.pop())
        self.sizes.pop()

    def _data(self, data):
        self.sizes[-1] += len(data)
        if self.sizes[-1] > MAX_VALUE:
            self._refuse(f"text longer than {MAX_VALUE} characters")
        self.parts[-1].append(data)


_names: dict[str, str] = {}


def _short(name: str) -> str:
    """Return `prefix:tag` for a name in a known name space (none for OVF's own), `{space}tag` for another."""
    if " " not in name:
        return name
    if name not in _names:
        space, _blank, tag = name.rpartition(" ")
        prefix = PREFIXES.get(space) or next((prefix for pattern, prefix in _PATTERNS if pattern.fullmatch(space)), None)
        if len(_names) > 10_000:
            _names.clear()
        _names[name] = f"{{{space}}}{tag}" if prefix is None else f"{prefix}:{tag}" if prefix else tag
    return _names[name]
