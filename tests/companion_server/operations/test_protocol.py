"""Every limit through real sockets, with limits small enough to be met."""

import asyncio
import contextlib
import dataclasses
import http.client
import json
import resource
import socket
import ssl
import time
from collections import Counter

import pytest

from companion_server.operations.limits import ConnectionLimits, raise_descriptor_limit
from companion_server.operations.protocol import ConnectionGuard, guarded_protocol
from companion_server.operations.reasons import CONNECTION_REASONS
from companion_server.security.certificates import ensure_certificate, tls_context
from tests.companion_server.operations.conftest import poll

ROOMY = ConnectionLimits()
QUICK = ConnectionLimits(head_s=0.2, body_s=0.2, body_bytes_per_s=100_000, idle_s=0.2)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def echo(scope, receive, send):
    """Answers with the length of the body; `/early` before it is read, `/stuck` never."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        await receive()
        return
    size, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    if scope["path"] == "/stuck":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    body = str(size).encode()
    if scope["path"] == "/long":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(2000):
            await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
    else:
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Server:
    def __init__(self, serve, limits, **config):
        self.closed: Counter[str] = Counter()
        self.guard = ConnectionGuard(limits, lambda reason: self.closed.update([reason]))
        self.port = serve(echo, http=guarded_protocol(self.guard), **config)

    def connect(self):
        return contextlib.closing(self.open())

    def open(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def over_tls(connection):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)


@pytest.fixture
def start(serve):
    return lambda limits, **config: Server(serve, limits, **config)


def rest(connection):
    """Everything until the server closes; what a reset swallowed is missing."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def answer(connection):
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    return reply.status, reply.headers, reply.read()


def found(text, part):
    return [place for place in range(len(text)) if text.startswith(part, place)]


def test_ordinary_requests_pass(start):
    server = start(ROOMY)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for size in (0, 1, 70_000, 3_000_000):
        connection.request("POST", "/", bytes(size))
        assert connection.getresponse().read() == str(size).encode()
    connection.request("POST", "/", iter([b"abc", b"d" * 100_000]), encode_chunked=True)
    assert connection.getresponse().read() == b"100003"
    connection.close()
    with server.connect() as pipelined:
        pipelined.sendall(POST % 3 + b"abc" + GET + POST % 2 + b"de")
        got = b""
        while got.count(b"200 OK") < 3 or not got.endswith(b"2"):
            got += pipelined.recv(4096)
        assert [got[place + 4 : place + 5] for place in found(got, b"\r\n\r\n")] == [
            b"3",
            b"0",
            b"2",
        ]
        assert poll(lambda: server.guard.idle)
        assert server.guard.count == 1
    assert poll(lambda: server.guard.count == 0)
    assert not server.closed


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_come(start, sent):
    server = start(QUICK)
    with server.connect() as slow:
        slow.sendall(sent)
        status, headers, body = answer(slow)
        assert (status, headers["connection"]) == (408, "close")
        assert "head was not complete after 0.2 s" in json.loads(body)["error"]
        assert rest(slow) == b""
    assert server.closed == {"slow_headers": 1}
    assert poll(lambda: server.guard.count == 0)


def test_a_head_that_trickles(start):
    """A byte at a time keeps nothing alive: what counts is when the head is whole."""
    server = start(QUICK)
    with server.connect() as slow:
        slow.settimeout(0.02)
        for letter in GET * 100:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                slow.send(bytes([letter]))
            with contextlib.suppress(TimeoutError):
                assert slow.recv(12) == b"HTTP/1.1 408"
                break
        else:
            pytest.fail("never refused")
    assert server.closed == {"slow_headers": 1}


def test_blank_lines_do_not_keep_an_idle_connection(start):
    server = start(QUICK)
    with server.connect() as slow:
        slow.sendall(GET)
        assert answer(slow)[0] == 200
        slow.settimeout(0.02)
        began = time.monotonic()
        while time.monotonic() - began < 5:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                slow.send(b"\r\n")
            with contextlib.suppress(TimeoutError):
                if slow.recv(4096) is not None:
                    break
        assert time.monotonic() - began < 3
    assert server.closed == {"slow_headers": 1}


def test_an_idle_connection_is_closed(start):
    server = start(QUICK)
    with server.connect() as idle:
        idle.sendall(GET)
        assert answer(idle)[0] == 200
        assert rest(idle) == b""
    assert server.closed == {"idle": 1}


