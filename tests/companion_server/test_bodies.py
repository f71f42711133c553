import asyncio
import contextlib
import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from companion_server.bodies import compress, decompress, read_body
from headtail.errors import TooLarge, WireFault


def request_of(chunks, headers=()):
    """A request whose body arrives in `chunks`, and the list of those that were asked for."""
    taken = []
    waiting = iter(chunks)

    async def receive():
        chunk = next(waiting, None)
        taken.append(chunk)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(k.encode(), v.encode()) for k, v in headers],
    }
    return Request(scope, receive), taken


def test_chunks_are_joined():
    request, _ = request_of([b"ab", b"", b"c"])
    assert asyncio.run(read_body(request, limit=3)) == b"abc"


def test_a_declared_length_over_the_limit_is_refused_unread():
    request, taken = request_of([b"x"], [("content-length", "4")])
    with pytest.raises(TooLarge, match="declares a body of 4 bytes"):
        asyncio.run(read_body(request, limit=3))
    assert taken == []


def test_an_undeclared_body_is_refused_at_the_chunk_that_passes_the_limit():
    request, taken = request_of([b"xx", b"xx", b"never"])
    with pytest.raises(TooLarge, match="longer than 3 bytes"):
        asyncio.run(read_body(request, limit=3))
    assert taken == [b"xx", b"xx"]


def test_a_wrong_declared_length_does_not_help():
    request, _ = request_of([b"xxxx"], [("content-length", "1")])
    with pytest.raises(TooLarge):
        asyncio.run(read_body(request, limit=3))


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_decompress_matches_the_standard_library(coding, pack):
    assert decompress(pack(b"body" * 99), coding, limit=396) == b"body" * 99
    assert decompress(pack(b""), coding.upper(), limit=1) == b""


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_what_compress_makes_decompress_reads(coding):
    packed, named = compress(b"abc" * 50, coding)
    assert named == coding
    assert decompress(packed, coding, limit=150) == b"abc" * 50


@pytest.mark.parametrize("accept", ["", "identity", "gzip, deflate, br", "br", "*"])
def test_nothing_is_packed_unless_asked_for_alone(accept):
    assert compress(b"abc", accept) == (b"abc", "")


def test_a_bomb_is_stopped_at_the_limit():
    bomb = zlib.compress(bytes(100 << 20), 9)
    tracemalloc.start()
    with pytest.raises(TooLarge, match="unpacks to more than 1048576 bytes"):
        decompress(bomb, "deflate", limit=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize(
    ("body", "coding", "words"),
    [
        (b"abc", "br", "Content-Encoding is 'br'"),
        (b"abc", "gzip, deflate", "Content-Encoding is 'gzip, deflate'"),
        (b"abc", "gzip", "not gzip"),
        (b"", "deflate", "truncated"),
        (zlib.compress(b"abc")[:-1], "deflate", "truncated"),
        (zlib.compress(b"abc") + b"!", "deflate", "has a tail"),
        (gzip.compress(b"abc", mtime=0) * 2, "gzip", "has a tail"),
        (zlib.compress(b"abc", wbits=-15), "deflate", "not deflate"),
    ],
)
def test_a_broken_stream_is_a_wire_fault(body, coding, words):
    with pytest.raises(WireFault, match=words) as caught:
        decompress(body, coding, limit=100)
    assert caught.value.http_status == 400


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
@settings(deadline=None)
def test_no_bytes_raise_anything_else(body, coding):
    with contextlib.suppress(WireFault):
        assert len(decompress(body, coding, limit=1000)) <= 1000
