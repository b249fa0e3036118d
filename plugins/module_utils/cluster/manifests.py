# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests from files, folders and URLs."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.objects import parse

_SUFFIXES = {".yaml", ".yml", ".json"}
_LIMIT_BYTES = 64 << 20
_TIMEOUT_SECONDS = 60


def read(source: str) -> list[dict]:
    """The objects at a path (a file, or every manifest in a folder) or an http(s) or file URL."""
    scheme = urlsplit(source).scheme
    if scheme in ("http", "https", "file"):
        return parse(_download(source), source)
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
        return [obj for file in files for obj in read(str(file))]
    try:
        return parse(path.read_text(encoding="utf-8"), source)
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"cannot read the manifest {source}: {getattr(error, 'strerror', None) or error}") from error


def _download(url: str) -> str:
    try:
        with urllib.request.build_opener().open(url, timeout=_TIMEOUT_SECONDS) as answer:
            data = answer.read(_LIMIT_BYTES + 1)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ClusterError(f"cannot download the manifest {url}: {reason}; without internet access give the path "
                           "of a copy") from error
    if len(data) > _LIMIT_BYTES:
        raise ClusterError(f"the manifest {url} is larger than {_LIMIT_BYTES >> 20} MiB")
    return data.decode("utf-8", errors="replace")