def head(**headers):
    lines = b"".join(b"%s: %s\r\n" % (name.encode(), value) for name, value in headers.items())
    return b"GET / HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        head(big=b"x" * 20_000),
        head(**{f"x{i}": b"y" for i in range(100)}),
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        head(upgrade=b"websocket", connection=b"upgrade", big=b"x" * 20_000),
    ],
    ids=["one long header", "many headers", "long path", "upgrade"],
)
@pytest.mark.parametrize("piece", [1 << 20, 1000], ids=["at once", "in pieces"])
def test_a_head_that_is_too_large(start, sent, piece):
    server = start(ROOMY, ws="auto")
    with server.connect() as giant:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for offset in range(0, len(sent), piece):
                giant.sendall(sent[offset : offset + piece])
        status, _, body = answer(giant)
        assert status == 431
        assert "too long or too many" in json.loads(body)["error"]
        assert rest(giant) == b""
    assert server.closed == {"large_headers": 1}


def test_a_head_that_never_ends_is_not_collected(start):
    server = start(ROOMY)
    sent = 0
    with server.connect() as giant:
        giant.settimeout(5)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            giant.sendall(b"GET / HTTP/1.1\r\nX: ")
            while sent < 64 << 20:
                giant.sendall(b"y" * 65536)
                sent += 65536
                if server.closed:
                    break
    assert server.closed == {"large_headers": 1}
    assert sent < 16 << 20  # what fits into the sockets' buffers before the answer


def test_a_head_just_within_the_limits(start):
    server = start(ROOMY)
    with server.connect() as large:
        large.sendall(head(big=b"x" * 16_000))
        assert answer(large)[0] == 200
        large.sendall(head(**{f"x{i}": b"y" for i in range(60)}))
        assert answer(large)[0] == 200
    assert not server.closed


@pytest.mark.parametrize(
    "endless", [b"1;" + b"x" * 4000, b"0\r\nX: " + b"y" * 4000, b"0\r\n" + b"a: b\r\n" * 700]
)
def test_what_stands_between_the_parts_of_a_body(start, endless):
    """Chunk extensions, one long trailer, many trailers: httptools would collect them for ever."""
    server = start(ROOMY)
    with server.connect() as odd:
        odd.sendall(CHUNKED + endless)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(200):
                odd.sendall(endless[-1:] * 4000 if endless[0:1] == b"1" else b"y" * 4000)
        poll(lambda: server.closed)
        assert rest(odd)[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 400", b"")
    assert server.closed == {"large_headers": 1} or b"a: b" in endless


def test_a_body_that_trickles(start):
    server = start(QUICK)
    with server.connect() as slow:
        slow.sendall(POST % 100_000 + b"abc")
        status, _, body = answer(slow)
        assert status == 408
        assert "less than 100000 bytes/s" in json.loads(body)["error"]
    assert server.closed == {"slow_body": 1}


def test_a_body_at_a_fair_pace_is_waited_for(start):
    """It takes longer than `body_s`, but more comes all the time."""
    server = start(dataclasses.replace(QUICK, body_bytes_per_s=20_000))
    with server.connect() as steady:
        steady.sendall(POST % 60_000)
        began = time.monotonic()
        for _ in range(60):
            steady.sendall(bytes(1000))
            poll(lambda: False, within_s=0.005)
        assert answer(steady)[0::2] == (200, b"60000")
        assert time.monotonic() - began > QUICK.body_s
    assert not server.closed


def test_a_refused_body_is_thrown_away_and_not_for_ever(start):
    server = start(QUICK)
    with server.connect() as pushy:
        pushy.sendall(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
        assert answer(pushy)[0] == 200
        pushy.settimeout(5)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while not server.closed:
                pushy.sendall(bytes(1 << 16))
    assert server.closed == {"slow_body": 1}


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", 200),
        (b"NONSENSE / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02", 400),  # TLS, where there is none
    ],
)
def test_what_is_no_http_hears_so_in_the_protocol_s_shape(start, head, status):
    server = start(ROOMY)
    with server.connect() as odd:
        odd.sendall(head)
        told, headers, body = answer(odd)
        assert told == status
        assert headers["date"]  # RFC 9110 §6.6.1
        if status == 400:
            assert headers["connection"] == "close"
            assert set(json.loads(body)) == {"error"}
        assert rest(odd) == b""


def test_a_reader_that_does_not_read(start):
    server = start(QUICK)
    with server.connect() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(GET.replace(b"GET /", b"GET /long"))
        assert poll(lambda: server.closed)
        assert poll(lambda: server.guard.count == 0)
    assert server.closed == {"slow_reader": 1}


