"""A real Ray cluster of two nodes on this machine, and one of them killed under load."""

import dataclasses
import http.client
import importlib.util
import socket
import ssl
import threading
import time
import urllib.parse
from collections import Counter

import numpy as np
import pytest

from headtail.metrics import snr_db
from headtail.wire import oip
from headtail.wire.boundary import INPUT_NAME, encode_boundary
from headtail.wire.split import SplitParameters
from tests.companion_server.conftest import write_bundle
from tests.support.capabilities import require

pytestmark = pytest.mark.slow
GOLDEN_DB = 60.0
TUNE_S = 120.0  # for the first of the files that a builder makes
CLIENTS = 8
CROWD = 48  # more than two replicas take at once (2 x 2 batches of 2) and the queue lets wait (4)
LIMITS = {"max_batch": 2, "max_queue": 4}


@pytest.fixture(scope="module")
def bundles(bundle, newer, tmp_path_factory):
    return [bundle, newer, write_bundle(tmp_path_factory.mktemp("other"), name="other", seed=2)]


@pytest.fixture(scope="module")
def cluster():
    for package in ("ray", "psutil", "tritonclient"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed")
    from benchmarks.ray_nodes import Nodes

    with Nodes(2) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def served(cluster, bundles):
    """As `headtail serve --ray` runs it: over TLS, with a key."""
    paths = [bundle.path for bundle in bundles]
    with cluster.serving(paths, replicas=2, tls=True, auth=True, **LIMITS) as announced:
        yield announced


def unpinned():
    """What is asked here is not whose certificate it is: `tests/.../security` asks that."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def connect(served):
    parts = urllib.parse.urlsplit(served.url)
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=60, context=unpinned())


def question(bundle, cut_id, sample=0, **options):
    """`(path, headers, body)` of a split request, and the golden outputs."""
    cut, golden = bundle.manifest.cut(cut_id), bundle.golden()
    arrays = [golden[f"cut.{cut_id}.{sample}.{spec.name}"] for spec in cut.tensors]
    frame = np.frombuffer(encode_boundary(arrays, cut, "raw32"), np.uint8)
    told = SplitParameters(bundle.manifest.bundle_id, cut_id, "raw32", **options)
    request = oip.InferRequest(
        (oip.NamedArray(INPUT_NAME, frame),),
        parameters=told.to_parameters(),
        binary_outputs=True,
    )
    headers, body = oip.encode_request(request)
    path = f"/v2/models/{bundle.manifest.name}/versions/{bundle.manifest.bundle_id}/infer"
    return (path, headers, body), [golden[f"output.{sample}.output_{i}"] for i in (0, 1)]


def ask(connection, served, asked):
    """Status, headers in lower case, and the decoded outputs of a 200."""
    path, headers, body = asked
    connection.request("POST", path, body, headers | bearer(served))
    reply = connection.getresponse()
    data = reply.read()
    found = {name.lower(): value for name, value in reply.headers.items()}
    if reply.status != http.client.OK:
        return reply.status, found, []
    return reply.status, found, [t.array for t in oip.decode_response(found, data).outputs]


def bearer(served):
    return {"authorization": f"Bearer {served.key}"}


def agrees(outputs, wanted):
    pairs = zip(outputs, wanted, strict=True)
    return all(snr_db(reference=w, candidate=o) >= GOLDEN_DB for o, w in pairs)


def test_an_unmodified_tritonclient_gets_golden_outputs_of_every_bundle(served, bundles, tmp_path):
    from tritonclient.http import InferenceServerClient, InferInput

    host, _, port = served.url.removeprefix("https://").partition(":")
    pem = tmp_path / "server.pem"
    pem.write_text(ssl.get_server_certificate((host, int(port))))
    client = InferenceServerClient(
        served.url.removeprefix("https://"), ssl=True, ssl_options={"ca_certs": str(pem)}
    )
    assert client.is_server_ready(headers=bearer(served))
    for bundle in bundles:  # three of them on one pair of replicas
        manifest, golden = bundle.manifest, bundle.golden()
        whole = InferInput("x", [1, 3, 8, 8], "FP32")
        whole.set_data_from_numpy(golden["input.0.x"])
        for cut in manifest.cuts:
            arrays = [golden[f"cut.{cut.id}.0.{spec.name}"] for spec in cut.tensors]
            frame = np.frombuffer(encode_boundary(arrays, cut, "raw32"), np.uint8)
            split = InferInput(INPUT_NAME, [frame.size], "UINT8")
            split.set_data_from_numpy(frame)
            told = SplitParameters(manifest.bundle_id, cut.id, "raw32").to_parameters()
            for tensor, parameters in ((whole, None), (split, told)):
                reply = client.infer(
                    manifest.name,
                    [tensor],
                    manifest.bundle_id,
                    headers=bearer(served),
                    parameters=parameters,
                )
                found = [reply.as_numpy(f"output_{i}") for i in (0, 1)]
                assert agrees(found, [golden[f"output.0.output_{i}"] for i in (0, 1)])
                assert reply.get_response()["model_version"] == manifest.bundle_id
    client.close()


def test_a_deadline_that_cannot_be_met_is_a_504(served, bundles):
    asked, _ = question(bundles[0], "c1", deadline_ms=0)
    connection = connect(served)
    assert ask(connection, served, asked)[0] == http.client.GATEWAY_TIMEOUT
    connection.close()


def test_without_a_key_nothing_is_computed(served, bundles):
    asked, _ = question(bundles[0], "c1")
    stranger = dataclasses.replace(served, key="")
    connection = connect(stranger)
    assert ask(connection, stranger, asked)[0] == http.client.UNAUTHORIZED
    connection.close()


class Client(threading.Thread):
    """A closed loop over `questions`; what came of each request, the Retry-After of each 429.

    With `retry` a request that fails is asked once more, when the server said to, and counts as
    `lost` if that fails too.
    """

    def __init__(self, served, questions, *, requests, retry):
        super().__init__()
        self.served, self.connection = served, connect(served)
        self.questions, self.requests, self.retry = questions, requests, retry
        self.counts: Counter[str] = Counter()
        self.waits: list[str] = []

    def run(self):
        for index in range(self.requests):
            asked, wanted = self.questions[index % len(self.questions)]
            outcome = self.attempt(asked, wanted)
            if self.retry and outcome != "right":
                if outcome == "429":
                    threading.Event().wait(float(self.waits[-1]))
                second = self.attempt(asked, wanted)
                outcome = second if second in ("right", "wrong") else f"lost: {outcome}, {second}"
            self.counts[outcome] += 1
        self.connection.close()

    def attempt(self, asked, wanted):
        try:
            status, headers, outputs = ask(self.connection, self.served, asked)
        except OSError:
            self.connection.close()
            return "broken"
        if status == http.client.TOO_MANY_REQUESTS:
            self.waits.append(headers.get("retry-after", ""))
        if status != http.client.OK:
            return str(status)
        return "right" if agrees(outputs, wanted) else "wrong"


def started(served, questions, *, clients, requests, retry):
    """Clients that begin with different questions."""
    turned = [questions[i % len(questions) :] + questions for i in range(clients)]
    crowd = [Client(served, asked, requests=requests, retry=retry) for asked in turned]
    for client in crowd:
        client.start()
    return crowd


def joined(crowd):
    for client in crowd:
        client.join()
    return sum((client.counts for client in crowd), Counter())


def test_back_pressure_is_a_429_that_says_when_to_come_again(served, bundles):
    questions = [question(bundles[0], "c1"), question(bundles[0], "c2", 1)]
    crowd = started(served, questions, clients=CROWD, requests=3, retry=False)
    counts = joined(crowd)
    assert set(counts) == {"right", "429"}
    assert counts.total() == CROWD * 3
    assert all(int(wait) >= 1 for client in crowd for wait in client.waits)


def test_a_node_killed_under_load_loses_no_request_that_is_asked_once_more(
    cluster, served, bundles
):
    questions = [question(b, cut, s) for b in bundles for cut in ("c1", "c2") for s in (0, 1)]
    crowd = started(served, questions, clients=CLIENTS, requests=40, retry=True)
    look = threading.Event()
    while sum(client.counts["right"] for client in crowd) < CLIENTS * 10:
        assert any(client.is_alive() for client in crowd)
        look.wait(0.01)
    assert cluster.kill(1) >= 3  # `ray start`, its raylet and at least the replica
    assert any(client.is_alive() for client in crowd)  # there is load on the node that is left
    assert joined(crowd) == {"right": CLIENTS * 40}


def test_a_cluster_of_this_machine_alone_tunes_and_ends_with_its_server(bundle, tmp_path):
    from benchmarks.ray_nodes import serving

    with serving([bundle.path], tmp_path, ["--ray", "--replicas", "2"], tune=True) as alone:
        client = Client(alone, [question(bundle, "c2")], requests=4, retry=False)
        client.run()
        assert client.counts == {"right": 4}
        parts = urllib.parse.urlsplit(alone.url)
        deadline, look = time.monotonic() + TUNE_S, threading.Event()
        while not list((tmp_path / "state" / "tuned").glob("*.code")):
            assert time.monotonic() < deadline
            look.wait(0.1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((parts.hostname, parts.port), timeout=10)
