# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules and plugins of this room do: from options to an Estate, its file and a summary."""
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, files
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Estate
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan

from . import assembly, sources_reader, summary
from .errors import IntakeError

MOST_NAMES = 20


def estate(options: dict) -> Estate:
    """Read all sources of a module's options into one Estate; raises IntakeError."""
    access = sources_reader.Access(options.get("username", ""), options.get("password", ""), options.get("validate_certs", True),
                                   ca_file=options.get("ca_file") or "")
    vms, rules, seen = [], [], set()
    names = set(options.get("names") or ())
    for source in options["sources"]:
        found, with_rules = sources_reader.read(source, options.get("accept_unknown") or (), access)
        seen |= {vm.name for vm in found}
        vms += [vm for vm in found if not names or vm.name in names]
        rules += with_rules
    if names - seen:
        known = ", ".join(sorted(seen)[:MOST_NAMES]) + (f" and {len(seen) - MOST_NAMES} more" if len(seen) > MOST_NAMES else "")
        raise IntakeError(f"{', '.join(options['sources'])}: no VM named {', '.join(sorted(names - seen))}; there are {known or 'none'}")
    sizes = {key: _bytes(key, value) for key, value in (options.get("disk_bytes") or {}).items()}
    return assembly.assemble(vms, options["sources"], rules, sizes, options.get("device_ids"), options.get("disk_buses"))


def survey(options: dict, check_mode: bool = False, diff: bool = False) -> dict:
    """Read the sources, write the Estate where `dest` says so, and return a module's result."""
    found = estate(options)
    result = {"changed": False, **summary.summary(found)}
    if options.get("dest"):
        text, before = codec.pretty(found), _present(options["dest"]) if diff else ""
        result["changed"] = files.write(options["dest"], text, check_mode)
        result["dest"] = options["dest"]
        if diff and result["changed"]:
            result["diff"] = {"before": before, "after": text, "before_header": options["dest"], "after_header": options["dest"]}
    return result


def inventory(options: dict) -> Estate:
    """Return the Estate for an inventory: the document of option `estate`, else what the sources have."""
    if options.get("estate"):
        return files.read(Estate, options["estate"])
    if not options.get("sources"):
        raise IntakeError("estate or sources: one of them is needed")
    return estate(options)


def waves(path: str | None) -> dict[str, int]:
    """Return the wave of each workload of a Plan document; empty without one."""
    return {one.workload: one.wave for one in files.read(Plan, path).assignments} if path else {}


def _present(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""


def _bytes(key: str, value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if number < 1:
        raise IntakeError(f"disk_bytes: {key}: expected a size in bytes, got {value!r}")
    return number
