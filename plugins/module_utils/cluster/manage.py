# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules ask of this room, from their options to their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.apply import Change, Options, apply
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster, connect
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.helm import (
    Helm,
    Release,
    apply_release,
    remove_release,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.manifests import read
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.nodes import clean
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.objects import Reference, checked
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.olm import (
    Operator,
    examples,
    subscribe,
    unsubscribe,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.remove import Removal, owned_objects, remove
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.status import Expected
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.wait import Target, look, wait, wait_gone


def manage(options: dict, *, check: bool, diff: bool) -> dict:
    """Module `objects`: apply or remove the objects that the options give."""
    objects = checked(options["definition"] or [], "definition")
    for source in options["src"] or []:
        objects += read(source)
    cluster = connect(options["kubeconfig"], options["context"])
    timeout_seconds = options["timeout_seconds"]
    if options["state"] == "absent":
        if not objects:
            objects = owned_objects(cluster, options["component"])
        steps = remove(cluster, objects, namespace=options["namespace"], owned_only=options["owned_only"],
                       timeout_seconds=timeout_seconds, check=check)
    else:
        how = Options(options["component"], options["namespace"], options["force_conflicts"],
                      tuple(options["yield_to"]))
        steps = apply(cluster, objects, how, check=check)
        if options["wait"] and not check:
            wait(cluster, [Target(step.reference) for step in steps], timeout_seconds)
    return _result(steps, diff)


def ready(options: dict, *, check: bool) -> dict:
    """Module `ready`: wait for the objects, or with `check` only look at them."""
    targets = [_target(entry) for entry in options["objects"]]
    cluster = connect(options["kubeconfig"], options["context"])
    if check or not options["wait"]:
        verdicts = look(cluster, targets)
    else:
        verdicts = wait(cluster, targets, options["timeout_seconds"], say=_teller(options["progress"]))
    found = [{**target.reference.summary(), "ready": verdict.ready, "reason": verdict.reason}
             for target, verdict in zip(targets, verdicts, strict=True)]
    return {"changed": False, "ready": all(verdict.ready for verdict in verdicts), "objects": found}


def release(options: dict, *, check: bool, diff: bool) -> dict:
    """Module `helm_release`: install, upgrade or remove a release, its chart's definitions first."""
    wanted = Release(options["name"], options["namespace"], options["component"], options["chart"] or "",
                     options["repository"], options["version"], options["values"])
    helm = Helm(options["binary"], options["kubeconfig"], options["context"])
    cluster = connect(options["kubeconfig"], options["context"])
    steps: list = []
    if options["state"] == "absent":
        change = remove_release(cluster, helm, wanted, options["timeout_seconds"], check=check)
    else:
        steps = apply(cluster, helm.crds(wanted), Options(options["component"]), check=check)
        change = apply_release(cluster, helm, wanted, check=check)
    changed = [step for step in steps if step.action != "unchanged"]
    result = {"changed": bool(changed) or change.action in ("created", "changed", "deleted"), "action": change.action,
              "definitions": [{**step.reference.summary(), "action": step.action} for step in steps]}
    return {**result, "diff": [step.diff for step in changed] + change.diffs} if diff else result


def olm_operator(options: dict, *, check: bool, diff: bool) -> dict:
    """Module `olm_operator`: subscribe to an operator, or unsubscribe."""
    operator = Operator(options["name"], options["namespace"], options["component"], options["channel"] or "",
                        options["source"] or "", options["source_namespace"], options["starting_csv"],
                        options["approval"] == "manual")
    cluster = connect(options["kubeconfig"], options["context"])
    csv = None
    if options["state"] == "absent":
        steps = unsubscribe(cluster, operator, options["timeout_seconds"], check=check)
    else:
        steps, csv = subscribe(cluster, operator, options["timeout_seconds"], check=check)
    found = {example["kind"]: example for example in examples(csv)}
    return {**_result(steps, diff), "csv": csv and csv["metadata"]["name"], "examples": found}


def info(options: dict) -> dict:
    """Module `cluster_info`: what kind of cluster this is."""
    cluster = connect(options["kubeconfig"], options["context"])
    openshift = cluster.get("config.openshift.io/v1", "ClusterVersion", "version")
    desired = ((openshift or {}).get("status") or {}).get("desired") or {}
    nodes = cluster.list("v1", "Node")
    groups = cluster.request("GET", "/apis")["groups"]
    return {"changed": False, "kubernetes_version": cluster.version(), "openshift_version": desired.get("version"),
            "distribution": "openshift" if openshift else "vanilla",
            "api_groups": {group["name"]: [entry["version"] for entry in group["versions"]] for group in groups},
            "nodes": sorted(node["metadata"]["name"] for node in nodes)}


def clean_nodes(options: dict, *, check: bool) -> dict:
    """Module `node_cleanup`: take labels and annotations off all nodes."""
    patches = clean(connect(options["kubeconfig"], options["context"]), options["names"], check=check)
    keys = {node: sorted(key for part in patch.values() for key in part) for node, patch in patches.items()}
    return {"changed": bool(keys), "nodes": keys}


def drop_workloads(options: dict, *, check: bool) -> dict:
    """Module `workloads`: delete the confirmed objects; ClusterError names the others and nothing is deleted."""
    cluster = connect(options["kubeconfig"], options["context"])
    found = _workloads(cluster, options["kinds"], options["namespace"])
    confirmed = set(options["confirmed"])
    others = [reference for reference in found if f"{reference.namespace}/{reference.name}" not in confirmed]
    if others:
        names = ", ".join(reference.text for reference in others[:10])
        more = f" and {len(others) - 10} more" if len(others) > 10 else ""
        raise ClusterError(f"refused while workloads exist: {names}{more}; delete them, or name each as "
                           f"namespace/name in {options['confirmed_variable']}")
    if not check:
        for reference in found:
            cluster.delete(*reference.key, propagation="Foreground")
        wait_gone(cluster, found, options["timeout_seconds"])
    return {"changed": bool(found), "objects": [{**reference.summary(), "action": "deleted"} for reference in found]}


def _teller(path: str | None) -> Callable[[str], None]:
    """Writes lines to the file, each at once."""
    def say(line: str) -> None:
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")
    return say if path else lambda _line: None


def _result(steps: Sequence[Change | Removal], diff: bool) -> dict:
    changed = [step for step in steps if step.action in ("created", "changed", "deleted")]
    result = {"changed": bool(changed),
              "objects": [{**step.reference.summary(), "action": step.action} for step in steps]}
    return {**result, "diff": [step.diff for step in changed]} if diff else result


def _workloads(cluster: Cluster, kinds: Sequence[dict], namespace: str | None) -> list[Reference]:
    found = [Reference.of(obj) for kind in kinds
             for obj in cluster.list(kind["api_version"], kind["kind"], namespace,
                                     label_selector=kind["label_selector"])
             if not _has_listed_owner(obj, kinds)]
    return sorted(found, key=lambda reference: (reference.namespace or "", reference.kind, reference.name))


def _has_listed_owner(obj: dict, kinds: Sequence[dict]) -> bool:
    """A VirtualMachineInstance of a VirtualMachine, say: it goes with its owner."""
    listed = {kind["kind"] for kind in kinds}
    return any(owner.get("kind") in listed for owner in obj["metadata"].get("ownerReferences") or [])


def _target(entry: dict) -> Target:
    expected = Expected(entry["version"], entry["resources"] or {}, tuple(entry["phases"] or ()),
                        entry["conditions"] or {})
    return Target(Reference(entry["api_version"], entry["kind"], entry["name"], entry["namespace"]), expected)
