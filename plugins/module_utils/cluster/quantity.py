# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes quantities. Pure."""

from __future__ import annotations

import re
from fractions import Fraction

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_SUFFIXES = {"": Fraction(1), "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000)}
_SUFFIXES |= {letter: Fraction(1000) ** power for power, letter in enumerate("kMGTPE", 1)}
_SUFFIXES |= {f"{letter}i": Fraction(1024) ** power for power, letter in enumerate("KMGTPE", 1)}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d{1,2})|([a-zA-Z]{0,2}))")


def quantity(text: str | int) -> Fraction:
    """The exact value of a quantity such as 500m, 1.5Gi or 2e3; ClusterError if it is none."""
    match = _QUANTITY.fullmatch(str(text))
    if not match or (match.group(3) or "") not in _SUFFIXES:
        raise ClusterError(f"{text!r} is not a Kubernetes quantity (such as 500m, 2 or 1.5Gi)")
    number, exponent, suffix = match.groups()
    return Fraction(number) * (Fraction(10) ** int(exponent) if exponent else _SUFFIXES[suffix or ""])
