# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loss ledger: every field of a source descriptor gets exactly one fate.

A source is a tree of `Node`, whatever its syntax (XML, VMX, properties of vSphere). A *field* of it is: each attribute (name space
declarations are none), the text directly inside an element unless it is blank, and each element without attributes, text and children.
Parsers read through a `Cursor`, which notes what was read and where it goes. What nobody read is dropped by a named rule or unknown.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Fate, LedgerLine

TEXT = "#text"
EMPTY = "#empty"
VALUE_LENGTH = 200
HIDDEN = "(hidden)"
_VALUES = ("value", "vmw:value", TEXT)
_NAMES = ("key", "vmw:key", "name")
_SECRET = re.compile(r"passw|secret(?!s?/@(type|usage|uuid))|dhcert|session$|sshkey|private|\.key$|guestinfo\.", re.IGNORECASE)


@dataclass(slots=True)
class Node:
    """An element of a source: its tag (with a name space prefix where it has one), attributes, own text and children."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def field_names(self) -> Iterator[str]:
        """Yield the names of the fields that this element itself has."""
        yield from self.attributes
        if self.text.strip():
            yield TEXT
        elif not self.attributes and not self.children:
            yield EMPTY


@dataclass(frozen=True)
class DropRule:
    """Fields that have no counterpart and may go: a path pattern (`*` one step, `**` any steps, `|` alternatives) and the reason."""

    pattern: str
    reason: str


class Rules:
    """Drop rules, tried in order."""

    def __init__(self, rules: Iterable[DropRule]):
        self._rules = [(compile_pattern(rule.pattern), rule.reason) for rule in rules]
        self._known: dict[str, str | None] = {}

    def reason(self, path: str) -> str | None:
        """Return why the field at a path without indices may be dropped, or None."""
        if path not in self._known:
            self._known[path] = next((reason for pattern, reason in self._rules if pattern.fullmatch(path)), None)
        return self._known[path]


class Ledger:
    """The fates of the fields read so far, by node and field name."""

    def __init__(self) -> None:
        self._fates: dict[tuple[int, str], tuple[Fate, str, str, str]] = {}

    def note(self, node: Node, name: str, fate: Fate, target: str = "", becomes: str = "", reason: str = "") -> None:
        """Record the fate of one field; the last word about a field counts."""
        self._fates[id(node), name] = (fate, target, becomes, reason)

    def lines(self, root: Node, rules: Rules, accepted: Iterable[str] = (), prefix: str = "") -> list[LedgerLine]:
        """Return one line for every field below `root`, in document order; `accepted` are patterns of unknown fields to let go."""
        waved = Rules(DropRule(pattern, "accepted by the operator") for pattern in accepted)
        out = []
        for node, path, bare in walk(root, prefix):
            for name in node.field_names():
                place, pattern = _place(path, name), _place(bare, name)
                fate = self._fates.get((id(node), name))
                if fate is None:
                    reason = rules.reason(pattern) or waved.reason(pattern)
                    fate = (Fate.DROPPED, "", "", reason) if reason else (Fate.UNKNOWN, "", "", "")
                value = node.text.strip() if name == TEXT else node.attributes.get(name, "")
                out.append(LedgerLine(place, HIDDEN if name in _VALUES and _names_a_secret(node) else visible(pattern, value), *fate))
        return out


class Cursor:
    """An element seen by a parser; reading a field through it settles the field's fate."""

    __slots__ = ("ledger", "node", "where")

    def __init__(self, node: Node, ledger: Ledger, where: str = ""):
        self.node, self.ledger, self.where = node, ledger, where

    def __iter__(self) -> Iterator[Cursor]:
        return (Cursor(child, self.ledger, self.where) for child in self.node.children)

    @property
    def tag(self) -> str:
        return self.node.tag

    def peek(self, name: str, default: str = "") -> str:
        """Return an attribute without settling its fate."""
        return self.node.attributes.get(name, default)

    def attr(self, name: str, target: str, default: str = "") -> str:
        """Return an attribute and note that it is mapped to `target`."""
        value = self.node.attributes.get(name)
        if value is None:
            return default
        self.ledger.note(self.node, name, Fate.MAPPED, target)
        return value.strip()

    def text(self, target: str) -> str:
        """Return the own text and note that it is mapped to `target`."""
        if self.node.text.strip():
            self.ledger.note(self.node, TEXT, Fate.MAPPED, target)
        return self.node.text.strip()

    def flag(self, target: str) -> bool:
        """Note that the element's mere presence is mapped to `target`; always true."""
        self.ledger.note(self.node, EMPTY, Fate.MAPPED, target)
        return True

    def change(self, name: str, target: str, becomes: str, reason: str) -> None:
        """Note that a field goes to `target` with another value, and why."""
        self.ledger.note(self.node, name, Fate.CHANGED, target, becomes, reason)

    def drop(self, name: str, reason: str) -> None:
        """Note that a field is dropped, and why."""
        if name in self.node.field_names():
            self.ledger.note(self.node, name, Fate.DROPPED, "", "", reason)

    def drop_all(self, reason: str) -> None:
        """Drop every field of this element and below, and say why."""
        for node, _path, _bare in walk(self.node):
            for name in node.field_names():
                self.ledger.note(node, name, Fate.DROPPED, "", "", reason)

    def child(self, *tags: str) -> Cursor | None:
        """Return the first child on a path of tags, or None."""
        node = self.node
        for tag in tags:
            node = next((child for child in node.children if child.tag == tag), None)
            if node is None:
                return None
        return Cursor(node, self.ledger, self.where)

    def children(self, *tags: str) -> list[Cursor]:
        """Return all children with one of the tags, in document order."""
        return [Cursor(child, self.ledger, self.where) for child in self.node.children if child.tag in tags]

    def child_text(self, tag: str, target: str) -> str:
        """Return the text of a child and note it as mapped; empty when there is none."""
        child = self.child(tag)
        return child.text(target) if child else ""

    def child_attr(self, tag: str, name: str, target: str, default: str = "") -> str:
        """Return an attribute of a child and note it as mapped."""
        child = self.child(tag)
        return child.attr(name, target, default) if child else default


