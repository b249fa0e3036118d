# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of a GPU by its product name, for nodes that don't say it: devices bound for VMs are invisible to GPU feature discovery."""
from __future__ import annotations

import re

# Sizes in GiB as the drivers report them, rounded down; where a model comes in two sizes without saying which, the smaller.
GIB = {"a10": 22, "a10g": 22, "a16": 15, "a2": 14, "a30": 23, "a40": 44, "a100": 39, "h100": 79, "h200": 140, "b200": 179, "gb200": 185,
       "l4": 22, "l40": 44, "l40s": 44, "t4": 14, "p4": 7, "p40": 23, "p100": 12, "v100": 16, "mi210": 63, "mi250": 63, "mi300x": 191}


def memory_bytes(product: str) -> int:
    """Return the memory in bytes of a product by a size in its name (80GB), else by its model; 0 where neither is known."""
    words = [word for word in re.split(r"[^a-z0-9]+", product.lower()) if word]
    for word in words:
        if match := re.fullmatch(r"(\d+)gb", word):
            return (int(match[1]) - 1) << 30
    return next((GIB[word] << 30 for word in words if word in GIB), 0)
