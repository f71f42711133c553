"""The client against a server that behaves, and one that does not."""

import json
import socket
import threading
import time

import numpy as np
import pytest

from headtail.errors import (
    BundleMismatch,
    ServerUnreachable,
    TensorMismatch,
    TooLarge,
    UnknownName,
    UsageFault,
    WireFault,
)
from headtail.offload.client import Companion
from headtail.offload.link import Request
from headtail.offload.refusals import Shed
from headtail.offload.sockets import Deadline
from tests.support.tail_server import head, images, tail

IMAGE = next(images(1))


def ask(companion, bundle, *, codec="raw32", deadline_ms=5000.0, cut="early"):
    manifest = bundle.manifest
    return companion.infer_tail(
        manifest.name,
        manifest.bundle_id,
        manifest.cut(cut),
        codec,
        [head(IMAGE)],
        deadline_ms=deadline_ms,
    )


def test_a_good_reply(companion, server, bundle):
    reply = ask(companion, bundle)
    assert reply.names == ("logits",)
    assert reply.outputs[0].tolist() == tail(head(IMAGE)).tolist()
    assert reply.outputs[0].flags.writeable
    assert reply.server == {"compute_ms": 0.5, "decode_ms": 0.25}
    assert reply.round_trip_ms > 0
    assert server.requests == 1


