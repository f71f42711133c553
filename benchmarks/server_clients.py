"""Many cheap clients of the companion server in one event loop, and what they were told.

A client is one kept connection. Requests are encoded once, so that two cores are left to the
server; every answer is decoded and compared with what the bare tail gives for that very frame, so
that a wrong or a swapped answer counts as one. Times are the client's, in `time.perf_counter()`.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import math
import random
import re
import time
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from benchmarks.peers.tail import PeerTail
from benchmarks.server_rig import Subject
from headtail.wire import boundary, oip, split

TOLERANCE = 1e-3  # a batch is computed in another order than a single sample
GIVE_UP_S = 30.0  # a request without an answer by then hangs
LOST, HANGS, WRONG = "lost", "hangs", "wrong answer"
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_JSON_LENGTH = re.compile(rb"\r\ninference-header-content-length: (\d+)\r\n", re.IGNORECASE)
_BATCH = re.compile(rb'"split\.batch":(\d+)')
_RETRY = re.compile(rb"\r\nretry-after: (\S+)\r\n", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Question:
    """One request as bytes, and its right answer: all outputs, one behind the other."""

    request: bytes
    expected: npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """One request as its client saw it; `kind` is a status, or one of the words above."""

    kind: int | str
    sent: float
    took_s: float
    client: int
    batch: int = 0
    retry_after_s: float = 0.0

    @property
    def ms(self) -> float:
        """Milliseconds from sending (or from when it was due) to the answer."""
        return self.took_s * 1e3


def questions(
    subject: Subject, codec: str = "aq8t+deflate", *, deadline_ms: int | None = None
) -> list[Question]:
    """One question for each golden input; the answers are computed here, by the bare tail."""
    manifest, cut = subject.bundle.manifest, subject.cut
    tail = PeerTail(subject.path, cut.id)
    version = urllib.parse.quote(manifest.bundle_id, safe="")
    path = f"/v2/models/{urllib.parse.quote(manifest.name, safe='')}/versions/{version}/infer"
    options = split.SplitParameters(manifest.bundle_id, cut.id, codec, deadline_ms)
    found = []
    for arrays in subject.inputs:
        frame = boundary.encode_boundary(arrays, cut, codec)
        tensor = oip.NamedArray(boundary.INPUT_NAME, np.frombuffer(frame, np.uint8))
        asked = oip.InferRequest((tensor,), parameters=options.to_parameters(), binary_outputs=True)
        headers, body = oip.encode_request(asked)
        headers |= {"Host": "127.0.0.1", "Content-Length": str(len(body))}
        lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
        outputs, _ = tail.run(boundary.decode_boundary(frame, cut))
        flat = [output.reshape(-1).astype(np.float32, copy=False) for output in outputs]
        expected = np.concatenate(flat)
        found.append(Question(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body, expected))
    closest = min(
        (float(np.abs(a.expected - b.expected).max()) for a in found for b in found if a is not b),
        default=math.inf,
    )
    if closest < 100 * TOLERANCE:
        raise SystemExit(f"two right answers differ by {closest} only: a swap would not be seen")
    return found


class Client(asyncio.Protocol):
    """One connection; `ask` one question at a time."""

    def __init__(self, number: int, give_up_s: float) -> None:
        self.number = number
        self._give_up_s = give_up_s
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._whole = 0
        self._answer: asyncio.Future[tuple[bytes, bytes]] | None = None

    @classmethod
    async def connect(
        cls, address: tuple[str, int], number: int = 0, *, give_up_s: float = GIVE_UP_S
    ) -> Client:
        """A connected client; raises `OSError`."""
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(lambda: cls(number, give_up_s), *address))[1]

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._transport is None or self._transport.is_closing()

    async def ask(self, question: Question, *, due: float | None = None) -> Outcome:
        """Send and wait; its time counts from `due` if that is earlier than now."""
        sent = time.perf_counter() if due is None else due
        if self.closed:
            return Outcome(LOST, sent, 0.0, self.number)
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(question.request)
        try:
            async with asyncio.timeout(self._give_up_s):
                head, body = await self._answer
        except (TimeoutError, ConnectionError) as error:
            self.close()
            lost = HANGS if isinstance(error, TimeoutError) else LOST
            return Outcome(lost, sent, time.perf_counter() - sent, self.number)
        took_s = time.perf_counter() - sent
        status = int(head[9:12])
        if status != 200:
            retry = _RETRY.search(head)
            wait_s = float(retry[1]) if retry else 0.0
            return Outcome(status, sent, took_s, self.number, retry_after_s=wait_s)
        kind = 200 if _is_right(head, body, question.expected) else WRONG
        batch = _BATCH.search(body, 0, 2048)
        return Outcome(kind, sent, took_s, self.number, int(batch[1]) if batch else 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """asyncio.Protocol."""
        self._received += data
        if not self._whole:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._received, 0, end + 2)
            self._whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._received) >= self._whole:
            head, _, body = bytes(self._received[: self._whole]).partition(b"\r\n\r\n")
            del self._received[: self._whole]
            self._whole = 0
            if self._answer is not None and not self._answer.done():
                self._answer.set_result((head + b"\r\n", body))

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio.Protocol."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the server closed the connection"))


def _is_right(head: bytes, body: bytes, expected: npt.NDArray[np.float32]) -> bool:
    length = _JSON_LENGTH.search(head)
    raw = body[int(length[1]) :] if length else b""
    if len(raw) != expected.nbytes:
        return False
    return bool(np.abs(np.frombuffer(raw, "<f4") - expected).max() <= TOLERANCE)


async def closed_loop(
    address: tuple[str, int], asked: Sequence[Sequence[Question]], *, seconds: float
) -> list[Outcome]:
    """As many clients as `asked` has lists, each asking the next question when it has its answer.

    Outcomes of requests that were sent within the window, which begins when all are connected.
    """
    clients = [await Client.connect(address, number) for number in range(len(asked))]
    stop = time.perf_counter() + seconds
    outcomes: list[Outcome] = []

    async def go_on(client: Client, own: Sequence[Question]) -> None:
        turn = client.number
        while time.perf_counter() < stop:
            outcomes.append(await client.ask(own[turn % len(own)]))
            turn += 1
            if client.closed:
                return

    try:
        await asyncio.gather(*(go_on(c, own) for c, own in zip(clients, asked, strict=True)))
    finally:
        for client in clients:
            client.close()
    return outcomes


async def open_loop(
    address: tuple[str, int],
    asked: Sequence[Question],
    *,
    per_s: float,
    seconds: float,
    most: int = 512,
) -> tuple[list[Outcome], int]:
    """Requests at Poisson times, whatever becomes of earlier ones; times count from when due.

    Each goes over the connection that is idle for longest, or a new one, up to `most`. The number
    is that of requests not sent because all waited: the load then was not what it should have been.
    """
    rng = random.Random(0)
    idle: collections.deque[Client] = collections.deque()
    outcomes: list[Outcome] = []
    running: set[asyncio.Task[None]] = set()
    made = not_sent = 0

    async def one(question: Question, due: float, number: int | None) -> None:
        client = idle.popleft() if number is None else await Client.connect(address, number)
        outcomes.append(await client.ask(question, due=due))
        if not client.closed:
            idle.append(client)

    due = time.perf_counter()
    stop, turn = due + seconds, 0
    while (due := due + rng.expovariate(per_s)) < stop:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if not idle and made >= most:
            not_sent += 1
            continue
        number = None if idle else made
        made += number is not None
        task = asyncio.create_task(one(asked[turn % len(asked)], due, number))
        turn += 1
        running.add(task)
        task.add_done_callback(running.discard)
        if number is None:
            await asyncio.sleep(0)  # the task takes its connection from the idle ones
    await asyncio.gather(*running)
    for client in idle:
        client.close()
    return outcomes, not_sent


def counted(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many of each kind, by status or word."""
    return dict(sorted(collections.Counter(str(o.kind) for o in outcomes).items()))


def percentiles(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """p50, p90, p99 in ms of the answered ones, nearest rank; NaN-free: empty if there are none."""
    ordered = sorted(o.ms for o in outcomes if o.kind == 200)
    if not ordered:
        return {}
    ranks = {p: -(-p * len(ordered) // 100) - 1 for p in (50, 90, 99)}
    return {f"p{p}_ms": round(ordered[rank], 2) for p, rank in ranks.items()}


def run(work: Callable[[], Any]) -> Any:
    """Run a coroutine function under the fastest event loop that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())
