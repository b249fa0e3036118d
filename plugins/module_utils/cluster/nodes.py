# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators write on nodes and leave there."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster


def left_on(metadata: dict, names: Sequence[str]) -> dict:
    """A merge patch of metadata that takes the labels and annotations off; `names` are keys or domains of keys.

    The domain `kubevirt.io` stands for every key under it, such as `cpu-model.node.kubevirt.io/EPYC`.
    """
    patch = {}
    for part in ("labels", "annotations"):
        found = [key for key in metadata.get(part) or {} if any(_matches(key, name) for name in names)]
        if found:
            patch[part] = dict.fromkeys(sorted(found))
    return patch


def clean(cluster: Cluster, names: Sequence[str], *, check: bool = False) -> dict[str, dict]:
    """Take the labels and annotations off all nodes; returns the patch of each node that had some."""
    patches = {node["metadata"]["name"]: left_on(node["metadata"], names) for node in cluster.list("v1", "Node")}
    patches = {name: patch for name, patch in patches.items() if patch}
    for name, patch in patches.items():
        if not check:
            cluster.patch("v1", "Node", name, None, {"metadata": patch})
    return patches


def _matches(key: str, name: str) -> bool:
    domain = key.partition("/")[0] if "/" in key else ""
    return key == name or domain == name or domain.endswith(f".{name}")
