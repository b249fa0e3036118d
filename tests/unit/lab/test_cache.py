# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The artefact cache: keys follow from inputs, and nothing damaged is ever used."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab import cache
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Artifact, Cache
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError


def _artifact(text="hello", needs=(), name="greeting"):
    def build(out, needed):
        (out / "file").write_text(text + "".join((path / "file").read_text() for path in needed.values()))

    return Artifact(name, {"text": text}, build, needs)


def test_a_second_use_builds_nothing(tmp_path):
    lines = []
    store = Cache(tmp_path, lines.append)
    first, second = store.get(_artifact()), store.get(_artifact())
    assert (first.built, second.built) == (True, False)
    assert first.path == second.path and (second.path / "file").read_text() == "hello"
    assert len(lines) == 2 and "not in the cache" in lines[0]


def test_the_key_follows_the_inputs_and_the_needs():
    base, other = _artifact("a", name="base"), _artifact("b", name="base")
    assert _artifact(needs=(base,)).key == _artifact(needs=(base,)).key
    assert (
        len(
            {_artifact().key, _artifact("x").key, _artifact(needs=(base,)).key, _artifact(needs=(other,)).key}
        )
        == 4
    )


def test_needs_are_built_first_and_handed_over(tmp_path):
    built = Cache(tmp_path).get(_artifact("hello ", needs=(_artifact("world", name="base"),)))
    assert (built.path / "file").read_text() == "hello world"


def test_what_is_there_does_not_bring_back_what_it_was_built_from(tmp_path):
    store, base = Cache(tmp_path), _artifact("world", name="base")
    store.get(_artifact("hello ", needs=(base,)))
    (store.path(base) / "file").unlink()
    assert not store.get(_artifact("hello ", needs=(base,))).built
    assert not store.has(base)


@pytest.mark.parametrize(
    "damage", ["truncate", "same size", "remove file", "remove manifest", "break manifest"]
)
def test_a_damaged_copy_is_built_anew(tmp_path, damage):
    store, artifact = Cache(tmp_path), _artifact()
    path = store.get(artifact).path
    file, manifest = path / "file", path / cache.MANIFEST
    match damage:
        case "truncate":
            file.write_text("hell")
        case "same size":
            status = file.stat()
            file.write_text("jello")
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        case "remove file":
            file.unlink()
        case "remove manifest":
            manifest.unlink()
        case "break manifest":
            manifest.write_text(manifest.read_text()[:40])
    assert not store.has(artifact)
    assert store.get(artifact).built
    assert file.read_text() == "hello" and store.has(artifact)


def test_a_large_file_is_hashed_only_when_its_time_differs(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "FULL_HASH_LIMIT_BYTES", 1)
    store, artifact = Cache(tmp_path), _artifact()
    file = store.get(artifact).path / "file"
    os.utime(file, ns=(1, 1))
    assert store.has(artifact), "copying a cache may change times, not contents"
    file.write_text("jello")
    assert not store.has(artifact)


def test_a_failed_build_leaves_nothing(tmp_path):
    def build(out, needs):
        (out / "half").write_text("x")
        raise LabError("no compiler")

    artifact = Artifact("broken", {}, build)
    with pytest.raises(LabError, match="no compiler"):
        Cache(tmp_path).get(artifact)
    assert [f.name for f in (tmp_path / "broken").iterdir()] == [".lock"]


def test_what_a_killed_build_left_is_removed(tmp_path):
    left = tmp_path / "greeting" / ".new-dead"
    left.mkdir(parents=True)
    Cache(tmp_path).get(_artifact())
    assert not left.exists()


def test_digest_sees_names_bytes_and_executable_bits(tmp_path):
    (tmp_path / "a").write_text("1")
    digests = [cache.tree_digest(tmp_path)]
    (tmp_path / "a").chmod(0o755)
    digests.append(cache.tree_digest(tmp_path))
    (tmp_path / "a").rename(tmp_path / "b")
    digests.append(cache.tree_digest(tmp_path))
    assert len(set(digests)) == 3


def test_default_root():
    assert str(cache.default_root({"TANDEM_CACHE": "/x", "HOME": "/h"})) == "/x"
    assert str(cache.default_root({"HOME": "/h"})) == "/h/.cache/tandem"


def test_an_unwritable_cache_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match=r"the artefact cache .* can't be written"):
        Cache(tmp_path / "file").get(_artifact())
