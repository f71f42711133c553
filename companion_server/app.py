"""The application factory: a store, settings and an engine in, an ASGI application out."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI

import headtail
from companion_server import openapi, problems, routes_bundles, routes_oip
from companion_server import routes_publishing as publishing
from companion_server import routes_repository as repository
from companion_server.executor.places import ThreadPlace
from companion_server.guard import Guard
from companion_server.infer_route import InferEndpoint, InferFirst
from companion_server.inference import Service
from companion_server.jobs import Engine
from companion_server.methods import Methods
from companion_server.operations.limits import BodyBudget
from companion_server.operations.metrics import Metrics
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
from headtail.errors import HeadtailError

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
    """
    runs = engine or engine_in_process(settings)
    lifecycle = Lifecycle(store, runs)
    app = FastAPI(
        title="Headtail companion server",
        version=headtail.__version__,
        lifespan=lambda _app: _running(runs, lifecycle, on_loaded),
        docs_url=None,  # FastAPI's pages load scripts from a CDN
        redoc_url=None,
    )
    problems.install(app)
    service = Service(store, runs, settings.max_body_bytes)
    endpoint = InferEndpoint(service)
    guarded = guard or Guard()
    observed = telemetry or Telemetry(observing(store, runs))
    gate = Gate(guarded.keys, rate=guarded.rate)
    stream = StreamEndpoint(service, gate=gate, telemetry=observed)
    app.include_router(routes_oip.router(service, endpoint, stream))
    app.include_router(routes_bundles.router(store))
    app.include_router(publishing.router(lifecycle))
    app.include_router(repository.router(lifecycle))
    app.include_router(security_routes.router(guarded.pairing))
    openapi.install(app)
    # middlewares, the innermost first
    app.add_middleware(Methods)
    app.add_middleware(InferFirst, endpoint=endpoint)
    app.add_middleware(
        BodyBudget, limit=settings.max_body_memory, max_body_bytes=settings.max_body_bytes
    )
    app.add_middleware(
        AuthMiddleware,
        keys=guarded.keys,
        rate=guarded.rate,
        audit=guarded.audit,
        model_of=functools.partial(_model_of, store),
    )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(TelemetryMiddleware, telemetry=observed)
    return app


@contextlib.asynccontextmanager
async def _running(
    engine: Engine, lifecycle: Lifecycle, on_loaded: OnLoaded
) -> AsyncIterator[None]:
    await engine.start()
    loading = asyncio.create_task(_load(lifecycle, on_loaded))
    try:
        yield
    finally:
        loading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loading
        await lifecycle.close()
        await engine.close()


async def _load(lifecycle: Lifecycle, on_loaded: OnLoaded) -> None:
    try:
        await lifecycle.start()
    except HeadtailError as error:
        log.error("%s", error)
        on_loaded(error)
    else:
        on_loaded(None)


def observing(store: BundleStore, engine: Engine) -> Metrics:
    """Metrics that read what the engine does, with the models held as labels."""
    metrics = Metrics()
    metrics.engine_status = engine.status
    for stored in store.bundles.values():
        metrics.hold(stored.bundle.manifest)
    return metrics


def _model_of(store: BundleStore, bundle_id: str) -> str | None:
    stored = store.bundles.get(bundle_id)
    return stored.bundle.manifest.name if stored is not None else None


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
