"""What the load's clients call an answer, against a server that makes every mistake on purpose."""

import asyncio
import contextlib
import json

import numpy as np
import pytest

from benchmarks.server_clients import (
    HANGS,
    LOST,
    WRONG,
    Client,
    Outcome,
    Question,
    closed_loop,
    counted,
    open_loop,
    percentiles,
)

RIGHT = np.array([1.0, 2.0], np.float32)


def question(path="/right"):
    return Question(f"POST {path} HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode(), RIGHT)


def answer(values, *, status="200 OK", more=""):
    head = json.dumps({"parameters": {"split.batch": 3}}, separators=(",", ":")).encode()
    body = head + np.asarray(values, "<f4").tobytes()
    lines = f"inference-header-content-length: {len(head)}\r\ncontent-length: {len(body)}\r\n{more}"
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


ANSWERS = {
    b"/right": answer(RIGHT),
    b"/rounded": answer(RIGHT + 1e-5),
    b"/swapped": answer(RIGHT[::-1]),
    b"/short": answer(RIGHT[:1]),
    b"/shed": answer([], status="429 Too Many Requests", more="Retry-After: 2\r\n"),
    b"/broken": answer([], status="500 Internal Server Error"),
}


@contextlib.asynccontextmanager
async def mistaken_server():
    """Answers by path; `/silent` never, `/cut` by closing the connection."""

    conversations = []

    async def serve(reader, writer):
        task = asyncio.current_task()
        assert task is not None
        conversations.append(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
                if path == b"/cut":
                    break
                if path != b"/silent":
                    half = len(ANSWERS[path]) // 2  # an answer may come in pieces
                    writer.write(ANSWERS[path][:half])
                    await writer.drain()
                    writer.write(ANSWERS[path][half:])
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await asyncio.gather(*conversations)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/right", 200),
        ("/rounded", 200),
        ("/swapped", WRONG),
        ("/short", WRONG),
        ("/shed", 429),
        ("/broken", 500),
        ("/silent", HANGS),
        ("/cut", LOST),
    ],
)
def test_every_mistake_is_called_by_its_name(path, kind):
    async def ask():
        async with mistaken_server() as address:
            client = await Client.connect(address, give_up_s=0.2)
            outcome = await client.ask(question(path))
            client.close()
            return outcome

    assert asyncio.run(ask()).kind == kind


def test_an_answer_names_its_batch_and_a_refusal_its_wait():
    async def ask():
        async with mistaken_server() as address:
            client = await Client.connect(address)
            outcomes = [await client.ask(question(path)) for path in ("/right", "/shed")]
            client.close()
            return outcomes

    right, shed = asyncio.run(ask())
    assert right.batch == 3
    assert shed.retry_after_s == 2.0


def test_a_closed_loop_ends_with_its_window():
    async def ask():
        async with mistaken_server() as address:
            return await closed_loop(address, [[question()], [question("/swapped")]], seconds=0.2)

    outcomes = asyncio.run(ask())
    assert {o.kind for o in outcomes if o.client == 0} == {200}
    assert {o.kind for o in outcomes if o.client == 1} == {WRONG}


def test_an_open_loop_offers_its_rate_and_counts_what_it_could_not_send():
    async def ask(path, most):
        async with mistaken_server() as address:
            return await open_loop(address, [question(path)], per_s=400, seconds=0.5, most=most)

    outcomes, not_sent = asyncio.run(ask("/right", 64))
    assert not_sent == 0
    assert 100 < len(outcomes) < 400
    assert counted(outcomes) == {"200": len(outcomes)}


def test_an_open_loop_without_free_connections_says_so():
    async def ask():
        async with mistaken_server() as address:
            return await open_loop(address, [question("/cut")], per_s=400, seconds=0.2, most=1)

    outcomes, not_sent = asyncio.run(ask())
    assert not_sent > 0
    assert {o.kind for o in outcomes} == {LOST}


def test_percentiles_are_of_right_answers_only():
    outcomes = [Outcome(200, 0.0, 0.001 * ms, 0) for ms in range(1, 101)]
    outcomes += [Outcome(429, 0.0, 9.0, 0)] * 100
    assert percentiles(outcomes) == {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0}
    assert percentiles(outcomes[100:]) == {}
