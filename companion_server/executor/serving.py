"""The executor's side: requests from one connection, answered one after the other.

    {"op": "load", "path", "known": ...}  -> {"loaded": bundle id, "info": {...}}
    {"op": "unload", "bundle": ...}       -> {}
    {"op": "run", "bundle": ..., "groups": [[cut, number of arrays], ...]} + arrays
                                          -> {"counts": [...], "compute_ms": ...} + arrays
    {"op": "info", "bundle": ...}         -> {"info": {...}}
    {"op": "hello"}                       -> {"pid": int}

Any of them may be answered {"fault": {...}} instead. Loading takes seconds, so it happens on a
second thread, and requests for other bundles are computed meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companion_server.executor.faults import to_fault
from companion_server.executor.messages import PREFIX, lengths, pack, unpack
from headtail.bundle import Bundle
from headtail.bundle.reading import load_manifest
from headtail.errors import HeadtailError
from headtail.tensors import Array

if TYPE_CHECKING:
    from companion_server.tails import TailRunner

__all__ = ["converse", "serve_forever"]

log = logging.getLogger(__name__)
TEND_EVERY_S = 0.2
Answer = tuple[dict[str, Any], list[Array]]


def serve_forever(listener: socket.socket, runner: TailRunner) -> None:
    """Answer one connection after another; bundles stay loaded between them."""
    while True:
        connection, _ = listener.accept()
        with connection:
            converse(connection, runner)


def converse(connection: socket.socket, runner: TailRunner) -> None:
    """Answer requests until the other side closes the connection."""
    _Conversation(connection, runner).run()


class _Conversation:
    def __init__(self, connection: socket.socket, runner: TailRunner) -> None:
        self._connection = connection
        self._runner = runner
        self._sending = threading.Lock()
        self._loading: list[threading.Thread] = []

    def run(self) -> None:
        try:
            while (message := self._next()) is not None:
                head, arrays = message
                if head["op"] == "load":
                    self._answer_beside(head)
                else:
                    self._answer(head, arrays)
        except OSError as error:
            log.warning("the line to the web process broke: %s", error)
        for thread in self._loading:
            thread.join()

    def _next(self) -> tuple[dict[str, Any], list[Array]] | None:
        """The next request; what would make tails faster is done while there is none."""
        more = self._runner.tend(idle=False)
        while not select.select([self._connection], [], [], 0 if more else TEND_EVERY_S)[0]:
            more = self._runner.tend()
        return self._receive()

    def _answer_beside(self, head: dict[str, Any]) -> None:
        thread = threading.Thread(target=self._answer, args=(head, []), name="load", daemon=True)
        self._loading = [old for old in self._loading if old.is_alive()] + [thread]
        thread.start()

    def _answer(self, head: dict[str, Any], arrays: list[Array]) -> None:
        operations: dict[str, Callable[[dict[str, Any], list[Array]], Answer]] = {
            "run": self._run,
            "load": self._load,
            "unload": self._unload,
            "info": self._info,
            "hello": lambda _head, _arrays: ({"pid": os.getpid()}, []),
        }
        try:
            reply, outputs = operations[head["op"]](head, arrays)
        except Exception as error:  # whatever a program does, its request is answered
            if not isinstance(error, HeadtailError):
                log.exception("%s failed", head["op"])
            reply, outputs = {"fault": to_fault(error)}, []
        self._send({"id": head["id"], **reply}, outputs)

    def _run(self, head: dict[str, Any], arrays: list[Array]) -> Answer:
        from companion_server.tails import Group

        groups, offset = [], 0
        for cut, count in head["groups"]:
            groups.append(Group(cut, tuple(arrays[offset : offset + count])))
            offset += count
        started = time.perf_counter()
        results = self._runner.run(head["bundle"], groups)
        compute_ms = (time.perf_counter() - started) * 1e3
        counts = [len(outputs) for outputs in results]
        flat = [array for outputs in results for array in outputs]
        return {"counts": counts, "compute_ms": compute_ms}, flat

    def _load(self, head: dict[str, Any], _arrays: list[Array]) -> Answer:
        path = Path(head["path"])
        # its files were hashed when it was published or opened; its tail is proven by what it gives
        bundle = Bundle(path, load_manifest(path))
        known = [{int(n): float(ms) for n, ms in each.items()} for each in head["known"]]
        self._runner.load(bundle, known=known)
        bundle_id = bundle.manifest.bundle_id
        return {"loaded": bundle_id, "info": self._runner.info(bundle_id)}, []

    def _unload(self, head: dict[str, Any], _arrays: list[Array]) -> Answer:
        self._runner.unload(head["bundle"])
        return {}, []

    def _info(self, head: dict[str, Any], _arrays: list[Array]) -> Answer:
        return {"info": self._runner.info(head["bundle"])}, []

    def _receive(self) -> tuple[dict[str, Any], list[Array]] | None:
        prefix = self._exactly(PREFIX.size)
        if prefix is None:
            return None
        json_bytes, tensor_bytes = lengths(prefix)
        text, tensors = self._exactly(json_bytes), self._exactly(tensor_bytes)
        return None if text is None or tensors is None else unpack(text, tensors)

    def _exactly(self, size: int) -> bytearray | None:
        data = bytearray(size)
        view, held = memoryview(data), 0
        while held < size:
            count = self._connection.recv_into(view[held:])
            if not count:
                return None
            held += count
        return data

    def _send(self, head: dict[str, Any], arrays: list[Array]) -> None:
        # the other side may be gone: then nobody waits for this
        with self._sending, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.sendall(b"".join(pack(head, arrays)))
