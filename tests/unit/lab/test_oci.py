# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The OCI archive writer: layout, shared layers, determinism, capabilities, owners."""

from __future__ import annotations

import hashlib
import json
import tarfile

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab import layer, oci
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layer import Directory, File, Link


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.tar"
    layer.write_layer(path, [File("etc/passwd", content=b"root:x:0:0::/:\n")])
    return path


def _images(base):
    return [
        oci.Image("tandem.local/one:1", base=[base], files=[File("/a", content=b"A")], entrypoint=["/a"]),
        oci.Image("tandem.local/two:2", base=[base], files=[Link("b", "a")], user="107"),
    ]


def _read(archive, name):
    with tarfile.open(archive) as tar:
        return tar.extractfile(name).read()


def test_every_blob_is_named_by_its_digest_and_shared_layers_are_stored_once(tmp_path, base):
    out = tmp_path / "image.tar"
    oci.write_archive(out, _images(base))
    with tarfile.open(out) as tar:
        blobs = [member.name for member in tar if member.name.startswith("blobs/")]
    assert len(blobs) == len(set(blobs)) == 7  # two configs, two manifests, two own layers, one base
    for name in blobs:
        assert hashlib.sha256(_read(out, name)).hexdigest() == name.rsplit("/", 1)[-1]


def test_manifests_describe_config_and_layers(tmp_path, base):
    out = tmp_path / "image.tar"
    oci.write_archive(out, _images(base))
    index = json.loads(_read(out, "index.json"))
    first = json.loads(_read(out, "blobs/sha256/" + index["manifests"][0]["digest"].split(":")[1]))
    config = json.loads(_read(out, "blobs/sha256/" + first["config"]["digest"].split(":")[1]))
    assert config["config"]["Entrypoint"] == ["/a"]
    assert config["rootfs"]["diff_ids"] == [entry["digest"] for entry in first["layers"]]
    assert first["layers"][0]["size"] == base.stat().st_size
    assert oci.image_names(out) == ["tandem.local/one:1", "tandem.local/two:2"]


def test_same_input_gives_the_same_bytes(tmp_path, base):
    digests = set()
    for number in range(2):
        out = tmp_path / f"{number}.tar"
        oci.write_archive(out, _images(base))
        digests.add(hashlib.sha256(out.read_bytes()).hexdigest())
    assert len(digests) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.tar", "1.tar", "base.tar"]


def test_layer_adds_parents_and_keeps_modes_owners_and_links(tmp_path):
    out = tmp_path / "layer.tar"
    layer.write_layer(
        out,
        [
            File("/usr/bin/tool", content=b"x", mode=0o755, owner=107),
            Directory("tmp", mode=0o1777),
            Link("var/run", "../run"),
        ],
    )
    with tarfile.open(out) as tar:
        members = {member.name: member for member in tar}
    assert list(members) == ["tmp", "usr", "usr/bin", "usr/bin/tool", "var", "var/run"]
    assert members["usr/bin/tool"].mode == 0o755
    assert members["usr/bin/tool"].uid == members["usr/bin/tool"].gid == 107
    assert members["tmp"].mode == 0o1777
    assert members["var/run"].linkname == "../run"
    assert {member.mtime for member in members.values()} == {0}


def test_file_capability_is_stored_as_an_extended_attribute(tmp_path):
    out = tmp_path / "layer.tar"
    layer.write_layer(out, [File("monitor", content=b"x", capability=layer.NET_BIND_SERVICE)])
    with tarfile.open(out) as tar:
        value = tar.getmember("monitor").pax_headers["SCHILY.xattr.security.capability"]
    assert len(value) == 20
    assert value.encode()[4:8] == (1 << 10).to_bytes(4, "little")


def test_tree_keeps_structure(tmp_path):
    source = tmp_path / "src"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("text")
    (source / "link").symlink_to("sub/file")
    assert layer.tree(source, "/opt") == [
        Link("/opt/link", "sub/file"),
        Directory("/opt/sub", mode=(source / "sub").stat().st_mode & 0o7777),
        File("/opt/sub/file", source=source / "sub" / "file", mode=0o644),
    ]


def test_read_member(base):
    assert layer.read_member(base, "etc/passwd").startswith(b"root:")
    with pytest.raises(KeyError):
        layer.read_member(base, "etc/none")
