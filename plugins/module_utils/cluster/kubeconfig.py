# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a kubeconfig (or a pod's service account) to a client of the kubernetes library."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import Unreachable


@dataclass(frozen=True)
class Access:
    """How to reach one cluster; `where` names it in messages."""

    where: str
    api_client: Callable[[], object]

    def dynamic_client(self, timeouts_seconds: tuple[int, int]):
        """A dynamic client whose knowledge of the served kinds lives in this process only."""
        from kubernetes.dynamic import DynamicClient
        from kubernetes.dynamic.discovery import LazyDiscoverer

        class Discoverer(LazyDiscoverer):
            # The library keeps the list of kinds in a shared temporary file named after the host: stale
            # for another cluster at the same address, and writable by other users of the machine.
            def _write_cache(self):
                pass

        class Client(DynamicClient):
            def request(self, method, path, body=None, **params):
                params.setdefault("_request_timeout", timeouts_seconds)
                return super().request(method, path, body=body, **params)

        return Client(self.api_client(), cache_file=str(Path(tempfile.gettempdir(), "no", "cache")),
                      discoverer=Discoverer)


def load(kubeconfig: str | None, context: str | None) -> Access:
    """Access by the kubeconfig and context; Unreachable says what is missing where."""
    try:
        from kubernetes import config
    except ImportError as error:
        raise Unreachable(f"the Python library kubernetes is missing for {sys.executable} ({error}); "
                          "install the collection's requirements.txt there") from error

    path = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    files = [Path(part).expanduser() for part in path.split(os.pathsep) if part]
    if not any(file.is_file() for file in files):
        if not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST"):
            return Access("the cluster of this pod", lambda: _quiet(_in_cluster(config)))
        raise Unreachable(f"there is no kubeconfig at {' or '.join(map(str, files))}; set kubeconfig "
                          "(tandem_kubeconfig in the inventory) or the environment variable KUBECONFIG")
    joined = os.pathsep.join(str(file) for file in files if file.is_file())

    def api_client():
        try:
            return _quiet(config.new_client_from_config(config_file=joined, context=context, persist_config=False))
        except Exception as error:  # the library raises ConfigException, YAML errors, KeyError, OSError, ...
            used = f", context {context}" if context else ""
            raise Unreachable(f"cannot use the kubeconfig {joined}{used}: {' '.join(str(error).split())}") from error

    return Access(f"the cluster at {api_client().configuration.host}", api_client)


def _in_cluster(config):
    from kubernetes import client

    configuration = client.Configuration()
    config.load_incluster_config(client_configuration=configuration)
    return client.ApiClient(configuration)


def _quiet(api_client):
    """The library's own retries off: this room retries, and knows what may be repeated."""
    from kubernetes import client

    api_client.configuration.retries = False
    return client.ApiClient(api_client.configuration)
