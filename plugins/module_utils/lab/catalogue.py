# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every artefact of the lab by name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.tandem.hybrid.plugins.module_utils.lab import binaries, images_catalogue
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.build import Go
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Artifact, Built, Cache, default_root
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.progress import reporter


def catalogue(sources: Path, go: Go) -> dict[str, Artifact]:
    """All artefacts; ``sources`` is the files directory of the role lab."""
    return {artifact.name: artifact for artifact in
            (*binaries.artifacts(sources, go), *images_catalogue.artifacts(sources, go))}


def chosen(known: dict[str, Artifact], names: Sequence[str]) -> list[Artifact]:
    """The artefacts called ``names``; LabError names one that doesn't exist."""
    for name in names:
        if name not in known:
            raise LabError(f"there is no artefact called {name!r}; known are {', '.join(sorted(known))}")
    return [known[name] for name in names]


def ensure(parameters: Mapping[str, Any], check_only: bool) -> dict[str, Any]:
    """Have the artefacts that module lab_artifacts is asked for in the cache; returns the module's result."""
    root = Path(parameters["cache"]) if parameters["cache"] else default_root(os.environ)
    wanted = chosen(catalogue(Path(parameters["sources"]), Go.find()), parameters["names"])
    cache = Cache(root, reporter(parameters["progress"]))
    if check_only:
        done = [Built(one.name, one.key, cache.path(one), built=not cache.has(one)) for one in wanted]
    else:
        done = [cache.get(one) for one in wanted]
    built = {one.name: one.seconds for one in done if one.built}
    return {"changed": bool(built), "built": built, "paths": {one.name: str(one.path) for one in done}}
