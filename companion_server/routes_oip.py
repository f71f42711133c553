"""The Open Inference Protocol v2 over HTTP: health, metadata, inference.

Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
and Triton's binary tensor extension,
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md.
A model's version is its bundle id. Handlers only move bytes; `inference.py` has the meaning.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from companion_server import descriptions
from companion_server.infer_route import InferEndpoint
from companion_server.inference import Service
from companion_server.jobs import Engine
from companion_server.problems import NotReady, problem
from companion_server.security.scopes import NO_NAME, sees
from companion_server.store import BundleStore
from companion_server.stream import StreamEndpoint

__all__ = ["router"]

_MODEL = "/v2/models/{model}"
_VERSION = "/v2/models/{model}/versions/{version}"


def router(
    service: Service, endpoint: InferEndpoint, stream: StreamEndpoint | None = None
) -> APIRouter:
    """The routes over a store and the engine that runs its tails."""
    routes = APIRouter(tags=["open inference protocol v2"])
    store, engine = service.store, service.engine
    _health(routes, service)
    _models(routes, store, engine)

    async def infer() -> Response:
        return _Delegated(endpoint)

    for path in (f"{_MODEL}/infer", f"{_VERSION}/infer"):
        routes.add_api_route(
            path,
            infer,
            methods=["POST"],
            summary="Run a model, or its tail from a cut",
            response_class=Response,
        )
    answers = stream or StreamEndpoint(service)
    for path in (_MODEL, _VERSION):
        # typed for functions; an ASGI application is taken as it is
        routes.add_websocket_route(f"{path}/stream", answers)  # type: ignore[arg-type]
    return routes


class _Delegated(Response):
    """Leaves the whole answer to another ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def _health(routes: APIRouter, service: Service) -> None:
    @routes.get("/v2", summary="Name, version and extensions of the server")
    async def server() -> dict[str, Any]:
        return descriptions.server_metadata(rest=True)

    @routes.get("/v2/health/live", summary="The process answers")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @routes.get("/v2/health/ready", summary="Every tail is loaded")
    async def ready() -> dict[str, Any]:
        service.check_ready()
        store = service.store
        withdrawn = sorted(key for key in store.faults if sees(store.model_of(key) or NO_NAME))
        return {"ready": True, **({"withdrawn": withdrawn} if withdrawn else {})}


def _models(routes: APIRouter, store: BundleStore, engine: Engine) -> None:
    async def metadata(model: str, version: str = "") -> dict[str, Any]:
        return descriptions.model_metadata(store, store.version(model, version))

    async def configuration(model: str, version: str = "") -> dict[str, Any]:
        return descriptions.model_configuration(store.version(model, version))

    async def ready(model: str, version: str = "") -> Response:
        stored = store.version(model, version)
        try:
            engine.check_ready(stored.bundle_id)
        except NotReady as error:
            return problem(error)
        return JSONResponse({"name": model, "version": stored.bundle_id, "ready": True})

    for path in (_MODEL, _VERSION):
        routes.add_api_route(path, metadata, summary="Tensors, versions, cuts and codecs")
        routes.add_api_route(f"{path}/config", configuration, summary="Triton's configuration")
        routes.add_api_route(f"{path}/ready", ready, summary="The model can be run")
