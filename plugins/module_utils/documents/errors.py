# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class TandemError(Exception):
    """A failure whose text is one clear sentence for the operator; every room raises a subclass of its own."""


class DocumentError(TandemError):
    """A document or a part of it is malformed; the text names the file or the field."""
