"""The application factory: a store, settings and an engine in, an ASGI application out."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from fastapi import FastAPI

import headtail
from companion_server import (
    openapi,
    problems,
    routes_bundles,
    routes_oip,
    routes_publishing,
    routes_repository,
)
from companion_server.executor.places import ThreadPlace
from companion_server.guard import Guard
from companion_server.infer_route import InferEndpoint, InferFirst
from companion_server.inference import Service
from companion_server.jobs import Engine
from companion_server.methods import Methods
from companion_server.operations import routes as operations_routes
from companion_server.operations.limits import Bodies, BodyBudget
from companion_server.operations.metrics import Metrics
from companion_server.operations.status import StatusSource
from companion_server.operations.telemetry import Telemetry, TelemetryMiddleware
from companion_server.scheduler import LocalEngine, QueueLimits
from companion_server.security import routes as security_routes
from companion_server.security.auth import AuthMiddleware
from companion_server.security.gate import Gate
from companion_server.security.headers import SecurityHeaders
from companion_server.settings import Settings
from companion_server.store import BundleStore
from companion_server.store.lifecycle import Lifecycle
from companion_server.stream import StreamEndpoint
from companion_server.tails import LoadProgram, TailRunner, read_program
from headtail.errors import HeadtailError, UsageFault

__all__ = ["create_app", "engine_in_process", "queue_limits"]

log = logging.getLogger(__name__)
OnLoaded = Callable[[HeadtailError | None], None]


def create_app(
    store: BundleStore,
    settings: Settings,
    *,
    engine: Engine | None = None,
    guard: Guard | None = None,
    telemetry: Telemetry | None = None,
    on_loaded: OnLoaded = lambda _failure: None,
) -> FastAPI:
    """The companion server over `store`; the caller closes the store after the application.

    Tails are loaded in the background once the application starts, so that `/v2/health/live`
    answers meanwhile; `on_loaded` is then called once, with the error if one could not be. Without
    `engine` tails run on a thread of this process; without `guard` everybody may do everything.
    The port of gRPC, if it is served, is `app.state.grpc_port` from the start on.
    """
    parts = _Parts.of(store, settings, engine or engine_in_process(settings), guard, telemetry)
    app = FastAPI(
        title="Headtail companion server",
        version=headtail.__version__,
        lifespan=lambda app: _running(app, parts, on_loaded),
        docs_url=None,  # FastAPI's pages load scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,  # a path that is no route is a 404, like every other
    )
    app.state.grpc_port = None
    problems.install(app)
    endpoint = InferEndpoint(parts.service)
    _routes(app, parts, endpoint)
    _middlewares(app, parts, endpoint)
    openapi.install(app)
    return app


@dataclass(frozen=True)
class _Parts:
    """What routes, middlewares and the lifespan are made of."""

    settings: Settings
    service: Service
    lifecycle: Lifecycle
    guard: Guard
    gate: Gate
    telemetry: Telemetry
    bodies: Bodies

    @classmethod
    def of(
        cls,
        store: BundleStore,
        settings: Settings,
        engine: Engine,
        guard: Guard | None,
        telemetry: Telemetry | None,
    ) -> _Parts:
        if guard is None and settings.auth:
            raise UsageFault(
                "The settings ask for keys, but there is no guard to look at them.",
                expected="Who embeds the application says who may use it.",
                remedy="Pass Guard.of(settings, url, certificate), or set auth to false.",
            )
        guarded, observed = guard or Guard(), telemetry or Telemetry(Metrics())
        observed.metrics.engine_status = engine.status
        observed.metrics.manifests = lambda: [
            stored.bundle.manifest for stored in store.bundles.values()
        ]
        gate = Gate(guarded.keys, rate=guarded.rate, audit=guarded.audit, model_of=store.model_of)
        lifecycle = Lifecycle(store, engine)
        service = Service(store, engine, settings.max_body_bytes, lifecycle.check_ready)
        bodies = Bodies(settings.max_body_memory)
        observed.metrics.body_bytes = lambda: bodies.held
        return cls(settings, service, lifecycle, guarded, gate, observed, bodies)


def _routes(app: FastAPI, parts: _Parts, endpoint: InferEndpoint) -> None:
    service, metrics = parts.service, parts.telemetry.metrics
    stream = StreamEndpoint(
        service, gate=parts.gate, telemetry=parts.telemetry, bodies=parts.bodies
    )
    source = StatusSource(service.store, service.engine, metrics, check_ready=service.check_ready)
    for router in (
        routes_oip.router(service, endpoint, stream),
        routes_bundles.router(service.store),
        routes_publishing.router(parts.lifecycle),
        routes_repository.router(parts.lifecycle),
        security_routes.router(parts.guard.pairing),
        operations_routes.router(source, metrics),
    ):
        app.include_router(router)


def _middlewares(app: FastAPI, parts: _Parts, endpoint: InferEndpoint) -> None:
    """The innermost first."""
    settings, guard = parts.settings, parts.guard
    app.add_middleware(InferFirst, endpoint=endpoint)
    app.add_middleware(BodyBudget, bodies=parts.bodies, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(Methods)
    app.add_middleware(
        AuthMiddleware,
        keys=guard.keys,
        rate=guard.rate,
        audit=guard.audit,
        model_of=parts.service.store.model_of,
    )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(TelemetryMiddleware, telemetry=parts.telemetry)


@contextlib.asynccontextmanager
async def _running(app: FastAPI, parts: _Parts, on_loaded: OnLoaded) -> AsyncIterator[None]:
    settings, engine = parts.settings, parts.service.engine
    await engine.start()
    rpc = None
    if settings.grpc_port is not None:
        from companion_server.grpc_calls import Calls
        from companion_server.grpc_service import start_grpc

        rpc = await start_grpc(
            Calls(parts.service, telemetry=parts.telemetry, bodies=parts.bodies),
            parts.gate,
            host=settings.host,
            port=settings.grpc_port,
            tls=parts.guard.pem(),
        )
        app.state.grpc_port = rpc.port
    loading = asyncio.create_task(_load(parts.lifecycle, on_loaded))
    try:
        yield
    finally:
        loading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loading
        if rpc is not None:
            await rpc.close(settings.drain_s)
        await parts.lifecycle.close()
        await engine.close()


async def _load(lifecycle: Lifecycle, on_loaded: OnLoaded) -> None:
    try:
        await lifecycle.start()
    except HeadtailError as error:
        log.error("%s", error)
        on_loaded(error)
    else:
        on_loaded(None)


def engine_in_process(
    settings: Settings, *, load_program: LoadProgram = read_program
) -> LocalEngine:
    """An engine whose one executor is a thread of this process."""
    make = functools.partial(TailRunner, threads=settings.threads, load_program=load_program)
    return LocalEngine([ThreadPlace(make)], limits=queue_limits(settings))


def queue_limits(settings: Settings) -> QueueLimits:
    """What may wait, of the settings."""
    return QueueLimits(
        max_batch=settings.max_batch,
        max_jobs=settings.max_queue,
        max_bytes=settings.max_queue_bytes,
        max_wait_s=settings.max_wait_s,
    )
