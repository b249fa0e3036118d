# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vSphere through pyVmomi: one PropertyCollector traversal for VMs, hosts, datastores, networks and clusters, and one REST session for tags."""
from __future__ import annotations

import base64
import datetime
import enum
import json
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import LegacyVm, Rule
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.marks import VSPHERE_KEY

from . import vsphere, vsphere_rules
from .errors import IntakeError
from .ledger import Node

PAGE = 500
_TYPED = ("device", "backing", "bootOrder", "rule", "group")
VM_PROPERTIES = [
    "name", "config.uuid", "config.instanceUuid", "config.annotation", "config.version", "config.firmware", "config.guestId",
    "config.guestFullName", "config.changeTrackingEnabled", "config.template", "config.hardware", "config.bootOptions", "config.cpuAffinity",
    "config.nestedHVEnabled", "config.cpuHotAddEnabled", "config.memoryHotAddEnabled", "config.ftInfo", "config.cpuAllocation",
    "config.memoryAllocation", "config.flags.diskUuidEnabled", "config.extraConfig", "runtime.powerState", "runtime.host",
    "runtime.consolidationNeeded", "summary.quickStats.balloonedMemory", "customValue", "datastore", "snapshot.rootSnapshotList", "guest.net"]


def read(source: str, access, accepted: Iterable[str] = ()) -> tuple[list[LegacyVm], list[Rule]]:
    """Read all VMs and DRS rules of a vCenter or ESXi host; raises IntakeError when it can't be reached or refuses."""
    try:
        from pyVim.connect import Disconnect, SmartConnect
        from pyVmomi import vim, vmodl
    except ImportError:
        raise IntakeError(f"{source}: the Python library pyVmomi is missing for {sys.executable}; install pyvmomi") from None
    place = urllib.parse.urlsplit(source)
    if not place.hostname or not access.username:
        raise IntakeError(f"{source}: expected vsphere://host[:port], and username and password beside it")
    port = place.port or 443
    try:
        service = SmartConnect(host=place.hostname, port=port, user=access.username, pwd=access.password,
                               sslContext=_context(access), httpConnectionTimeout=access.timeout_seconds)
    except vim.fault.InvalidLogin:
        raise IntakeError(f"{source}: user {access.username} or its password is wrong") from None
    except (OSError, vmodl.MethodFault, ssl.SSLError) as error:
        raise IntakeError(f"{source}: {getattr(error, 'msg', None) or error}"[:300]) from None
    try:
        found = {kind: list(items) for kind, items in _collect(vim, vmodl, service.content).items()}
    except (OSError, vmodl.MethodFault) as error:
        raise IntakeError(f"{source}: {getattr(error, 'msg', None) or type(error).__name__}"[:300]) from None
    except Exception as error:  # pyVmomi raises whatever it meets in an answer that is no proper one
        raise IntakeError(f"{source}: its answer can't be read: {type(error).__name__}: {error}"[:300]) from None
    finally:
        Disconnect(service)
    names = {reference: values.get("name", reference) for items in found.values() for reference, values in items}
    tags = _tags(f"https://{place.hostname}:{port}", access, [reference for reference, _values in found["VirtualMachine"]])
    clusters = _clusters(found)
    configs = [node("configurationEx", values.get("configurationEx"), {})
               for _reference, values in sorted(found["ClusterComputeResource"], key=lambda item: item[0])]
    groups = {vm: of for config in configs for vm, of in vsphere_rules.groups(config).items()}
    vms = [vsphere.parse(reference, tree(_unmarked(values), names, clusters), source, names, tags.get(reference, []), accepted, groups.get(reference, ()))
           for reference, values in sorted(found["VirtualMachine"], key=lambda item: item[0])]
    ids = {vm.moid: vm.id for vm in vms}
    return vms, [rule for config in configs for rule in vsphere_rules.rules(config, ids, names)]


def _context(access) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=access.ca_file or None) if access.validate_certs else ssl._create_unverified_context()  # noqa: S323
    except OSError as error:
        raise IntakeError(f"{access.ca_file}: {error.strerror or error}; expected certificates of authorities in PEM") from None


def _unmarked(values: dict) -> dict:
    """Return the properties of a VM that a migration has fenced as they were before."""
    options = values.get("config.extraConfig") or []
    mark = next((option.value for option in options if option.key == VSPHERE_KEY), "")
    if not mark:
        return values
    return {**values, "config.template": False, "runtime.powerState": "poweredOn" if json.loads(mark)["running"] else "poweredOff",
            "config.extraConfig": [option for option in options if option.key != VSPHERE_KEY]}


def _clusters(found: dict[str, list]) -> dict[str, Node]:
    """Return what the cluster does for its VMs by host: whether DRS, HA and power management are on."""
    services = {}
    for reference, values in found["ClusterComputeResource"]:
        config = values.get("configurationEx")
        settings = {"drs": "drsConfig", "ha": "dasConfig", "dpm": "dpmConfigInfo"}
        on = {name: getattr(getattr(config, field, None), "enabled", None) for name, field in settings.items()}
        services[reference] = Node("cluster", {name: str(bool(state)).lower() for name, state in on.items()})
    return {host: services[values["parent"]._moId] for host, values in found["HostSystem"] if values.get("parent") and values["parent"]._moId in services}


