# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.pods import problem, problems
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.readiness import verdict
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.status import Expected

OPERATOR = [{"type": "Available", "status": "True"}, {"type": "Progressing", "status": "False"},
            {"type": "Degraded", "status": "False"}]


def thing(api_version, kind, status, *, spec=None, **meta):
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", **meta}, "spec": spec or {}, "status": status}


def kubevirt(**changes):
    status = {"phase": "Deployed", "conditions": OPERATOR, "observedKubeVirtVersion": "v1.8.4",
              "targetKubeVirtVersion": "v1.8.4", "observedGeneration": 2, **changes}
    return thing("kubevirt.io/v1", "KubeVirt", status, generation=2)


def test_kubevirt_is_ready_in_its_target_version_only():
    assert verdict(kubevirt(), Expected(version="v1.8.4")).ready
    upgrading = verdict(kubevirt(observedKubeVirtVersion="v1.8.3"))
    assert not upgrading.ready and "v1.8.3 on the way to v1.8.4" in upgrading.reason
    assert "not v1.9.0" in verdict(kubevirt(), Expected(version="v1.9.0")).reason


def test_a_status_from_before_the_last_change_does_not_count():
    stale = verdict(kubevirt(observedGeneration=1))
    assert not stale.ready and "generation 1 of 2" in stale.reason


@pytest.mark.parametrize(("condition", "text"), [
    ({"type": "Degraded", "status": "True", "reason": "Crash", "message": "virt-api"}, "Degraded is True (Crash: virt-api)"),
    ({"type": "Progressing", "status": "True"}, "Progressing is True"),
])
def test_kubevirt_reads_every_condition(condition, text):
    rest = [entry for entry in OPERATOR if entry["type"] != condition["type"]]
    assert text in verdict(kubevirt(conditions=[condition, *rest])).reason


def test_cdi_compares_versions_without_the_leading_v():
    status = {"phase": "Deployed", "conditions": OPERATOR, "observedVersion": "v1.65.0", "targetVersion": "v1.65.0"}
    cdi = thing("cdi.kubevirt.io/v1beta1", "CDI", status)
    assert verdict(cdi, Expected(version="1.65.0")).ready
    assert not verdict(thing("cdi.kubevirt.io/v1beta1", "CDI", {**status, "phase": "Deploying"})).ready


def policy(state, reason, status="True"):
    return thing("nvidia.com/v1", "ClusterPolicy", {"state": state, "conditions": [
        {"type": "Ready", "status": status, "reason": reason}, {"type": "Error", "status": "False", "reason": "Ready"}]})


def test_cluster_policy_rejects_a_ready_that_only_means_no_gpus():
    assert verdict(policy("ready", "Reconciled")).ready
    assert "no node has an NVIDIA GPU" in verdict(policy("ready", "NoGPUNodes")).reason
    assert "Node Feature Discovery" in verdict(policy("ready", "NFDLabelsMissing")).reason
    assert verdict(policy("ignored", "")).failed
    assert not verdict(policy("notReady", "OperandNotReady", "False")).ready


def test_another_groups_kind_of_the_same_name_has_another_rule():
    kyverno = thing("kyverno.io/v1", "ClusterPolicy", {"conditions": [{"type": "Ready", "status": "True"}]})
    assert verdict(kyverno).ready


def test_hyperconverged():
    conditions = [{"type": "ReconcileComplete", "status": "True"}, *OPERATOR]
    hco = thing("hco.kubevirt.io/v1", "HyperConverged",
                {"conditions": conditions, "versions": [{"name": "operator", "version": "1.18.1"}]})
    assert verdict(hco, Expected(version="1.18.1")).ready
    assert "1.18.1, not 1.19.0" in verdict(hco, Expected(version="1.19.0")).reason


def deployment(generation=1, **status):
    return thing("apps/v1", "Deployment", {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2,
                                           "availableReplicas": 2, **status}, spec={"replicas": 2}, generation=generation)


