# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import ProtocolError
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.client import Cluster
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.errors import ClusterError, Refused, Unreachable
from ansible_collections.tandem.hybrid.plugins.module_utils.cluster.kubeconfig import Access, load


class Server:
    """Answers each request with the next of the given answers; an exception is raised."""

    def __init__(self, *answers):
        self.answers, self.requests = list(answers), []

    def request(self, method, path, **_rest):
        self.requests.append((method, path))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def failure(status, message="busy", headers=None):
    error = ApiException(status=status, reason="r")
    error.body, error.headers = json.dumps({"message": message}), headers or {}
    return error


def cluster(server, naps=None):
    found = Cluster(Access("the cluster", lambda: None), sleep=(naps if naps is not None else []).append)
    found._client = lambda: server
    return found


def test_an_overloaded_server_is_asked_again_when_it_says():
    naps = []
    server = Server(failure(429, headers={"Retry-After": "3"}), ProtocolError("EOF"), failure(503), {"ok": 1})
    assert cluster(server, naps).request("GET", "/x") == {"ok": 1}
    assert naps[0] == 3.0 and len(server.requests) == 4


def test_a_webhook_that_is_starting_is_waited_for():
    server = Server(failure(500, "Internal error occurred: failed calling webhook"), {"ok": 1})
    assert cluster(server).request("PATCH", "/x") == {"ok": 1}


@pytest.mark.parametrize("error", [failure(404, "not found"), failure(403, "no"), failure(500, "a bug")])
def test_other_refusals_are_final(error):
    server = Server(error)
    with pytest.raises(Refused):
        cluster(server).request("GET", "/x")
    assert len(server.requests) == 1


def test_a_post_whose_answer_was_lost_is_not_repeated():
    server = Server(ProtocolError("EOF"), {"ok": 1})
    with pytest.raises(Unreachable, match="no answer from the cluster"):
        cluster(server).request("POST", "/x")


def test_a_token_that_ran_out_is_read_again_once():
    server = Server(failure(401), {"ok": 1})
    assert cluster(server).request("GET", "/x") == {"ok": 1}
    with pytest.raises(Unreachable, match="credentials"):
        cluster(Server(failure(401), failure(401))).request("GET", "/x")


def test_a_missing_kubeconfig_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterError, match=r"no kubeconfig at .*/none; set kubeconfig"):
        load(str(tmp_path / "none"), None)


def test_a_broken_kubeconfig_is_one_sentence(tmp_path):
    broken = tmp_path / "config"
    broken.write_text("apiVersion: v1\nkind: Config\n")
    with pytest.raises(Unreachable, match="cannot use the kubeconfig") as caught:
        load(str(broken), None)
    assert "\n" not in str(caught.value)