def walk(root: Node, prefix: str = "") -> Iterator[tuple[Node, str, str]]:
    """Yield every node with its path, with indices where siblings share a tag, and the same without indices and root."""
    stack = [(root, f"{prefix}/{root.tag}", "")]
    while stack:
        node, path, bare = stack.pop()
        yield node, path, bare
        totals: dict[str, int] = {}
        for child in node.children:
            totals[child.tag] = totals.get(child.tag, 0) + 1
        seen: dict[str, int] = {}
        below = []
        for child in node.children:
            seen[child.tag] = seen.get(child.tag, 0) + 1
            index = f"[{seen[child.tag]}]" if totals[child.tag] > 1 else ""
            below.append((child, f"{path}/{child.tag}{index}", f"{bare}/{child.tag}" if bare else child.tag))
        stack.extend(reversed(below))


def count_fields(root: Node) -> int:
    """Return the number of fields of a source tree."""
    return sum(1 for node, _path, _bare in walk(root) for _name in node.field_names())


def totals(lines: Iterable[LedgerLine]) -> dict[str, int]:
    """Return the number of ledger lines by fate."""
    out = {fate.value: 0 for fate in Fate}
    for line in lines:
        out[line.fate.value] += 1
    return out


def visible(path: str, value: str) -> str:
    """Return a value as the ledger shows it: shortened, and hidden where the field's name says that it is a secret."""
    if value and (_SECRET.search(path) or re.search(r"passw(or)?d\s*[=:]|rootpw", value, re.IGNORECASE)):
        return HIDDEN
    return value if len(value) <= VALUE_LENGTH else value[: VALUE_LENGTH - 3] + "..."


def _names_a_secret(node: Node) -> bool:
    """Tell whether an element of key and value holds a secret: its key says so, or OVF's password attribute."""
    return node.attributes.get("password") == "true" or any(_SECRET.search(node.attributes.get(name, "")) for name in _NAMES)


def _place(path: str, name: str) -> str:
    if name == TEXT:
        return f"{path}/text()" if path else "text()"
    if name == EMPTY:
        return path
    return f"{path}/@{name}" if path else f"@{name}"


def compile_pattern(pattern: str) -> re.Pattern:
    """Return the regular expression of a path pattern: `*` one step, `**` any steps, `|` alternatives."""
    parts = []
    for alternative in pattern.split("|"):
        text = re.escape(alternative.strip()).replace(r"\*\*", "\0").replace(r"\*", "[^/]*")
        parts.append(text.replace("/\0", "(?:/.*)?").replace("\0", ".*"))
    return re.compile("|".join(f"(?:{part})" for part in parts))
