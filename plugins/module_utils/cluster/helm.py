# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of Helm 3.14 or newer, Helm 4 included, by its own program: what changes is what its render changes."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.objects import (
    COMPONENT_LABEL,
    Reference,
    hide_secrets,
    parse,
)

_INTERRUPTED_SECONDS = 30.0
_COMMAND_SECONDS = 600


@dataclass(frozen=True)
class Release:
    """A release as wanted; `chart` is a name in `repository`, an oci:// URL, a folder or a packed chart."""

    name: str
    namespace: str
    component: str
    chart: str = ""
    repository: str | None = None
    version: str | None = None
    values: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Revision:
    """The newest revision in the cluster."""

    number: int
    status: str
    component: str | None


@dataclass(frozen=True)
class ReleaseChange:
    """What happens to a release: `created`, `changed`, `unchanged`, `deleted`, `absent` or `kept` (not ours)."""

    action: str
    before: dict[str, dict] = field(default_factory=dict)
    after: dict[str, dict] = field(default_factory=dict)

    @property
    def diffs(self) -> list[dict]:
        """Of each object of the release that changes, in the form that `ansible-playbook --diff` prints."""
        found = []
        for name in sorted({*self.before, *self.after}):
            before, after = hide_secrets(self.before.get(name, {}), self.after.get(name, {}))
            if self.before.get(name) != self.after.get(name):
                found.append({"before": before, "after": after, "before_header": name, "after_header": name})
        return found


class Helm:
    """The program, tied to one cluster."""

    def __init__(self, binary: str, kubeconfig: str | None, context: str | None,
                 run: Callable[..., subprocess.CompletedProcess] = subprocess.run):
        self._binary = shutil.which(str(Path(binary).expanduser()))
        if not self._binary:
            raise ClusterError(f"there is no program {binary}: install Helm 3.14 or newer, or name it by its path")
        self._options = [*(["--kubeconfig", kubeconfig] if kubeconfig else []),
                         *(["--kube-context", context] if context else [])]
        self._run = run

    def crds(self, release: Release) -> list[dict]:
        """The definitions in the chart's crds folders, those of its dependencies included."""
        return parse(self._call("show", "crds", *_source(release)), f"the definitions of chart {release.chart}")

    def rendered(self, release: Release, *, upgrade: bool) -> dict[str, dict]:
        """The objects that applying the release would send, by name."""
        with _values(release) as values:
            if not upgrade:
                text = self._call("template", release.name, *_source(release), "--namespace", release.namespace,
                                  "--no-hooks", "--values", values)
            else:
                text = json.loads(self._call("upgrade", release.name, *_source(release), "--namespace", release.namespace,
                                             "--reset-values", "--skip-crds", "--dry-run=server", "--output", "json",
                                             "--values", values))["manifest"]
        return _by_name(text, release)

    def installed(self, release: Release) -> dict[str, dict]:
        """The objects of the newest revision in the cluster, by name."""
        return _by_name(self._call("get", "manifest", release.name, "--namespace", release.namespace), release)

    def values(self, release: Release) -> dict:
        """The values that the newest revision in the cluster was given."""
        text = self._call("get", "values", release.name, "--namespace", release.namespace, "--output", "json")
        return json.loads(text) or {}

    def upgrade(self, release: Release) -> None:
        """Install or upgrade."""
        with _values(release) as values:
            self._call("upgrade", release.name, *_source(release), "--namespace", release.namespace, "--install",
                       "--reset-values", "--skip-crds", "--values", values,
                       "--labels", f"{COMPONENT_LABEL}={release.component}")

    def uninstall(self, release: Release, timeout_seconds: float) -> None:
        """Uninstall and wait until the objects are gone."""
        self._call("uninstall", release.name, "--namespace", release.namespace, "--wait",
                   "--timeout", f"{int(timeout_seconds)}s", timeout_seconds=timeout_seconds + 30)

    def rollback(self, release: Release) -> None:
        """Back to the last revision that was deployed."""
        self._call("rollback", release.name, "--namespace", release.namespace)

    def _call(self, *arguments: str, timeout_seconds: float = _COMMAND_SECONDS) -> str:
        command = [self._binary, *arguments, *self._options]
        try:
            done = self._run(command, capture_output=True, text=True, timeout=timeout_seconds, check=False)
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"helm {arguments[0]} did not end within {timeout_seconds:g} s") from error
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING:")]
            raise ClusterError(f"helm {arguments[0]} failed: {' '.join(lines[-5:]) or f'exit code {done.returncode}'}")
        return done.stdout


def newest(cluster: Cluster, release: Release) -> Revision | None:
    """The newest revision of the release, from the Secrets in which Helm keeps them."""
    secrets = cluster.list("v1", "Secret", release.namespace, label_selector=f"owner=helm,name={release.name}")
    found = [Revision(int(labels["version"]), labels["status"], labels.get(COMPONENT_LABEL))
             for labels in (secret["metadata"]["labels"] for secret in secrets)]
    return max(found, key=lambda revision: revision.number, default=None)


def apply_release(cluster: Cluster, helm: Helm, release: Release, *, check: bool = False) -> ReleaseChange:
    """Bring the release to what is wanted; nothing is sent where the render is the same and deployed."""
    revision = newest(cluster, release)
    if revision and revision.status.startswith("pending") and not check:
        revision = _recover(cluster, helm, release)
    if revision is None:
        change = ReleaseChange("created", {}, helm.rendered(release, upgrade=False))
    else:
        before, after = helm.installed(release), helm.rendered(release, upgrade=True)
        same = before == after and revision.status == "deployed" and helm.values(release) == release.values
        change = ReleaseChange("unchanged" if same else "changed", before, after)
    if change.action != "unchanged" and not check:
        helm.upgrade(release)
    return change


def remove_release(cluster: Cluster, helm: Helm, release: Release, timeout_seconds: float, *,
                   check: bool = False) -> ReleaseChange:
    """Uninstall the release if this component installed it."""
    revision = newest(cluster, release)
    if revision is None:
        return ReleaseChange("absent")
    if revision.component != release.component:
        return ReleaseChange("kept")
    before = helm.installed(release)
    if not check:
        helm.uninstall(release, timeout_seconds)
    return ReleaseChange("deleted", before)


def _recover(cluster: Cluster, helm: Helm, release: Release) -> Revision | None:
    """A revision that stays pending was interrupted: undo it, so that Helm accepts the next."""
    deadline = time.monotonic() + _INTERRUPTED_SECONDS
    while (revision := newest(cluster, release)) and revision.status.startswith("pending"):
        if time.monotonic() > deadline:
            if revision.number == 1:
                helm.uninstall(release, _COMMAND_SECONDS)
            else:
                helm.rollback(release)
            return newest(cluster, release)
        time.sleep(2)
    return revision


def _source(release: Release) -> list[str]:
    chart = release.chart
    if release.repository is None and not chart.startswith("oci://") and not Path(chart).exists():
        raise ClusterError(f"there is no chart at {chart}; give a folder, a packed chart, an oci:// URL, or a name and "
                           "its repository")
    return [chart, *(["--repo", release.repository] if release.repository else []),
            *(["--version", release.version] if release.version and not Path(chart).exists() else [])]


@contextmanager
def _values(release: Release) -> Iterator[str]:
    """A private file with the release's values: they may hold secrets and must not show on a command line."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(release.values, file)
        file.flush()
        yield file.name


def _by_name(text: str, release: Release) -> dict[str, dict]:
    return {Reference.of(obj).text: obj for obj in parse(text, f"the render of release {release.name}")}
