# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Typed dataclasses to and from JSON: strict loading, canonical bytes, digest and JSON Schema from one set of type hints."""
from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
import math
import re
import types
import typing

from .errors import DocumentError

API_VERSION = "tandem.hybrid/v1"
MAX_BYTES = 512 * 1024 * 1024
# Above this a file that does not say what it is stays unparsed: its objects would take many times its size in memory.
LOOKED_AT_BYTES = 4 * 1024 * 1024


def dump(value: object) -> object:
    """Return a dataclass as plain JSON data; fields that hold their default stay out, `api_version` and `kind` excepted."""
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        out = {}
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if field.name not in ("api_version", "kind") and _is_default(field, item):
                continue
            out[field.name] = dump(item)
        return out
    if isinstance(value, dict):
        return {str(key): dump(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [dump(item) for item in value]
    return value


def canonical_bytes(value: object) -> bytes:
    """Return the canonical JSON form: sorted keys, no white space, UTF-8."""
    return json.dumps(dump(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: object) -> str:
    """Return `sha256:<hex>` of the canonical form."""
    return "sha256:" + hashlib.sha256(canonical_bytes(value)).hexdigest()


def pretty(value: object) -> str:
    """Return the form that is written to files: sorted keys, two spaces, a newline at the end."""
    return json.dumps(dump(value), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def load(cls: type, data: object, where: str = ""):
    """Build `cls` from JSON data; raises DocumentError naming the field for an unknown, missing or ill-typed one."""
    if not isinstance(data, dict):
        raise DocumentError(f"{where or cls.__name__}: expected an object, got {_short(data)}")
    hints = _hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(map(str, data)) - set(fields))
    if unknown:
        raise DocumentError(f"{_join(where, unknown[0])}: unknown field; {cls.__name__} knows {', '.join(sorted(fields))}")
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], _join(where, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise DocumentError(f"{_join(where, name)}: missing; expected {_name(hints[name])}")
    try:
        return cls(**values)
    except DocumentError as error:
        raise DocumentError(f"{where + ': ' if where else ''}{error}") from None


def loads(cls: type, raw: bytes | str, where: str):
    """Parse JSON text of one document of type `cls`; `where` names its source in errors."""
    if len(raw) > MAX_BYTES:
        raise DocumentError(f"{where}: larger than {MAX_BYTES} bytes; this is no {cls.__name__} document")
    if len(raw) > LOOKED_AT_BYTES and not _says_kind(raw, cls.__name__):
        raise DocumentError(f"{where}: kind: expected {cls.__name__!r}, which occurs nowhere in its {len(raw)} bytes")
    try:
        data = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{where}: not JSON: {error}") from None
    if not isinstance(data, dict) or data.get("kind") != cls.__name__:
        found = data.get("kind") if isinstance(data, dict) else type(data).__name__
        raise DocumentError(f"{where}: kind: expected {cls.__name__!r}, got {found!r}")
    if data.get("api_version") != API_VERSION:
        raise DocumentError(f"{where}: api_version: expected {API_VERSION!r}, got {data.get('api_version')!r}")
    return load(cls, data, where)


def schema(cls: type) -> dict:
    """Return the JSON Schema (draft 2020-12) of a document type, made from its type hints."""
    definitions: dict[str, dict] = {}
    root = _schema(cls, definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"https://tandem.hybrid/v1/{cls.__name__}.json",
            "title": cls.__name__, **root, "$defs": definitions}


@functools.cache
def _hints(cls: type) -> dict:
    return typing.get_type_hints(cls)


def _is_default(field: dataclasses.Field, item: object) -> bool:
    if field.default is not dataclasses.MISSING:
        return item == field.default
    if field.default_factory is not dataclasses.MISSING:
        return item == field.default_factory()
    return False


def _value(hint, data, where):
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is typing.Any or hint is object:
        return data
    if origin in (typing.Union, types.UnionType):
        if data is None and type(None) in args:
            return None
        return _value(next(arg for arg in args if arg is not type(None)), data, where)
    if origin in (list, tuple):
        if not isinstance(data, list):
            raise DocumentError(f"{where}: expected a list, got {_short(data)}")
        items = [_value(args[0], item, f"{where}[{index}]") for index, item in enumerate(data)]
        return tuple(items) if origin is tuple else items
    if origin is dict:
        if not isinstance(data, dict):
            raise DocumentError(f"{where}: expected an object, got {_short(data)}")
        return {str(key): _value(args[1], item, _join(where, str(key))) for key, item in data.items()}
    if dataclasses.is_dataclass(hint):
        return load(hint, data, where)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        try:
            return hint(data)
        except ValueError:
            allowed = ", ".join(repr(member.value) for member in hint)
            raise DocumentError(f"{where}: expected one of {allowed}, got {_short(data)}") from None
    return _scalar(hint, data, where)


def _scalar(hint, data, where):
    if hint is float and isinstance(data, (int, float)) and not isinstance(data, bool) and math.isfinite(data):
        return float(data)
    if hint is int and isinstance(data, float) and data.is_integer():
        return int(data)
    if hint is not float and isinstance(data, hint) and (hint is bool or not isinstance(data, bool)):
        return data
    raise DocumentError(f"{where}: expected {_name(hint)}, got {_short(data)}")


def _schema(hint, definitions):
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is typing.Any or hint is object:
        return {}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if arg is type(None) else _schema(arg, definitions) for arg in args]}
    if origin in (list, tuple):
        return {"type": "array", "items": _schema(args[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(args[1], definitions)}
    if dataclasses.is_dataclass(hint):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}
            hints = _hints(hint)
            fields = dataclasses.fields(hint)
            required = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
            definitions[hint.__name__].update(
                type="object", additionalProperties=False, required=required,
                properties={f.name: _schema(hints[f.name], definitions) for f in fields})
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"enum": [member.value for member in hint]}
    return {"type": {str: "string", int: "integer", float: "number", bool: "boolean"}[hint]}


def _name(hint) -> str:
    return getattr(hint, "__name__", None) if typing.get_origin(hint) is None else str(hint).replace("typing.", "")


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _short(data) -> str:
    text = repr(data)
    return text if len(text) <= 60 else text[:57] + "..."


def _says_kind(raw: bytes | str, kind: str) -> bool:
    pattern = rf'"kind"\s*:\s*"{kind}"'
    return re.search(pattern if isinstance(raw, str) else pattern.encode(), raw) is not None


def _no_constant(name: str):
    raise ValueError(f"{name} is not allowed")
