import asyncio
import socket

from companion_server.operations.joining import MAX_HELD, JoiningTransport


def run(scenario):
    """`scenario(transport, raw, peer)` over a socket pair; `raw.writes` has each real write."""

    async def main():
        here, there = socket.socketpair()
        here.setblocking(False)
        loop = asyncio.get_running_loop()
        raw, _ = await loop.create_connection(asyncio.Protocol, sock=here)
        sizes = []

        class Counted:
            def write(self, data):
                sizes.append(len(data))
                raw.write(data)

            def __getattr__(self, name):
                return getattr(raw, name)

        with there:
            there.settimeout(5)
            transport = JoiningTransport(Counted(), loop)  # type: ignore[arg-type]
            await scenario(transport, sizes, there)
            raw.abort()
            await asyncio.sleep(0)

    asyncio.run(main())


def test_head_and_body_leave_together():
    async def scenario(transport, sizes, peer):
        transport.write(b"head")
        transport.write(b"body")
        assert transport.get_write_buffer_size() == 8
        await asyncio.sleep(0)
        assert sizes == [8]
        assert peer.recv(100) == b"headbody"
        transport.write(b"next")
        await asyncio.sleep(0)
        assert peer.recv(100) == b"next"

    run(scenario)


def test_large_writes_do_not_wait():
    async def scenario(transport, sizes, peer):
        transport.write(b"x")
        transport.write(bytes(MAX_HELD))
        assert sizes == [MAX_HELD + 1]
        await asyncio.sleep(0)
        assert sizes == [MAX_HELD + 1]

    run(scenario)


def test_closing_sends_what_was_written():
    async def scenario(transport, sizes, peer):
        transport.write(b"last words")
        transport.close()
        assert transport.is_closing()
        await asyncio.sleep(0)
        assert peer.recv(100) == b"last words"
        assert peer.recv(100) == b""

    run(scenario)


def test_aborting_does_not():
    async def scenario(transport, sizes, peer):
        transport.write(b"never")
        transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sizes == []
        assert peer.recv(100) == b""

    run(scenario)
