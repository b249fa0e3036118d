# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, files
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.capacity import Capacity, Gpu
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand, GpuRequest
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Plan
from ansible_collections.tandem.hybrid.plugins.module_utils.gpu import mig, names
from ansible_collections.tandem.hybrid.plugins.module_utils.placement import enforce, questions
from ansible_collections.tandem.hybrid.plugins.module_utils.placement.fitting import reasons


def placement_fits(capacity, demand, workload, node):
    """What forbids a workload on a node; an empty list when it fits."""
    return _answer(lambda: reasons(_load(Capacity, capacity), _load(Demand, demand), workload, node))


def placement_stanza(plan, demand, workload, replica=None):
    """Affinity, tolerations, selector and spread of a planned workload's pods."""
    return _answer(lambda: enforce.stanza(_load(Plan, plan), _load(Demand, demand), workload, replica))


def placement_resources(plan, workload):
    """Requests of a planned workload's pod as Kubernetes quantities."""
    return _answer(lambda: enforce.resources(_load(Plan, plan), workload))


def placement_why(plan, capacity, demand, name):
    """Why a workload or a node is planned as it is, as lines."""
    return _answer(lambda: questions.why(_load(Capacity, capacity), _load(Demand, demand), _load(Plan, plan), name))


def mig_layouts(product):
    """All maximal MIG layouts of a product, each as a list of profile@slot."""
    return _answer(lambda: [[f"{name}@{slot}" for name, slot in layout] for layout in mig.layouts(mig.required_geometry(product))])


def gpu_resource_name(request, mode="container", gpu=None):
    """The extended resource to ask for, for a GPU request on a node of a mode."""
    return _answer(lambda: names.resource_name(codec.load(GpuRequest, request, "request"), codec.load(Gpu, gpu or {"id": "any"}, "gpu"), mode))


def _load(cls, source):
    """A document as data, or the path of its file."""
    return files.read(cls, source) if isinstance(source, str) else codec.load(cls, source, cls.__name__.lower())


def _answer(work):
    try:
        return work()
    except TandemError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self):
        return {"placement_fits": placement_fits, "placement_stanza": placement_stanza, "placement_resources": placement_resources,
                "placement_why": placement_why, "mig_layouts": mig_layouts, "gpu_resource_name": gpu_resource_name}
