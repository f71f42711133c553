"""The stream's client against the real companion server, in one process."""

import contextlib
import socket
import threading
import time

import numpy as np
import pytest
import uvicorn

from companion_server.app import create_app
from companion_server.conditions import Shed
from companion_server.guard import Guard
from companion_server.security.certificates import ensure_certificate
from companion_server.security.keys import KeyRing, key_id_of
from companion_server.security.scopes import Scope
from companion_server.settings import Settings
from companion_server.store import BundleStore
from companion_server.stream import websocket_options
from headtail.errors import BundleMismatch, ServerUnreachable
from headtail.offload import refusals
from headtail.offload.client import Companion
from headtail.offload.engine import OffloadEngine, SplitEngine
from headtail.offload.pinning import CertificateChanged
from headtail.offload.stream import StreamCompanion
from tests.companion_server.conftest import running, write_bundle
from tests.companion_server.held_engine import HeldEngine
from tests.headtail.offload.test_companion_server import TorchSession


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="module")
def served(real):
    with running([real.path]) as server:
        yield server


@pytest.fixture
def stream(served):
    client = StreamCompanion(served.url)
    yield client
    client.close()


@pytest.fixture
def held(real):
    engine = HeldEngine(real)
    with running([real.path], engine=engine) as server:
        client = StreamCompanion(server.url)
        yield engine, client
        client.close()


def ask(client, bundle, *, cut_id="c1", deadline_ms=10_000, name="toy", bundle_id=""):
    cut, golden = bundle.manifest.cut(cut_id), bundle.golden()
    arrays = [golden[f"cut.{cut_id}.0.{spec.name}"] for spec in cut.tensors]
    held = bundle_id or bundle.manifest.bundle_id
    return client.infer_tail(name, held, cut, "raw32", arrays, deadline_ms=deadline_ms)


def connection_of(client):
    return client._connection


def test_the_answers_are_those_of_http(stream, served, real):
    http = Companion(served.url)
    try:
        for cut_id in ("c1", "c2"):
            ours, theirs = ask(stream, real, cut_id=cut_id), ask(http, real, cut_id=cut_id)
            assert ours.names == theirs.names
            for found, expected in zip(ours.outputs, theirs.outputs, strict=True):
                np.testing.assert_array_equal(found, expected)
            assert ours.server["compute_ms"] > 0
            assert ours.bytes_down > 0
            assert theirs.bytes_up > ours.bytes_up > 1024  # the same message with fewer headers
    finally:
        http.close()


def test_one_connection_for_all(stream, real):
    ask(stream, real)
    first = connection_of(stream)
    for _ in range(5):
        assert ask(stream, real).round_trip_ms > 0
    assert connection_of(stream) is first


def test_threads_wait_for_one_another(stream, real):
    expected = real.golden()["output.0.output_0"]
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(ask(stream, real))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(replies) == 6
    for reply in replies:
        np.testing.assert_allclose(reply.outputs[0], expected, rtol=1e-4, atol=1e-5)


def test_an_abort_cancels_and_keeps_the_connection(held, real):
    engine, client = held
    failures = []

    def wait():
        try:
            ask(client, real)
        except ServerUnreachable as error:
            failures.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    engine.wait("begun", 1)
    used = connection_of(client)
    client.abort()
    waiting.join(20)
    assert "no longer needed" in str(failures[0])
    engine.wait("dropped", 1)
    engine.go()
    assert ask(client, real).names == ("output_0", "output_1")
    assert connection_of(client) is used


def test_what_is_late_is_cancelled_and_its_answer_passed_over(held, real):
    engine, client = held
    with pytest.raises(ServerUnreachable, match="within 300 ms"):
        ask(client, real, deadline_ms=300)
    used = connection_of(client)
    engine.wait("dropped", 1)
    engine.go()
    assert ask(client, real).bytes_down > 0
    assert connection_of(client) is used


def test_an_abort_before_a_request_does_not_end_it(held, real):
    engine, client = held
    engine.go()
    client.abort()
    assert ask(client, real).names == ("output_0", "output_1")


def test_errors_are_those_of_http(held, real):
    engine, client = held
    engine.go()
    with pytest.raises(BundleMismatch) as caught:
        ask(client, real, bundle_id="e" * 64)
    assert caught.value.held == {real.manifest.bundle_id: ["c1", "c2"]}
    engine.error = Shed("a", expected="b", retry_after_s=2.5, reason="queue")
    with pytest.raises(refusals.Shed) as shed:
        ask(client, real)
    assert shed.value.retry_after_s == pytest.approx(2.5, abs=0.5)
    with pytest.raises(refusals.NotHeld, match="Did you mean 'toy'"):
        ask(client, real, name="toyy")


