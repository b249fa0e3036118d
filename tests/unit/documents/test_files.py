# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os

import pytest

from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, files
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import DocumentError
from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Estate


def test_write_tells_whether_it_changed_and_leaves_no_temporary_file(tmp_path):
    path = str(tmp_path / "deep" / "estate.json")
    text = codec.pretty(Estate(vms=[]))
    assert files.write(path, text, check_mode=True) and not os.path.exists(path)
    assert files.write(path, text)
    assert not files.write(path, text)
    assert os.listdir(tmp_path / "deep") == ["estate.json"]
    assert files.read(Estate, path) == Estate(vms=[])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DocumentError, match=r"nosuch\.json: No such file or directory; expected a document of kind Estate, which the playbook assess writes"):
        files.read(Estate, str(tmp_path / "nosuch.json"))
