"""Our socket under `websockets`' protocol, against that package's own server and worse ones."""

import contextlib
import http
import socket
import threading

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from headtail.errors import WireFault
from headtail.offload.refusals import Refusal
from headtail.offload.sockets import Deadline
from headtail.offload.websocket import Alarm, WebSocket

LIMIT = 1 << 20


@contextlib.contextmanager
def serving(handler, **options):
    with serve(handler, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join(20)


@contextlib.contextmanager
def opened(port, **options):
    raw = socket.create_connection(("127.0.0.1", port), timeout=20)
    with contextlib.closing(raw):
        yield WebSocket(
            raw,
            f"http://127.0.0.1:{port}/stream",
            {"Authorization": "Bearer ht_1_x"},
            **{"max_bytes": LIMIT, "deadline": Deadline(20), **options},
        )


@pytest.fixture
def alarm():
    made = Alarm()
    yield made
    made.close()


def echo(connection):
    with contextlib.suppress(ConnectionClosed):
        for message in connection:
            connection.send(message)


@pytest.mark.parametrize("message", [b"", b"\0\1\2", "text: ü", bytes(500_000)])
def test_messages_come_back_as_they_went(alarm, message):
    with serving(echo) as port, opened(port) as ours:
        ours.send(message, Deadline(20))
        assert ours.receive(alarm, Deadline(20)) == message
        assert ours.sent > len(message)
        assert ours.received > len(message)


def test_a_message_in_fragments_is_one(alarm):
    def fragments(connection):
        connection.send([b"ab", b"", b"cd"])
        connection.send(["e", "f"])

    with serving(fragments) as port, opened(port) as ours:
        assert ours.receive(alarm, Deadline(20)) == b"abcd"
        assert ours.receive(alarm, Deadline(20)) == "ef"


def test_the_headers_and_path_arrive(alarm):
    def tell(connection):
        connection.send(f"{connection.request.path} {connection.request.headers['Authorization']}")

    with serving(tell) as port, opened(port) as ours:
        assert ours.receive(alarm, Deadline(20)) == "/stream Bearer ht_1_x"


def test_pings_that_came_while_idle_are_answered():
    ponged = threading.Event()

    def ping(connection):
        assert connection.ping().wait(20)
        ponged.set()
        with contextlib.suppress(ConnectionClosed):
            connection.recv()

    with serving(ping) as port, opened(port) as ours:
        for _ in range(1000):
            assert not ours.stale()
            if ponged.wait(0.01):
                break
        assert ponged.is_set()
        ours.close()


def test_a_server_that_left_while_idle_is_noticed():
    may_leave = threading.Event()
    with serving(lambda _: may_leave.wait(20)) as port, opened(port) as ours:
        may_leave.set()
        for _ in range(1000):
            if ours.stale():
                break
            threading.Event().wait(0.01)
        assert ours.stale()


def test_the_alarm_wakes_and_a_deadline_ends(alarm):
    with serving(echo) as port, opened(port) as ours:
        alarm.ring()
        assert ours.receive(alarm, Deadline(20)) is None
        assert alarm.count == 1
        with pytest.raises(TimeoutError):
            ours.receive(alarm, Deadline(0.05))
        ours.send("still there", Deadline(20))
        assert ours.receive(alarm, Deadline(20)) == "still there"


def test_a_message_over_the_limit_ends_the_connection(alarm):
    def send_much(connection):
        with contextlib.suppress(ConnectionClosed):
            connection.send(bytes(2000))
            connection.recv()

    with serving(send_much) as port, opened(port, max_bytes=1000) as ours:
        with pytest.raises(ConnectionResetError):
            ours.receive(alarm, Deadline(20))
        with pytest.raises(ConnectionResetError):
            ours.send(b"x", Deadline(20))


def test_a_refused_handshake_is_the_refusal():
    def refuse(connection, request):
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, '{"error": "No key."}')

    with (
        serving(echo, process_request=refuse) as port,
        pytest.raises(Refusal, match="No key") as caught,
        opened(port),
    ):
        pass
    assert caught.value.status == 401


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\0\1\2\3\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Accept: x\r\n\r\n",
    ],
)
def test_what_speaks_no_websocket_is_told_apart(answer):
    listener = socket.create_server(("127.0.0.1", 0))

    def reply():
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    thread = threading.Thread(target=reply)
    thread.start()
    with (
        contextlib.closing(listener),
        pytest.raises(WireFault, match="without a WebSocket"),
        opened(listener.getsockname()[1]),
    ):
        pass
    thread.join(20)
