"""Versions come, go and change places under load; nobody notices anything but the new answers."""

import http.client
import json
import threading

import numpy as np
import pytest

from companion_server.app import engine_in_process
from companion_server.settings import Settings
from tests.companion_server.conftest import write_bundle
from tests.support.publishing import publishing, until

FLIPS = 40
PATH = "/v2/models/toy/versions/prod/infer"


class Client(threading.Thread):
    """Asks one alias again and again on a kept connection, and checks every answer."""

    def __init__(self, port, question, answers):
        super().__init__()
        self.failures, self.counts = [], dict.fromkeys(answers, 0)
        self._port, self._question, self._answers = port, question, answers
        self._stop_asking = threading.Event()

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        while not self._stop_asking.is_set():
            connection.request("POST", PATH, self._question)
            reply = connection.getresponse()
            self._judge(reply.status, json.loads(reply.read()))
        connection.close()

    def end(self):
        self._stop_asking.set()
        self.join()

    def _judge(self, status, told):
        if status != 200:
            self.failures.append((status, told))
            return
        version = told["model_version"]
        if not np.allclose(logits_of(told), self._answers[version], atol=1e-4):
            self.failures.append((version, told))
        self.counts[version] += 1


@pytest.mark.slow
def test_an_alias_is_flipped_and_versions_are_replaced_under_load(bundle, newer, tmp_path):
    """Every request of four clients is answered, with the outputs of the version it names.

    Meanwhile `prod` changes places, versions are removed and published again, one is loaded anew,
    and one is unloaded for good.
    """
    versions = [bundle, newer]
    ids = [version.manifest.bundle_id for version in versions]
    (tmp_path / "third").mkdir()
    (tmp_path / "store").mkdir()
    third = write_bundle(tmp_path / "third", seed=2)
    engine = engine_in_process(Settings.of(tls=False, auth=False))
    with publishing(tmp_path / "store", engine=engine) as served:
        for version in versions:
            assert served.publish(version)["state"] == "live"
        question, answers = question_of(bundle.golden()), {}
        for bundle_id in ids:
            point(served, bundle_id)
            status, told = served.json("POST", PATH, question)
            assert status == 200, told
            answers[bundle_id] = logits_of(told)
        assert not np.allclose(answers[ids[0]], answers[ids[1]], atol=1e-3)
        clients = [Client(served.port, question, answers) for _ in range(4)]
        for client in clients:
            client.start()
        for flip in range(FLIPS):
            target, other = ids[flip % 2], ids[1 - flip % 2]
            point(served, target)
            if flip % 4 == 0:  # the version that nobody asks for any more goes and comes back
                assert served.ask("DELETE", f"/v2/bundles/{other}")[0] == 204
                assert served.publish(versions[ids.index(other)])["state"] == "live"
        assert served.publish(third)["state"] == "live"  # latest; nobody asks for it
        assert served.ask("DELETE", f"/v2/bundles/{third.manifest.bundle_id}")[0] == 204
        until(lambda: third.manifest.bundle_id not in engine.status()["bundles"])
        for client in clients:
            client.end()
    assert [failure for client in clients for failure in client.failures] == []
    for bundle_id in ids:
        assert sum(client.counts[bundle_id] for client in clients) > FLIPS


def point(served, bundle_id):
    body = json.dumps({"bundle_id": bundle_id})
    status, told = served.json("PUT", "/v2/models/toy/aliases/prod", body)
    assert (status, told["prod"]) == (200, bundle_id)


def question_of(golden):
    x = golden["input.0.x"]
    tensor = {"name": "x", "datatype": "FP32", "shape": list(x.shape)}
    return json.dumps({"inputs": [{**tensor, "data": x.ravel().tolist()}]})


def logits_of(told):
    return np.ravel(next(out["data"] for out in told["outputs"] if out["name"] == "output_0"))
