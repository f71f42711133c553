"""`POST /v2/models/{model}[/versions/{version}]/infer`, in front of the router.

This is the route that is asked for every frame, and its handler wants nothing that a framework
could give it: not routing by regular expressions, validation, dependencies or response models. As
plain ASGI it takes a third of the time. FastAPI describes it and routes everything else.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from companion_server.bodies import read_body
from companion_server.inference import Origin, RawRequest, Reply, Service, answer
from companion_server.origins import client_of
from companion_server.problems import problem
from headtail.errors import HeadtailError

__all__ = ["InferEndpoint", "InferFirst"]

WATCH_AFTER_S = 0.005  # a request that is answered sooner is not worth watching its client
_NEEDED = frozenset(
    [
        b"accept-encoding",
        b"content-encoding",
        b"content-length",
        b"inference-header-content-length",
    ]
)


class InferEndpoint:
    """The handler; its path parameters are `model` and perhaps `version`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        parameters = scope["path_params"]
        origin = Origin(
            parameters["model"],
            parameters.get("version", ""),
            client_of(scope),
            time.monotonic(),
        )
        try:
            reply = await self._answered(origin, scope, receive)
        except ClientDisconnect:
            return
        except HeadtailError as error:
            await problem(error)(scope, receive, send)
            return
        headers = [
            (k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in reply.headers.items()
        ]
        headers.append((b"content-length", str(len(reply.body)).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _answered(self, origin: Origin, scope: Scope, receive: Receive) -> Reply:
        service = self._service
        service.store.versions(origin.model)  # an unknown model is refused before its body is read
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _NEEDED
        }
        body = await _body(headers, scope, receive, limit=service.max_body_bytes)
        task = asyncio.current_task()
        assert task is not None
        watch = _Watch(task, receive)
        try:
            return await answer(RawRequest(origin, headers, body), service)
        except asyncio.CancelledError:
            if watch.gone and task.uncancel() == 0:
                raise ClientDisconnect from None
            raise
        finally:
            watch.end()


class InferFirst:
    """Gives inference requests to `endpoint` and everything else to `app`."""

    def __init__(self, app: ASGIApp, *, endpoint: InferEndpoint) -> None:
        self._app = app
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["method"] == "POST":
            parameters = _parameters(scope["path"])
            if parameters is not None:
                await self._endpoint({**scope, "path_params": parameters}, receive, send)
                return
        await self._app(scope, receive, send)


class _Watch:
    """A client that hangs up takes its request with it.

    Once the whole body was read, the next ASGI message can only be the disconnect.
    """

    def __init__(self, task: asyncio.Task[Any], receive: Receive) -> None:
        self.gone = False
        self._task = task
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._begin)

    def end(self) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def _begin(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self._task.cancel()


async def _body(headers: dict[str, str], scope: Scope, receive: Receive, *, limit: int) -> bytes:
    """As `read_body`, without its machinery where the body came with its headers."""
    declared = headers.get("content-length", "")
    if not (declared.isascii() and declared.isdigit()) or int(declared) > limit:
        return await read_body(Request(scope, receive), limit=limit)
    first = await receive()
    if first["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = first.get("body", b"")
    if not first.get("more_body", False):
        return body
    parts = [body]
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _parameters(path: str) -> dict[str, str] | None:
    """Of the two templates above; None if it is another route."""
    if not path.startswith("/v2/models/") or not path.endswith("/infer"):
        return None
    parts = path.split("/")[3:-1]
    if len(parts) == 1 and parts[0]:
        return {"model": parts[0]}
    if len(parts) == 3 and parts[1] == "versions" and parts[0] and parts[2]:
        return {"model": parts[0], "version": parts[2]}
    return None
