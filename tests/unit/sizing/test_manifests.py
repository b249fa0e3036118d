# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io

import pytest

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Toleration
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, DeviceUse, Plan, PodRule, Unplaced
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.from_gguf import from_headers
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.gguf import read_header
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.enforcement import node_affinity
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.manifests import manifests
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.model import SizingError
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.shapes import Offer
from ansible_collections.tandem.hybrid.plugins.module_utils.sizing.sizing import ServedModel, size

from . import ggufs

MIG = "nvidia.com/mig-1g.10gb"
OFFERS = [Offer("mig", "1g.10gb", 9_500_000_000, 7), Offer("full", "", 80 * 2**30, 2)]


def read(_files):
    return from_headers([read_header(io.BytesIO(ggufs.smollm2()).read, "m.gguf")], "m.gguf")


def entry(**changes):
    return ServedModel(**{"name": "assistant", "image": "llama:1", "path": "/models/m.gguf", "context": 1024, "parallel": 2, "accelerator": "mig",
                          "cpu_milli": 250} | changes)


def plan(*assignments, **changes):
    return Plan("c", "d", list(assignments), **changes)


def placed(replica=0, node="n1", **changes):
    return Assignment(**{"workload": "assistant", "kind": "model", "replica": replica, "node": node, "shape": "1xmig-1g.10gb",
                         "devices": [DeviceUse("n1-gpu-0", "1g.10gb", 0)], "resource": MIG, "eligible": ["n1", "n2"]} | changes)


def render(one, *assignments):
    return manifests([one], size([one], read, OFFERS), plan(*assignments), "models")


def test_a_llama_server_on_a_slice():
    deployment, service = render(entry(), placed())
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["resources"]["limits"][MIG] == "1"
    assert container["args"][:2] == ["-m", "/models/m.gguf"]
    assert container["args"][container["args"].index("-c") + 1] == "2048"
    assert container["args"][container["args"].index("-t") + 1] == "1"
    assert container["startupProbe"]["failureThreshold"] * container["startupProbe"]["periodSeconds"] >= 60
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert service["spec"]["selector"] == {"tandem.hybrid/model": "assistant"}
    assert deployment["spec"]["selector"]["matchLabels"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_a_vllm_server_over_a_claim():
    one = entry(engine="vllm", accelerator="full", claim="weights", path="/models/smollm2", cpu_milli=4000,
                tolerations=[Toleration("nvidia.com/gpu", "Exists", "", "NoSchedule")])
    shape = size([one], read, OFFERS).models[0].shapes[0].name
    deployment = render(one, placed(shape=shape, resource="nvidia.com/gpu", tolerations=one.tolerations))[0]
    pod, container = deployment["spec"]["template"]["spec"], deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["vllm", "serve"] and container["args"][0] == "/models/smollm2"
    assert container["args"][container["args"].index("--tensor-parallel-size") + 1] == "1"
    assert container["readinessProbe"]["httpGet"]["path"] == "/v1/models"
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/dev/shm", "/models"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_replicas_in_two_shapes_become_two_deployments_behind_one_service():
    one = entry(accelerator="any", replicas=2)
    full = size([one], read, OFFERS).models[0].shapes[1].name
    objects = render(one, placed(0), placed(1, "n3", shape=full, resource="nvidia.com/gpu"))
    assert [(o["kind"], o["metadata"]["name"]) for o in objects] == [
        ("Deployment", "assistant-1"), ("Deployment", "assistant-2"), ("Service", "assistant")]


def test_affinity_prefers_the_plan_and_allows_failover():
    stanza = node_affinity([placed(0, "n1"), placed(1, "n2", eligible=["n2", "n3"])])["nodeAffinity"]
    required = stanza["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]["matchExpressions"][0]
    assert required["values"] == ["n1", "n2", "n3"]
    assert stanza["preferredDuringSchedulingIgnoredDuringExecution"][0]["preference"]["matchExpressions"][0]["values"] == ["n1", "n2"]
    pinned = node_affinity([placed(pin=True)])["nodeAffinity"]
    assert list(pinned) == ["requiredDuringSchedulingIgnoredDuringExecution"]


def test_the_rules_of_the_plan_are_on_the_pods():
    rules = [PodRule("apart", "apart", ["assistant", "embedder"], "kubernetes.io/hostname", replicated=["assistant"]),
             PodRule("near", "together", ["assistant", "orders"], "topology.kubernetes.io/zone", required=False, namespaces=["models", "shop"]),
             PodRule("even", "spread", ["assistant"], "topology.kubernetes.io/zone", max_skew=2), PodRule("other", "apart", ["x", "y"], "k")]
    one, carried = entry(), ["apart", "near", "even"]
    made = plan(placed(rules=carried), placed(1, "n2", rules=carried), rules=rules)
    template = manifests([one], size([one], read, OFFERS), made, "models")[0]["spec"]["template"]
    assert template["metadata"]["labels"]["tandem.hybrid/workload"] == "assistant"

    def members(*names):
        return {"matchExpressions": [{"key": "tandem.hybrid/workload", "operator": "In", "values": list(names)}]}
    assert template["spec"]["affinity"]["podAntiAffinity"] == {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": members("assistant", "embedder")}]}
    assert template["spec"]["affinity"]["podAffinity"] == {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": {
        "topologyKey": "topology.kubernetes.io/zone", "labelSelector": members("assistant", "orders"), "namespaces": ["models", "shop"]}}]}
    assert template["spec"]["topologySpreadConstraints"] == [{
        "maxSkew": 2, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule", "nodeTaintsPolicy": "Honor",
        "labelSelector": members("assistant")}]


def test_what_the_plan_does_not_place_is_refused():
    sizing = size([entry()], read, OFFERS)
    with pytest.raises(SizingError, match="has no place in the plan: no slice is left"):
        manifests([entry()], sizing, plan(unplaced=[Unplaced("assistant", 0, [], "", "no slice is left")]), "models")
    with pytest.raises(SizingError, match=r"shape 'old' is not in the sizing"):
        manifests([entry()], sizing, plan(placed(shape="old")), "models")
    with pytest.raises(SizingError, match="is not in the sizing"):
        manifests([entry(name="other")], sizing, plan(), "models")
    with pytest.raises(SizingError, match="names no resource"):
        manifests([entry()], sizing, plan(placed(resource="")), "models")