def test_over_the_cap_the_silent_go_first_then_the_idle(start):
    server = start(dataclasses.replace(ROOMY, connections=3))
    with server.connect() as idle, server.connect() as silent, server.connect() as busy:
        idle.sendall(GET)
        assert answer(idle)[0] == 200
        busy.sendall(GET.replace(b"GET /", b"GET /stuck"))
        assert poll(lambda: len(server.guard.headless) == 1 and len(server.guard.idle) == 1)
        with server.connect() as first:
            assert rest(silent) == b""
            first.sendall(GET.replace(b"GET /", b"GET /stuck"))
            assert poll(lambda: not server.guard.headless)
            with server.connect() as second:
                assert rest(idle) == b""
                second.sendall(GET)
                assert answer(second)[0] == 200
                second.sendall(GET.replace(b"GET /", b"GET /stuck"))
                assert poll(lambda: not server.guard.idle)
                # now everybody is busy
                with server.connect() as third:
                    status, headers, body = answer(third)
                    assert (status, headers["retry-after"]) == (503, "1")
                    assert "Too many connections" in json.loads(body)["error"]
                    assert rest(third) == b""
    assert server.closed == {"evicted": 2, "full": 1}
    assert poll(lambda: server.guard.count == 0 and not server.guard.lingering)


def test_websockets_count_and_work(start):
    import websockets.sync.client

    server = start(dataclasses.replace(ROOMY, connections=1), ws="websockets-sansio")
    with websockets.sync.client.connect(f"ws://127.0.0.1:{server.port}/") as stream:
        assert stream.recv(timeout=10) == "hello"
        assert server.guard.count == 1
        with server.connect() as second:
            assert answer(second)[0] == 503
    assert server.closed == {"full": 1}


def test_over_tls_it_is_the_same(start, tmp_path):
    """But for the half-closed connection, which TLS does not have."""
    made = ensure_certificate(tmp_path, names=("127.0.0.1",))
    context = tls_context(made)
    limits = dataclasses.replace(QUICK, connections=2)
    server = start(limits, ssl_context_factory=lambda *_: context)
    with over_tls(server.open()) as slow:
        slow.sendall(b"GET / HT")
        assert answer(slow)[0] == 408
        assert rest(slow) == b""
    with over_tls(server.open()) as giant:
        giant.sendall(head(big=b"x" * 20_000))
        assert answer(giant)[0] == 431
    with over_tls(server.open()) as good:
        good.sendall(POST % 100_000 + bytes(100_000))
        assert answer(good)[0::2] == (200, b"100000")
        assert rest(good) == b""  # idle
    assert poll(lambda: server.guard.count == 0 and not server.guard.lingering)
    assert server.closed == {"slow_headers": 1, "large_headers": 1, "idle": 1}


def test_reasons_are_those_of_the_metrics(start):
    """So that none of them is counted as `other`."""
    import ast
    import inspect

    from companion_server.operations import protocol

    tree = ast.parse(inspect.getsource(protocol))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.args]
    named = {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in ("closed", "_refuse")
        and isinstance(call.args[0], ast.Constant)
    }
    assert named == set(CONNECTION_REASONS)


@pytest.mark.slow
@pytest.mark.parametrize("cap", [4096, 256], ids=["all held", "over the cap"])
def test_a_thousand_half_open_connections_do_not_hurt_a_good_client(start, cap):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_descriptor_limit(4096)  # both ends are in this process
    server = start(dataclasses.replace(ROOMY, connections=cap))
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(server.connect()).sendall(b"POST / HTTP/1.1\r\nContent-Le")
        assert poll(lambda: len(server.guard.headless) == min(cap, 1000))
        good = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        times = []
        for _ in range(200):
            began = time.perf_counter()
            good.request("POST", "/", bytes(13_000))
            assert good.getresponse().read() == b"13000"
            times.append(time.perf_counter() - began)
        good.close()
        assert sorted(times)[100] < 0.010  # s; 0.5 ms as a rule
        assert server.closed["evicted"] == max(0, 1001 - cap)
    assert poll(lambda: server.guard.count == 0)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
def test_attackers_that_come_faster_than_they_are_refused(start):
    """Each new connection evicts the oldest silent one; a request sent at once gets through."""
    server = start(dataclasses.replace(ROOMY, connections=64))

    async def attack(until):
        writers = []
        while not until.is_set():
            writers.append((await asyncio.open_connection("127.0.0.1", server.port))[1])
        for writer in writers:
            writer.transport.abort()
        return len(writers)

    async def good():
        answered = 0
        for _ in range(100):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(GET)
            answered += (await reader.read(12)) == b"HTTP/1.1 200"
            writer.close()
        return answered

    async def both():
        until = asyncio.Event()
        attacks = [asyncio.create_task(attack(until)) for _ in range(4)]
        answered = await good()
        until.set()
        return answered, sum(await asyncio.gather(*attacks))

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_descriptor_limit(12_000)
    answered, attempts = asyncio.run(both())
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert attempts > 64
    assert answered == 100
