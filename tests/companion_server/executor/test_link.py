"""The line between web process and executor, over a real socket pair."""

import asyncio
import socket
import threading

import numpy as np
import pytest

from companion_server.executor.link import Link, LinkLost
from companion_server.executor.messages import PREFIX, lengths, pack, unpack
from headtail.errors import TensorMismatch


class Peer:
    """The other end, which answers when it is told to."""

    def __init__(self, connection):
        self.connection = connection

    def receive(self):
        json_bytes, tensor_bytes = lengths(self._exactly(PREFIX.size))
        return unpack(self._exactly(json_bytes), self._exactly(tensor_bytes))

    def answer(self, number, arrays=(), *, cut_in=1, **head):
        data = b"".join(pack({"id": number, **head}, arrays))
        size = -(-len(data) // cut_in)
        for start in range(0, len(data), size):
            self.connection.sendall(data[start : start + size])

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            data += self.connection.recv(size - len(data))
        return data


def run(scenario):
    """Run `scenario(link, peer)` on a loop."""

    async def main():
        here, there = socket.socketpair()
        with there:
            here.setblocking(False)
            _, link = await asyncio.get_running_loop().create_connection(Link, sock=here)
            try:
                await scenario(link, Peer(there))
            finally:
                link.close()
                await link.lost

    asyncio.run(main())


def test_answers_go_to_who_asked_in_whatever_order_they_come():
    async def scenario(link, peer):
        first = asyncio.ensure_future(link.ask({"op": "info"}))
        second = asyncio.ensure_future(link.ask({"op": "run"}, [np.zeros(3)]))
        one, two = await asyncio.to_thread(lambda: (peer.receive(), peer.receive()))
        peer.answer(one[0]["id"], told=1)
        assert (await first)[0]["told"] == 1
        peer.answer(two[0]["id"], [np.ones(2)], told=2)
        head, [array] = await asyncio.wait_for(second, 5)
        assert head["told"] == 2
        np.testing.assert_array_equal(array, np.ones(2))

    run(scenario)


@pytest.mark.parametrize("pieces", [1, 2, 7, 40])
def test_answers_may_come_in_any_pieces_and_together(pieces):
    async def scenario(link, peer):
        asked = [asyncio.ensure_future(link.ask({"op": "run"})) for _ in range(3)]
        heads = await asyncio.to_thread(lambda: [peer.receive()[0] for _ in range(3)])
        both = b"".join(
            b"".join(pack({"id": head["id"], "n": head["id"]}, [np.full(5, head["id"])]))
            for head in heads
        )
        size = -(-len(both) // pieces)
        for start in range(0, len(both), size):
            peer.connection.sendall(both[start : start + size])
            await asyncio.sleep(0)
        for head, reply in zip(heads, await asyncio.gather(*asked), strict=True):
            assert reply[0]["n"] == head["id"]
            assert set(reply[1][0]) == {head["id"]}

    run(scenario)


def test_a_fault_is_raised_where_it_was_asked_for():
    async def scenario(link, peer):
        asked = asyncio.ensure_future(link.ask({"op": "run"}))
        head, _ = await asyncio.to_thread(peer.receive)
        peer.answer(
            head["id"],
            fault={"kind": "TensorMismatch", "what": "A.", "expected": "B.", "remedy": "C."},
        )
        with pytest.raises(TensorMismatch, match=r"A\. B\. C\."):
            await asked

    run(scenario)


def test_when_the_executor_dies_everybody_is_told_at_once():
    async def scenario(link, peer):
        asked = [asyncio.ensure_future(link.ask({"op": "run"})) for _ in range(2)]
        await asyncio.to_thread(peer.receive)
        peer.connection.close()
        for waiting in asked:
            with pytest.raises(LinkLost):
                await asyncio.wait_for(waiting, 5)
        with pytest.raises(LinkLost):
            await link.ask({"op": "run"})

    run(scenario)


def test_an_answer_that_nobody_waits_for_any_more_is_dropped():
    async def scenario(link, peer):
        given_up = asyncio.ensure_future(link.ask({"op": "run"}))
        head, _ = await asyncio.to_thread(peer.receive)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        peer.answer(head["id"])
        asked = asyncio.ensure_future(link.ask({"op": "info"}))
        head, _ = await asyncio.to_thread(peer.receive)
        peer.answer(head["id"], fine=True)
        assert (await asyncio.wait_for(asked, 5))[0]["fine"]

    run(scenario)


def test_a_large_message_crosses_while_the_other_side_is_slow():
    array = np.arange(3 << 18, dtype=np.float64)

    async def scenario(link, peer):
        asked = asyncio.ensure_future(link.ask({"op": "run"}, [array]))
        received = []
        thread = threading.Thread(target=lambda: received.append(peer.receive()))
        await asyncio.sleep(0)
        thread.start()
        await asyncio.to_thread(thread.join)
        [(head, [back])] = received
        np.testing.assert_array_equal(back, array)
        peer.answer(head["id"])
        await asked

    run(scenario)
