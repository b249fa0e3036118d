# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything of a lab is: labs with different numbers share nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.errors import LabError
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layout import Layout

LINK_NAME_LIMIT = 15  # IFNAMSIZ - 1


def _occupied(layout):
    ports = {layout.api_port, layout.etcd_port, layout.etcd_peer_port, layout.controller_manager_port,
             layout.scheduler_port, layout.kwok_port}
    networks = {layout.pod_network, layout.service_network, layout.host_address, layout.control_address}
    names = {layout.name, layout.host_link, str(layout.claim_file), layout.node_name(1), layout.node_namespace(1)}
    return ports | networks | names


def test_labs_side_by_side_share_nothing():
    labs = [_occupied(Layout(Path(f"/srv/{number}"), number)) for number in range(10)]
    assert sum(len(lab) for lab in labs) == len(set().union(*labs))
    assert len(labs[0]) == 15


def test_link_names_fit_the_kernel():
    for number in range(10):
        layout = Layout(Path("/srv/lab"), number)
        assert all(len(name) <= LINK_NAME_LIMIT for name in (layout.host_link, layout.node_namespace(9)))


def test_a_control_plane_stays_on_loopback():
    layout = Layout(Path("/home/me/lab"), tier="control_plane", port=7000)
    assert layout.server == "https://127.0.0.1:7000" and layout.kwok_port == 7005


@pytest.mark.parametrize("arguments, message", [
    ({"lab_id": 10}, "lab id 10 is out of range"),
    ({"tier": "huge"}, "tier 'huge' is unknown"),
    ({"directory": Path("lab")}, "not an absolute path"),
    ({"directory": Path("/etc/lab")}, "lies under /etc"),
    ({"directory": Path("/run/lab")}, "lies under /run"),
])
def test_bad_input_is_one_sentence(arguments, message):
    with pytest.raises(LabError, match=message):
        Layout(**{"directory": Path("/srv/lab"), **arguments})
