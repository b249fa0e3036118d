# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's models, sized: one list says how each is served, one document what each needs and how it can run."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.codec import API_VERSION
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.demand import Demand, Expression, Shape, Toleration, Workload

from .memory import token_bytes
from .model import Model, SizingError
from .service import Need, Service, need
from .shapes import Offer, shapes


@dataclass(frozen=True)
class ServedModel:
    """One model to serve; `files` are read to size it, `path` is where the server finds the weights (a path in its image or a model name).

    `accelerator` is any, full, mig or none; `context` counts the tokens of one request, `parallel` the requests at once. `claim` names a
    PersistentVolumeClaim that is mounted read-only at /models, `arguments` go to the server unchanged.
    """

    name: str
    image: str
    path: str
    files: list[str] = field(default_factory=list)
    engine: str = "llama"
    namespace: str = ""
    context: int = 4096
    parallel: int = 1
    cache_type: str = "f16"
    unified: bool = False
    accelerator: str = "any"
    cpu_milli: int = 1000
    replicas: int = 1
    priority: int = 0
    utilisation_percent: int = 92
    claim: str = ""
    arguments: list[str] = field(default_factory=list)
    node_selector: dict[str, str] = field(default_factory=dict)
    required: list[Expression] = field(default_factory=list)
    tolerations: list[Toleration] = field(default_factory=list)

    def service(self) -> Service:
        """Return the part of the entry that decides how much is needed."""
        return Service(self.engine, self.context, self.parallel, self.cache_type, self.unified, self.cpu_milli, self.utilisation_percent)


@dataclass(frozen=True)
class Sized:
    """One model with what it needs: `needs` by shape name, `bytes_per_token` of its cache without windows."""

    name: str
    model: Model
    bytes_per_token: int
    shapes: list[Shape]
    needs: dict[str, Need]


@dataclass(frozen=True)
class Sizing:
    """All sized models, sorted by name."""

    models: list[Sized]
    api_version: str = API_VERSION
    kind: str = "Sizing"


def size(entries: list[ServedModel], read: Callable[[list[str]], Model], found: list[Offer] | None) -> Sizing:
    """Return the sizing of every entry, with the shapes that fit `found`; without a capacity (None) only needs on CPU or one device."""
    names = [entry.name for entry in entries]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise SizingError(f"models: the name {double[0]!r} is used twice")
    return Sizing([_one(entry, read, found) for entry in sorted(entries, key=lambda entry: entry.name)])


def workloads(sizing: Sizing, entries: list[ServedModel], namespace: str = "") -> Demand:
    """Return the models as workloads of a Demand, to be planned together with the VMs."""
    sized = {one.name: one for one in sizing.models}
    return Demand([Workload(
        name=entry.name, kind="model", shapes=sized[entry.name].shapes, namespace=entry.namespace or namespace, replicas=entry.replicas,
        priority=entry.priority, node_selector=entry.node_selector, required=entry.required, tolerations=entry.tolerations,
        live_migratable=False, source=sized[entry.name].model.architecture) for entry in sorted(entries, key=lambda entry: entry.name)])


def _one(entry, read, found):
    try:
        model, service = read(entry.files), entry.service()
        if found is None:
            least = need(model, service, 0 if service.engine == "llama" and entry.accelerator in ("any", "none") else 1)
            fitting, needs = [], {"cpu" if not least.devices else "1 device": least}
        else:
            fitting = shapes(model, service, found, entry.accelerator)
            needs = {shape.name: need(model, service, shape.gpu.count if shape.gpu else 0) for shape in fitting}
    except SizingError as error:
        raise SizingError(f"model {entry.name!r}: {error}") from None
    return Sized(entry.name, model, token_bytes(model, entry.cache_type, entry.cache_type), fitting, needs)
