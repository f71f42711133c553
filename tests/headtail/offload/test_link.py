"""Ways to a server that swallow time or memory: connecting, shaking hands, a body without end."""

import contextlib
import socket
import sys
import threading
import time

import pytest

from headtail.errors import ServerUnreachable, TooLarge
from headtail.offload.link import Link, Origin, Request
from headtail.offload.sockets import Deadline
from tests.support.capabilities import require

LONG_S = 20.0  # a deadline that no test waits for
LIMIT = 10_000  # bytes


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as made:
        yield made


@pytest.fixture
def swallowing(listener):
    """The address of a listener whose queue is full: what connects hears nothing."""
    require(sys.platform == "linux", "only Linux drops what a full queue cannot take")
    with contextlib.ExitStack() as held:
        for _ in range(3):
            one = held.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()


def link_to(address, *, scheme="http"):
    return Link(Origin.parse(f"{scheme}://{address[0]}:{address[1]}"))


def read(link, deadline):
    with (
        contextlib.closing(link),
        link.exchange(Request("GET", "/"), deadline) as reply,
    ):
        return reply.read(limit=LIMIT)


def aborted_at(link, reached):
    """Abort once `reached()`; how the exchange ended."""
    ends = []

    def run():
        try:
            read(link, Deadline(LONG_S))
        except ServerUnreachable as error:
            ends.append(error.what)

    thread = threading.Thread(target=run)
    thread.start()
    end = time.monotonic() + LONG_S / 2
    while not reached() and time.monotonic() < end:
        time.sleep(0)
    link.abort()
    thread.join(LONG_S / 2)
    assert not thread.is_alive()
    return ends


def test_abort_ends_a_connection_that_is_being_made(swallowing):
    link = link_to(swallowing)
    (told,) = aborted_at(link, lambda: link._dialled is not None)  # white box: nobody else sees it
    assert "no longer needed" in told


def test_abort_ends_a_handshake_that_nobody_answers(listener):
    link = link_to(listener.getsockname(), scheme="https")
    with contextlib.ExitStack() as held:

        def greeted():
            peer = held.enter_context(listener.accept()[0])
            return bool(peer.recv(1))

        (told,) = aborted_at(link, greeted)
    assert "no longer needed" in told


def test_an_address_that_swallows_everything_leaves_time_for_the_next(swallowing, monkeypatch):
    """As a name with an IPv6 address that leads nowhere."""
    with socket.create_server(("127.0.0.1", 0)) as good:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
            for address in (swallowing, good.getsockname())
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: found)
        answering = threading.Thread(target=lambda: answer(good, b"Content-Length: 2\r\n\r\n{}"))
        answering.start()
        assert read(link_to(good.getsockname()), Deadline(1.0)) == b"{}"
        answering.join()


def test_attack_a_chunk_of_minus_one_bytes(listener):
    """To Python's http.client it is a body without end, which it reads into memory at one go."""
    flooding = threading.Thread(target=flood, args=(listener,))
    flooding.start()
    with pytest.raises(TooLarge, match="bytes or more"):
        read(link_to(listener.getsockname()), Deadline(LONG_S))
    flooding.join()


def flood(listener):
    """Send until nobody listens any more, but no more than this machine can hold."""
    with contextlib.suppress(OSError), listener.accept()[0] as sock:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
        for _ in range(64):
            sock.sendall(bytes(1 << 20))


def answer(listener, rest):
    with listener.accept()[0] as sock:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + rest)
