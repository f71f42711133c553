"""The budget for request bodies, behind a real uvicorn."""

import contextlib
import http.client
import json
import resource
import socket
import threading
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from companion_server.conditions import Shed
from companion_server.guard import Guard
from companion_server.operations.limits import (
    SPARE_DESCRIPTORS,
    Bodies,
    BodyBudget,
    ConnectionLimits,
    raise_descriptor_limit,
)
from companion_server.operations.metrics import Metrics
from companion_server.operations.reasons import SHED_REASONS
from companion_server.operations.telemetry import Telemetry, TelemetryMiddleware
from companion_server.settings import Settings
from companion_server.web import _config
from tests.companion_server.operations.conftest import poll

INFER = "/v2/models/toy/infer"


class Slow:
    """Reads the body, then waits for `go`; what it raises is answered with its status."""

    def __init__(self):
        self.go = threading.Event()
        self.read = 0
        self.shed = 0

    async def __call__(self, scope, receive, send):
        import asyncio

        from companion_server.conditions import Shed

        status = 200
        try:
            while True:
                message = await receive()
                self.read += len(message.get("body", b""))
                if not message.get("more_body"):
                    break
        except Shed as error:
            status = error.http_status
            self.shed += 1
        await asyncio.to_thread(self.go.wait, 10)
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body"})


class Served:
    def __init__(self, bodies, app, serve):
        self._bodies = bodies
        self.metrics = Metrics()
        budget = BodyBudget(app, bodies=bodies, max_body_bytes=800)
        self.port = serve(TelemetryMiddleware(budget, Telemetry(self.metrics)))

    @property
    def held(self):
        return self._bodies.held


@pytest.fixture
def slow():
    made = Slow()
    yield made
    made.go.set()


@pytest.fixture
def budget(slow, serve):
    """A budget of 1000 bytes, bodies of up to 800."""
    return Served(Bodies(1000), slow, serve)


def post(port, body, *, path=INFER, host="127.0.0.1", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(host, 0))
    connection.request("POST", path, body, headers)
    return connection


def test_what_does_not_fit_is_shed_before_it_is_read(budget, slow):
    first = post(budget.port, bytes(600))
    assert poll(lambda: slow.read == 600)
    second = post(budget.port, bytes(500))
    reply = second.getresponse()
    assert (reply.status, reply.headers["retry-after"]) == (429, "1")
    assert "no room for a body of 500 bytes beside the 600 in flight" in json.load(reply)["error"]
    assert slow.read == 600
    third = post(budget.port, bytes(200), host="127.0.0.2")
    assert poll(lambda: slow.read == 800)
    slow.go.set()
    assert first.getresponse().status == 200
    assert third.getresponse().status == 200
    assert poll(lambda: budget.held == 0)
    # the refused connection is still good: its body was thrown away
    second.request("POST", INFER, bytes(500))
    assert second.getresponse().status == 200
    for connection in (first, second, third):
        connection.close()
    assert poll(lambda: budget.metrics.totals()["shed"] == {"memory": 1})
    assert "memory" in SHED_REASONS


