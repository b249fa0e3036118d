# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The artefacts that the lab's images, manifests and legacy guests consist of."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab import (
    conversion_image,
    guest,
    kubevirt_build,
    platform_images,
    workload_images,
)
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.build import Go
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Artifact


def artifacts(sources: Path, go: Go) -> tuple[Artifact, ...]:
    """All of them; `sources` is the files directory of the role lab, in an installed collection or a checkout."""
    rooms = sources.parents[2] / "plugins" / "module_utils"
    kubevirt = kubevirt_build.kubevirt_binaries(sources, rooms, go)
    cdi = kubevirt_build.cdi_binaries(sources, rooms, go)
    base = platform_images.debian_base()
    model = workload_images.model()
    return (
        kubevirt,
        cdi,
        kubevirt_build.kubevirt_manifests(go, kubevirt),
        kubevirt_build.cdi_manifests(go, cdi),
        base,
        platform_images.platform_images(sources, rooms, go, base, kubevirt, cdi),
        model,
        workload_images.helm(),
        workload_images.llama_server_image(rooms, model),
        workload_images.mover_image(rooms, base),
        conversion_image.conversion_image(),
        workload_images.gpu_stand_in_image(sources, rooms, go),
        guest.legacy_guests(sources, rooms),
    )
