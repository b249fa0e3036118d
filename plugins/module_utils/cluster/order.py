# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Iterable

# What others need comes first. Kinds of custom resources are unknown here and come last: their
# definition and operator are above them.
_APPLY_ORDER = (
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass",
    "StorageClass",
    "RuntimeClass",
    "DeviceClass",
    "ResourceQuota",
    "LimitRange",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ClusterRole",
    "Role",
    "ClusterRoleBinding",
    "RoleBinding",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Service",
    "ResourceClaimTemplate",
    "DaemonSet",
    "Deployment",
    "StatefulSet",
    "Job",
    "CronJob",
    "Pod",
    "HorizontalPodAutoscaler",
    "Ingress",
    "APIService",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
)
_RANK = {kind: rank for rank, kind in enumerate(_APPLY_ORDER)}
_BUILT_IN_GROUPS = {"", "apps", "batch", "autoscaling", "policy"}


def rank(obj: dict) -> int:
    """Position of an object in the order of applying; custom resources come after all built-in kinds."""
    group = obj.get("apiVersion", "").rpartition("/")[0]
    built_in = group in _BUILT_IN_GROUPS or group.endswith(".k8s.io")
    return _RANK.get(obj.get("kind", ""), len(_RANK)) if built_in else len(_RANK)


def for_apply(objects: Iterable[dict]) -> list[dict]:
    """Objects sorted so that each comes after what it needs; stable within a kind."""
    return sorted(objects, key=rank)


def for_delete(objects: Iterable[dict]) -> list[dict]:
    """The reverse of applying: custom resources first, namespaces last."""
    return sorted(objects, key=rank, reverse=True)