def test_a_client_holds_half_of_what_the_others_leave(budget, slow):
    """Whoever promises large bodies and sends them slowly does not shut out the next phone."""
    hogs = [post(budget.port, bytes(250)) for _ in range(4)]
    replies = [hog.getresponse() for hog in hogs[2:]]
    assert [reply.status for reply in replies] == [429, 429]
    assert "of one client half of what the others leave" in json.load(replies[0])["error"]
    phone = post(budget.port, bytes(13), host="127.0.0.2")
    assert poll(lambda: slow.read == 513)
    slow.go.set()
    for connection in (phone, *hogs[:2]):
        assert connection.getresponse().status == 200
    for connection in (phone, *hogs):
        connection.close()
    assert poll(lambda: budget.held == 0)


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 10_000)), min_size=1, max_size=60)
)
@settings(deadline=None, max_examples=100)
def test_some_room_is_left_whatever_others_hold(wanted):
    bodies = Bodies(100_000)
    taken = []
    for holder, size in wanted:
        with contextlib.suppress(Shed):
            bodies.take(size, holder)
            taken.append((holder, size))
    assert bodies.held <= bodies.limit * (1 - 0.5**6)
    bodies.take(bodies.limit // 2**7, "phone")
    bodies.give_back(bodies.limit // 2**7, "phone")
    for holder, size in taken:
        bodies.give_back(size, holder)
    assert bodies.held == 0
    bodies.take(bodies.limit, "phone")  # nothing is left of the others


def test_a_body_of_unknown_length_is_counted_as_it_comes(budget, slow):
    first = post(budget.port, bytes(600))
    assert poll(lambda: slow.read == 600)
    second = http.client.HTTPConnection("127.0.0.1", budget.port, timeout=10)
    second.request("POST", INFER, iter([bytes(300)] * 3), encode_chunked=True)
    assert poll(lambda: slow.shed)
    slow.go.set()
    assert second.getresponse().status == 429
    assert first.getresponse().status == 200
    first.close()
    second.close()
    assert poll(lambda: budget.held == 0)


def test_a_body_over_its_own_limit_is_the_application_s_to_refuse(budget, slow):
    slow.go.set()
    connection = post(budget.port, bytes(900))
    assert connection.getresponse().status == 200  # this one's application does not
    connection.close()


def test_other_routes_are_not_counted(budget, slow):
    held = post(budget.port, bytes(700))
    assert poll(lambda: budget.held == 700)
    upload = post(budget.port, bytes(5000), path="/v2/bundles")
    assert poll(lambda: slow.read == 5700)
    slow.go.set()
    assert upload.getresponse().status == 200
    for connection in (held, upload):
        connection.close()


def test_a_client_that_asks_first_is_told_and_let_go(budget, slow):
    first = post(budget.port, bytes(600))
    assert poll(lambda: slow.read == 600)
    with socket.create_connection(("127.0.0.1", budget.port), timeout=10) as careful:
        head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n"
        careful.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
        reply = http.client.HTTPResponse(careful)
        reply.begin()
        assert (reply.status, reply.headers["connection"]) == (429, "close")
    slow.go.set()
    first.close()


def test_a_client_that_hangs_up_gives_its_room_back(budget, slow):
    with socket.create_connection(("127.0.0.1", budget.port)) as phone:
        phone.sendall(
            f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 700\r\n\r\nabc".encode()
        )
        assert poll(lambda: budget.held == 700)
        slow.go.set()
    assert poll(lambda: budget.held == 0)


def test_a_tick_is_a_quarter_of_the_shortest_time():
    assert ConnectionLimits().tick_s == 1.0
    assert ConnectionLimits(head_s=0.2).tick_s == pytest.approx(0.05)


def test_the_pace_of_bodies_is_that_of_the_settings_and_a_slow_phone_keeps_it():
    limits, chosen = ConnectionLimits(), Settings.of()
    assert limits.body_bytes_per_s == chosen.min_body_bytes_per_s
    assert limits.body_s == chosen.body_grace_s
    strict = Settings.of(min_body_bytes_per_s=50_000, body_grace_s=2, tls=False)
    http: Any = _config(FastAPI(), strict, Guard(), Metrics()).http
    served = http.guard.limits
    assert (served.body_bytes_per_s, served.body_s) == (50_000, 2)
    phone = 100_000 / 8  # bytes/s of 0.1 Mbit/s
    for size in (13 << 10, 1 << 20, 64 << 20):
        assert size / phone < limits.body_s + size / limits.body_bytes_per_s


def test_the_descriptor_limit_is_raised_as_far_as_allowed():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
        assert raise_descriptor_limit(1000) == min(1000 + SPARE_DESCRIPTORS, hard)
        assert raise_descriptor_limit(10) == min(1000 + SPARE_DESCRIPTORS, hard)  # never lowered
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
