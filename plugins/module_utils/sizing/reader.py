# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a model's own description from files."""
from __future__ import annotations

import os

from .from_gguf import from_headers
from .gguf import read_header
from .huggingface import CONFIG_BYTES, INDEX_BYTES, from_config
from .model import Model, SizingError

INDEX = "model.safetensors.index.json"


def read_model(paths: list[str]) -> Model:
    """Return the model in a GGUF file (all parts of a split one) or a config.json; raises SizingError naming the path."""
    if not paths:
        raise SizingError("no path given; expected a GGUF file or a config.json")
    try:
        if paths[0].endswith(".json"):
            return _config(paths[0])
        headers = []
        for path in paths:
            with open(path, "rb") as file:
                headers.append(read_header(file.read, path))
        return from_headers(headers, paths[0])
    except OSError as error:
        raise SizingError(f"{error.filename}: {error.strerror}; expected a GGUF file or a config.json") from None


def _config(path):
    index, raw_index = os.path.join(os.path.dirname(path), INDEX), None
    if os.path.exists(index):
        with open(index, "rb") as file:
            raw_index = file.read(INDEX_BYTES + 1)
    with open(path, "rb") as file:
        return from_config(file.read(CONFIG_BYTES + 1), path, raw_index)