def test_bytes_are_counted_where_they_cross_the_socket(bundle):
    """A server that records every byte says the same."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sent = b"HTTP/1.1 500 No\r\nContent-Length: 2\r\nX-Other: y\r\n\r\n{}"
        received: list[bytes] = []

        def answer():
            with listener.accept()[0] as sock:
                while b"logits" not in b"".join(received) and (data := sock.recv(65536)):
                    received.append(data)
                    total = b"".join(received)
                    head_end = total.find(b"\r\n\r\n")
                    if head_end >= 0 and len(total) == head_end + 4 + content_length(total):
                        break
                sock.sendall(sent)

        thread = threading.Thread(target=answer)
        thread.start()
        companion = Companion(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with companion._link.exchange(
            Request("POST", "/x", {"A": "b"}, b"0123456789"), Deadline(5)
        ) as reply:
            reply.read(limit=100)
        thread.join()
        companion.close()
    assert reply.bytes_up == len(b"".join(received))
    assert reply.bytes_down == len(sent)


def content_length(request):
    line = next(ln for ln in request.split(b"\r\n") if ln.lower().startswith(b"content-length:"))
    return int(line.split(b":")[1])


def test_one_connection_is_kept(companion, server, bundle):
    for _ in range(5):
        ask(companion, bundle)
    assert companion.ready()
    assert (server.requests, server.connections) == (5, 1)


def test_a_kept_connection_that_the_server_closed_is_replaced(companion, server, bundle):
    ask(companion, bundle)
    server.drop_connections()
    assert ask(companion, bundle).outputs[0].shape == (1, 3)
    assert (server.requests, server.connections) == (2, 2)


def test_chunked_replies(companion, server, bundle):
    server.mode = "chunked"
    assert ask(companion, bundle).outputs[0].tolist() == tail(head(IMAGE)).tolist()


@pytest.mark.parametrize(
    "mode", ["close before reply", "close in headers", "close in body", "reset"]
)
def test_a_connection_lost_in_the_reply(companion, server, bundle, mode):
    server.mode = mode
    with pytest.raises((ServerUnreachable, WireFault), match=r"closed the connection|cannot be"):
        ask(companion, bundle)
    assert server.requests == 1, "a new connection is not tried twice"
    server.mode = "good"
    assert ask(companion, bundle).names == ("logits",)


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_the_deadline_is_for_the_whole_exchange(companion, server, bundle, mode):
    server.mode = mode
    started = time.monotonic()
    with pytest.raises(ServerUnreachable, match=r"did not answer within 200 ms"):
        ask(companion, bundle, deadline_ms=200)
    assert 0.19 < time.monotonic() - started < 2
    server.release.set()
    server.mode = "good"
    assert ask(companion, bundle).names == ("logits",)


def test_timeout_bounds_a_longer_deadline(server, bundle):
    server.mode = "hang"
    companion = Companion(server.url, timeout_s=0.1)
    with pytest.raises(ServerUnreachable, match=r"within 100 ms"):
        ask(companion, bundle, deadline_ms=60_000)
    companion.close()


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("garbage http", WireFault, "does not speak HTTP"),
        ("garbage body", WireFault, "malformed"),
        ("compressed", WireFault, "compressed"),
        ("too long", TooLarge, "has 1099511627776 bytes"),
        ("wrong bundle", BundleMismatch, "ran bundle 'ffff"),
    ],
)
def test_replies_that_cannot_be_used(companion, server, bundle, mode, kind, words):
    server.mode = mode
    with pytest.raises(kind, match=words):
        ask(companion, bundle)
    server.mode = "good"
    assert ask(companion, bundle).names == ("logits",)


def test_a_refusal(companion, server, bundle):
    server.mode, server.status, server.status_headers = "status", 429, {"Retry-After": "3"}
    with pytest.raises(Shed, match=r"answered 429: made to fail") as caught:
        ask(companion, bundle)
    assert caught.value.retry_after_s == 3
    server.mode = "good"
    ask(companion, bundle)
    assert server.connections == 1, "a refusal is no reason to connect anew"


def test_tensors_are_checked_before_anything_is_sent(companion, server, bundle):
    with pytest.raises(TensorMismatch):
        ask(companion, bundle, cut="late")
    with pytest.raises(UnknownName, match="codec"):
        ask(companion, bundle, codec="aq9t")
    assert server.connections == 0


def test_nobody_listens(bundle):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # so that nobody else listens there meanwhile
        port = silent.getsockname()[1]
        companion = Companion(f"http://127.0.0.1:{port}")
        with pytest.raises(ServerUnreachable, match=rf"127\.0\.0\.1:{port} cannot be reached"):
            ask(companion, bundle)
        with pytest.raises(ServerUnreachable):
            companion.ready()


def test_a_name_that_does_not_exist():
    with pytest.raises(ServerUnreachable, match=r"cannot be reached"):
        Companion("http://companion.invalid:8707").ready()


def test_abort_ends_a_request_from_another_thread(companion, server, bundle):
    server.mode = "hang"
    failures = []

    def run():
        try:
            ask(companion, bundle)
        except ServerUnreachable as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert server.hanging.wait(5)
    companion.abort()
    thread.join(5)
    assert not thread.is_alive()
    assert len(failures) == 1
    server.release.set()
    server.mode = "good"
    assert ask(companion, bundle).names == ("logits",)


def test_closed_is_closed(companion, bundle):
    companion.close()
    with pytest.raises(ServerUnreachable, match="no longer needed"):
        ask(companion, bundle)


def test_threads_wait_their_turn(companion, server, bundle):
    replies = []
    threads = [
        threading.Thread(target=lambda: replies.append(ask(companion, bundle))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(replies) == 8
    assert all(np.array_equal(r.outputs[0], replies[0].outputs[0]) for r in replies)
    assert server.connections == 1


def test_ready(companion, server):
    assert companion.ready() is True
    server.mode, server.status = "status", 503
    assert companion.ready() is False
    server.status = 500
    with pytest.raises(WireFault, match="answered 500"):
        companion.ready()


@pytest.mark.parametrize("told", [{}, [1], [{"bundle_id": "x"}], "x"])
def test_a_listing_that_is_none(companion, server, told):
    server.files["/v2/bundles"] = json.dumps(told).encode()
    with pytest.raises(WireFault, match="malformed"):
        companion.bundles()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8707",
        "ftp://host",
        "http://",
        "http://host:99999",
        "http://host:x",
        "http://host/?a=b",
        "http://user:secret@host",
        "http://ho st",
        "http://host/a\r\nX: y",
        "http://[::1",
        "http://" + "x" * 100_000,
    ],
)
def test_what_is_no_address(url):
    with pytest.raises(UsageFault, match=r"is not a companion server's address") as caught:
        Companion(url)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host", "http://host:80"),
        ("https://host/", "https://host:443"),
        ("http://[::1]:8707", "http://[::1]:8707"),
        ("https://host:1/companion/", "https://host:1/companion"),
    ],
)
def test_addresses(url, shown):
    assert Companion(url).url == shown