@pytest.mark.parametrize(("obj", "text"), [
    (deployment(), "ready"),
    (deployment(generation=2), "generation 1 of 2"),
    (deployment(updatedReplicas=1), "1 of 2 replicas are of the new revision"),
    (deployment(replicas=3), "1 replicas of the old revision remain"),
    (deployment(availableReplicas=0), "0 of 2 replicas are available"),
    (deployment(conditions=[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]), "stuck"),
    (thing("apps/v1", "Deployment", {}), "has not seen it yet"),
])
def test_deployment(obj, text):
    found = verdict(obj)
    assert text in found.reason and found.ready == (text == "ready")


def test_a_daemon_set_on_no_node_is_not_ready():
    status = {"observedGeneration": 1, "desiredNumberScheduled": 0}
    assert "no node matches" in verdict(thing("apps/v1", "DaemonSet", status)).reason
    status = {"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}
    assert verdict(thing("apps/v1", "DaemonSet", status)).ready


def test_a_node_must_offer_the_resources():
    node = thing("v1", "Node", {"conditions": [{"type": "Ready", "status": "True"}],
                                "allocatable": {"nvidia.com/gpu": "1", "memory": "1Gi"}})
    assert verdict(node, Expected(resources={"nvidia.com/gpu": 1, "memory": "900Mi"})).ready
    assert "offers 1 of nvidia.com/gpu, not 2" in verdict(node, Expected(resources={"nvidia.com/gpu": "2"})).reason
    assert "offers 0 of x/y" in verdict(node, Expected(resources={"x/y": 1})).reason


def test_a_failed_job_is_not_waited_for():
    failed = thing("batch/v1", "Job", {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]})
    assert verdict(failed).failed and "BackoffLimitExceeded" in verdict(failed).reason
    assert verdict(thing("batch/v1", "Job", {"conditions": [{"type": "Complete", "status": "True"}]})).ready


def test_virtual_machine_and_its_phases():
    running = thing("kubevirt.io/v1", "VirtualMachine", {"printableStatus": "Running", "ready": True,
                                                         "observedGeneration": 1}, generation=3)
    assert verdict(running).ready
    stopped = thing("kubevirt.io/v1", "VirtualMachine", {"printableStatus": "Stopped"})
    assert not verdict(stopped).ready
    assert verdict(stopped, Expected(phases=("Stopped",))).ready


def test_data_volume_tells_its_progress():
    running = thing("cdi.kubevirt.io/v1beta1", "DataVolume", {"phase": "ImportInProgress", "progress": "41.5%"})
    assert "at 41.5%" in verdict(running).reason
    assert verdict(thing("cdi.kubevirt.io/v1beta1", "DataVolume", {"phase": "Failed"})).failed


def test_conditions_may_be_asked_for_by_name():
    obj = thing("example.com/v1", "Thing", {"conditions": [
        {"type": "Synced", "status": "True", "observedGeneration": 1}]}, generation=2)
    assert "generation 1, not of 2" in verdict(obj, Expected(conditions={"Synced": "True"})).reason


def test_absent_and_dying_objects_are_not_ready():
    assert verdict(None).reason == "does not exist"
    assert verdict(thing("v1", "ConfigMap", {}, deletionTimestamp="now")).reason == "is being deleted"
    assert verdict(thing("v1", "ConfigMap", {})).ready


def pod(name, **status):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "status": status}


def test_pods_say_which_container_and_why():
    waiting = pod("a", phase="Pending", containerStatuses=[
        {"name": "web", "image": "web:1", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}])
    assert problem(waiting) == "container web (web:1) waits (ImagePullBackOff: not found)"
    crashed = pod("b", phase="Running", containerStatuses=[
        {"name": "web", "image": "web:1", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
         "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}])
    assert "ended with exit code 137 (OOMKilled) before" in problem(crashed)
    homeless = pod("c", phase="Pending", conditions=[
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}])
    assert problem(homeless) == "not scheduled (Unschedulable: 0/2 nodes)"
    assert problem(pod("d", phase="Succeeded")) is None
    assert problems([waiting] * 7)[-1] == "and 2 more pods"
