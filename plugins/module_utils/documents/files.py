# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents on disk: read with a clear error, written atomically."""
from __future__ import annotations

import os
import tempfile

from . import codec
from .errors import DocumentError

WRITTEN_BY = {"Estate": "assess", "Capacity": "plan", "Demand": "plan", "Plan": "plan", "Sizing": "plan", "Journal": "migrate", "Verification": "verify"}


def read(cls: type, path: str):
    """Read one document of type `cls` from a JSON file; raises DocumentError naming the file."""
    try:
        with open(path, "rb") as file:
            raw = file.read(codec.MAX_BYTES + 1)
    except OSError as error:
        by = f", which the playbook {WRITTEN_BY[cls.__name__]} writes" if cls.__name__ in WRITTEN_BY else ""
        raise DocumentError(f"{path}: {error.strerror}; expected a document of kind {cls.__name__}{by}") from None
    return codec.loads(cls, raw, path)


def write(path: str, text: str, check_mode: bool = False) -> bool:
    """Write text to a file by rename, mode 0644; returns whether the content differs from what was there. In check mode only tells."""
    raw = text.encode()
    try:
        with open(path, "rb") as file:
            if file.read() == raw:
                return False
    except FileNotFoundError:
        pass
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}") from None
    if check_mode:
        return True
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix="." + os.path.basename(path))
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}") from None
    return True