def test_a_server_that_restarts_is_reached_again(real):
    with running([real.path]) as first:
        client = StreamCompanion(first.url)
        ask(client, real)
    try:
        with pytest.raises(ServerUnreachable):
            ask(client, real)
    finally:
        client.close()


def test_a_connection_lost_while_idle_is_replaced(stream, served, real):
    ask(stream, real)
    used = connection_of(stream)
    for protocol in list(served.server.server_state.connections):
        protocol.loop.call_soon_threadsafe(protocol.transport.abort)
    assert ask(stream, real).names == ("output_0", "output_1")
    assert connection_of(stream) is not used


def test_a_closed_client_says_so(served, real):
    client = StreamCompanion(served.url)
    ask(client, real)
    client.close()
    with pytest.raises(ServerUnreachable, match="no longer needed"):
        ask(client, real)


def test_the_split_engine_takes_it_for_a_companion(stream, real):
    golden = real.golden()
    engine = SplitEngine(real, TorchSession(0), companion=stream, cut="c1", codec="raw32")
    try:
        answer = engine.answer([golden["input.0.x"]])
    finally:
        engine.close()
    assert answer.where == "split"
    found, expected = (
        a.astype(np.float64) for a in (answer.outputs[0], golden["output.0.output_0"])
    )
    assert float(np.abs(found - expected).max()) < 1e-4


def test_a_ping(stream, real):
    pong = stream.ping("toy", timeout_s=10)
    assert pong.bytes_up > 125, "125 bytes, and the frame around them"
    assert pong.bytes_down > 125
    assert pong.round_trip_ms > 0
    ask(stream, real)
    assert stream.ping("toy", timeout_s=10).bytes_up == pong.bytes_up, "and no handshake"


def test_a_ping_that_nobody_answers():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        client = StreamCompanion(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        with pytest.raises(ServerUnreachable, match="did not answer within 200 ms"):
            client.ping("toy", timeout_s=0.2)
        client.close()


def test_the_engine_decides_over_a_stream(stream, real):
    """The toy model is far too fast for that to pay, so that it stays here, knowing why."""
    engine = OffloadEngine(real, None, TorchSession(0), companion=stream)
    inputs = [real.golden()["input.0.x"]]
    end = time.monotonic() + 10
    while engine.status().remote_ms is None:
        assert time.monotonic() < end, engine.status()
        engine.answer(inputs)
    engine.close()
    assert engine.status().rtt_ms is not None


def test_a_dead_address_is_told_in_time(real):
    client = StreamCompanion("http://127.0.0.1:9", timeout_s=2)
    started = time.monotonic()
    with pytest.raises(ServerUnreachable, match="cannot be reached"):
        ask(client, real, deadline_ms=1000)
    assert time.monotonic() - started < 2
    client.close()


@contextlib.contextmanager
def guarded(bundle, folder):
    """A server with a certificate and keys: `(url, certificate, ring)`."""
    ring, certificate = KeyRing(folder), ensure_certificate(folder, names=("localhost",))
    store, loaded = BundleStore([bundle.path]), threading.Event()
    app = create_app(
        store,
        Settings.of(state_dir=folder, tune=False),
        guard=Guard(ring),
        on_loaded=lambda _failure: loaded.set(),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="error",
            ssl_certfile=certificate.chain,
            ssl_keyfile=certificate.key,
            **websocket_options(1 << 20),
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert loaded.wait(30)
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", certificate, ring
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        store.close()


def test_a_pinned_server_with_a_key_until_it_is_revoked(real, tmp_path):
    with guarded(real, tmp_path) as (url, certificate, ring):
        key = ring.add("phone", (Scope.parse("infer:*"),))[0]
        client = StreamCompanion(url, pin=certificate.fingerprint, key=key)
        expected = real.golden()["output.0.output_0"].astype(np.float64)
        found = ask(client, real, cut_id="c2").outputs[0].astype(np.float64)
        assert float(np.abs(found - expected).max()) < 1e-4
        used = connection_of(client)
        ring.revoke(key_id_of(key))
        with pytest.raises(refusals.Refusal, match="not valid") as caught:
            ask(client, real)
        assert caught.value.status == 401
        assert connection_of(client) is used
        client.close()
        stranger = StreamCompanion(url, pin=certificate.fingerprint)
        with pytest.raises(refusals.Refusal, match="no API key"):
            ask(stranger, real)
        stranger.close()
        other = StreamCompanion(url, pin="0" * 64, key=key)
        with pytest.raises(CertificateChanged):
            ask(other, real)
        other.close()
