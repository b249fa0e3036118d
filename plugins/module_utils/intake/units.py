# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantities as descriptors write them: memory units of libvirt, OVF and VMX, integers, MAC addresses and UUIDs."""
from __future__ import annotations

import re

from .errors import IntakeError

MAX_QUANTITY = 2**63 - 1
_LIBVIRT = {"b": 1, "bytes": 1, "kb": 1000, "k": 1024, "kib": 1024, "mb": 1000**2, "m": 1024**2, "mib": 1024**2, "gb": 1000**3,
            "g": 1024**3, "gib": 1024**3, "tb": 1000**4, "t": 1024**4, "tib": 1024**4, "pb": 1000**5, "p": 1024**5, "pib": 1024**5,
            "eb": 1000**6, "e": 1024**6, "eib": 1024**6}
_WORDS = {"byte": 1, "bytes": 1, "kilobyte": 2**10, "kilobytes": 2**10, "megabyte": 2**20, "megabytes": 2**20, "gigabyte": 2**30,
          "gigabytes": 2**30, "terabyte": 2**40, "terabytes": 2**40, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40,
          "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_FACTOR = re.compile(r"(\d{1,6})(?:\^(\d{1,3}))?")
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_UUID = re.compile(r"[0-9a-f]{32}")


def integer(text: str, where: str, minimum: int = 0, maximum: int = MAX_QUANTITY) -> int:
    """Return a decimal or 0x-prefixed integer within bounds; raises IntakeError naming the place."""
    text = text.strip()
    try:
        if len(text) > 40:
            raise ValueError
        value = int(text, 16 if text.lower().startswith("0x") else 10)
    except ValueError:
        raise IntakeError(f"{where}: expected an integer, got {text[:40]!r}") from None
    if not minimum <= value <= maximum:
        raise IntakeError(f"{where}: expected {minimum} to {maximum}, got {value}")
    return value


def libvirt_bytes(text: str, unit: str, where: str) -> int:
    """Return bytes for a libvirt quantity; KiB where no unit is given, as libvirt counts memory."""
    factor = _LIBVIRT.get((unit or "KiB").lower())
    if factor is None:
        raise IntakeError(f"{where}: unknown unit {unit[:20]!r}; expected one of bytes, KB, KiB, MB, MiB, GB, GiB, TB, TiB")
    return integer(str(integer(text, where) * factor), where)


def ovf_bytes(text: str, unit: str, where: str, default: int = 2**20) -> int:
    """Return bytes for an OVF quantity; the unit is DSP0004's `byte * 2^20`, an older word like `MegaBytes`, or the default."""
    number = text.strip()
    if re.fullmatch(r"\d{1,30}\.0+", number):
        number = number.partition(".")[0]
    return integer(str(integer(number, where) * ovf_factor(unit, where, default)), where)


def ovf_factor(unit: str, where: str, default: int = 1) -> int:
    """Return the bytes of one OVF unit."""
    words = unit.strip().lower()
    if not words:
        return default
    if words in _WORDS:
        return _WORDS[words]
    factor, parts = 1, [part.strip() for part in words.split("*")]
    head = _WORDS.get(parts[0])
    if head is None or len(parts) > 4:
        raise IntakeError(f"{where}: unknown unit {unit[:40]!r}; expected for example 'byte * 2^20'")
    for part in parts[1:]:
        match = _FACTOR.fullmatch(part.replace(" ", ""))
        if not match or int(match.group(2) or 1) > 62:
            raise IntakeError(f"{where}: unknown unit {unit[:40]!r}; expected for example 'byte * 2^20'")
        factor *= int(match.group(1)) ** int(match.group(2) or 1)
    return head * factor


def mac(text: str, where: str) -> str:
    """Return a MAC address in lower case with colons, or an empty string for an empty one; raises IntakeError."""
    value = text.strip().lower().replace("-", ":")
    if re.fullmatch(r"[0-9a-f]{12}", value):
        value = ":".join(re.findall("..", value))
    if value and not _MAC.fullmatch(value):
        raise IntakeError(f"{where}: expected a MAC address, got {text[:40]!r}")
    return value


def uuid(text: str) -> str:
    """Return a UUID in canonical form (any punctuation accepted, as in VMware's `56 4d ..-.. ..`), or an empty string if it is none or the nil UUID."""
    digits = re.sub(r"[\s{}-]", "", text).lower()
    if not _UUID.fullmatch(digits) or not digits.strip("0"):
        return ""
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