def _collect(vim, vmodl, content) -> dict[str, Iterator[tuple[str, dict]]]:
    """Return (reference, properties) of every object by kind, page by page."""
    collector = vmodl.query.PropertyCollector
    wanted = {vim.VirtualMachine: VM_PROPERTIES, vim.HostSystem: ["name", "parent"], vim.Datastore: ["name"], vim.Network: ["name"],
              vim.ClusterComputeResource: ["name", "configurationEx"]}
    view = content.viewManager.CreateContainerView(content.rootFolder, list(wanted), True)
    traversal = collector.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
    spec = collector.FilterSpec(objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[traversal])],
                                propSet=[collector.PropertySpec(type=kind, pathSet=paths) for kind, paths in wanted.items()])
    out: dict[str, list] = {kind.__name__.rpartition(".")[2]: [] for kind in wanted}
    result = content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions(maxObjects=PAGE))
    while result:
        for item in result.objects:
            kind = next(kind for kind in wanted if isinstance(item.obj, kind))
            out[kind.__name__.rpartition(".")[2]].append((item.obj._moId, {entry.name: entry.val for entry in item.propSet}))
        if not result.token:
            break
        result = content.propertyCollector.ContinueRetrievePropertiesEx(result.token)
    view.Destroy()
    return out


def tree(values: dict, names: dict[str, str], clusters: dict[str, Node]) -> Node:
    """Return the properties of a VM as one tree: `config.hardware` becomes <config><hardware .../></config>.

    `config.extraConfig`, a list of keys and values as in a VMX file, becomes one element with an attribute for each key, in lower case.
    """
    root = Node("vm")
    host = getattr(values.get("runtime.host"), "_moId", "")
    if host in clusters:
        root.children.append(clusters[host])
    for path, value in sorted(values.items()):
        place, steps = root, path.split(".")
        for step in steps[:-1]:
            below = next((child for child in place.children if child.tag == step), None)
            if below is None:
                below = Node(step)
                place.children.append(below)
            place = below
        if path == "config.extraConfig":
            place.children.append(Node("extraConfig", {option.key.lower(): str(option.value) for option in value}))
        else:
            _put(place, steps[-1], value, names)
    return root


def node(tag: str, value: object, names: dict[str, str]) -> Node:
    """Return a data object as a node: scalars are attributes, data objects and lists children, and where kinds differ their kind is one."""
    out = Node(tag)
    if value is None:
        return out
    if tag in _TYPED:
        out.attributes["type"] = type(value).__name__.rpartition(".")[2]
    for entry in value._GetPropertyList():
        if entry.name not in ("dynamicType", "dynamicProperty"):
            _put(out, entry.name, getattr(value, entry.name), names)
    return out


def _put(place: Node, name: str, value: object, names: dict[str, str]) -> None:
    if value is None:
        return
    if isinstance(value, (bool, int, float, str, bytes, enum.Enum, datetime.datetime)):
        place.attributes[name] = str(value).lower() if isinstance(value, bool) else str(value)
    elif isinstance(value, (list, tuple)):
        for item in value:
            if hasattr(item, "_GetPropertyList") and not hasattr(item, "_moId"):
                place.children.append(node(name, item, names))
            else:
                place.children.append(Node(name, {"value": _reference(item, names)}))
    elif hasattr(value, "_moId"):
        place.attributes[name] = _reference(value, names)
    elif hasattr(value, "_GetPropertyList"):
        place.children.append(node(name, value, names))
    else:
        place.attributes[name] = str(value)


def _reference(value: object, names: dict[str, str]) -> str:
    moid = getattr(value, "_moId", None)
    return names.get(moid, moid) if moid else str(value)


def _tags(base: str, access, references: list[str]) -> dict[str, list[str]]:
    """Return `category/tag` names by VM; none where the server has no tagging service."""
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=_context(access)))

    def call(method: str, path: str, body: dict | None = None, headers: dict | None = None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{base}/rest/com/vmware/cis/{path}", method=method, data=data,  # noqa: S310
                                         headers={"Content-Type": "application/json", **(headers or {})})
        with opener.open(request, timeout=access.timeout_seconds) as answer:
            text = answer.read()
        return json.loads(text)["value"] if text else None

    secret = base64.b64encode(f"{access.username}:{access.password}".encode()).decode()
    try:
        session = {"vmware-api-session-id": call("POST", "session", {}, {"Authorization": f"Basic {secret}"})}
        attached = call("POST", "tagging/tag-association?~action=list-attached-tags-on-objects",
                        {"object_ids": [{"type": "VirtualMachine", "id": reference} for reference in references]}, session) or []
        titles, categories = {}, {}
        for tag in sorted({tag for entry in attached for tag in entry["tag_ids"] or ()}):
            found = call("GET", f"tagging/tag/id:{urllib.parse.quote(tag)}", None, session)
            category = found["category_id"]
            if category not in categories:
                categories[category] = call("GET", f"tagging/category/id:{urllib.parse.quote(category)}", None, session)["name"]
            titles[tag] = f"{categories[category]}/{found['name']}"
        call("DELETE", "session", None, session)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return {}
        raise IntakeError(f"{base}: tags: HTTP {error.code} {error.reason}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntakeError(f"{base}: tags: {error}"[:300]) from None
    return {entry["object_id"]["id"]: sorted(titles[tag] for tag in entry["tag_ids"] or ()) for entry in attached}
