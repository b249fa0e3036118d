# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sizing needs to know of a model, whatever file it was read from."""
from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError


class SizingError(TandemError):
    """A model can't be read or sized; the text names the file and the field."""


@dataclass(frozen=True)
class Layer:
    """One attention layer: cached elements per token for keys and values; `window` in tokens, 0 for full attention.

    `latent` marks multi-head latent attention, whose cache is the same on every tensor-parallel rank.
    """

    key_width: int
    value_width: int
    window: int = 0
    latent: bool = False


@dataclass(frozen=True)
class Model:
    """A model as its own files describe it; `weights_bytes` is the sum of all tensors as they lie in memory."""

    name: str
    architecture: str
    format: str
    parameters: int
    weights_bytes: int
    heads: int
    kv_heads: int
    hidden: int
    feed_forward: int
    vocabulary: int
    trained_context: int
    layers: list[Layer]
    types: dict[str, int] = field(default_factory=dict)


def ceil_to(value: int, step: int) -> int:
    """Return `value` rounded up to a multiple of `step`."""
    return -(-value // step) * step
