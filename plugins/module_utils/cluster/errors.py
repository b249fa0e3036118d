# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError


class ClusterError(TandemError):
    """Something about the cluster or an object in it; the text is one sentence for a person."""


class Unreachable(ClusterError):
    """No answer from the API server, or no usable kubeconfig."""


class Refused(ClusterError):
    """The API server answered with an error; `status` is the HTTP code, `details` the Status object's details."""

    def __init__(self, message: str, status: int, details: dict | None = None):
        super().__init__(message)
        self.status = status
        self.details = details or {}


class UnknownKind(ClusterError):
    """The cluster does not serve this kind (its CustomResourceDefinition is not installed)."""


class Conflict(ClusterError):
    """Other field managers own fields that should be applied; `owners` lists the fields (`.spec.replicas`) of each."""

    def __init__(self, message: str, owners: dict[str, list[str]] | None = None):
        super().__init__(message)
        self.owners = owners or {}


class NotReady(ClusterError):
    """Something did not become ready, or not go away, in time."""
