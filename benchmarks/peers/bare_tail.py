"""The floor: one asyncio protocol in one process that answers our own client's message.

No peer, for it serves nobody: no routes, keys, limits, queue or second process; every byte is
believed. What it adds to the tail is the client, the kernel, and the codecs of both directions, so
what a server adds beyond it is that server's own.

    python benchmarks/peers/bare_tail.py BUNDLE CUT PORT
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import cast

from benchmarks.peers.tail import PeerTail
from headtail.bundle import open_bundle
from headtail.manifest import Manifest
from headtail.wire import boundary, oip, split

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"content-length: (\d+)\r\n", re.IGNORECASE)
_HEADER = re.compile(rb"\r\ninference-header-content-length: (\d+)\r\n", re.IGNORECASE)
_ID = re.compile(rb'"id":"([^"]*)"')


class BareTail(asyncio.Protocol):
    """One connection: requests for one cut, one after the other."""

    def __init__(self, tail: PeerTail, manifest: Manifest, cut_id: str) -> None:
        self._tail, self._manifest, self._cut = tail, manifest, manifest.cut(cut_id)
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """asyncio.Protocol."""
        self._received += data
        head, found, body = self._received.partition(_END)
        length = _LENGTH.search(head + b"\r\n")
        if not found or (length and len(body) < int(length[1])):
            return
        self._received = b""
        answer = self._answer(head + b"\r\n", body) if body else b"HTTP/1.1 200 OK\r\n"
        self._transport.write(answer if body else answer + b"Content-Length: 0\r\n\r\n")

    def _answer(self, head: bytes, body: bytes) -> bytes:
        stated, asked = _HEADER.search(head), _ID.search(body)
        assert stated
        assert asked
        arrays = boundary.decode_boundary(body[int(stated[1]) :], self._cut)
        outputs, compute_ms = self._tail.run(arrays)
        names = (spec.name for spec in self._manifest.outputs)
        headers, content = oip.encode_response(
            oip.InferResponse(
                self._manifest.name,
                self._manifest.bundle_id,
                tuple(map(oip.NamedArray, names, outputs)),
                asked[1].decode(),
                {"split.compute_ms": compute_ms, split.CHECKSUM: split.checksum(outputs)},
            )
        )
        lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
        return (
            f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(content)}\r\n\r\n".encode() + content
        )


async def serve(bundle: Path, cut_id: str, port: int) -> None:
    """Until killed."""
    tail, manifest = PeerTail(bundle, cut_id), open_bundle(bundle, check=False).manifest
    loop = asyncio.get_running_loop()
    await (
        await loop.create_server(lambda: BareTail(tail, manifest, cut_id), "127.0.0.1", port)
    ).serve_forever()


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
