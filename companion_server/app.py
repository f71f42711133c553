"""The application factory: a store and settings in, an ASGI application out; no globals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI

import headtail
from companion_server import problems, routes_bundles, routes_oip
from companion_server.settings import Settings
from companion_server.store import BundleStore
from companion_server.tails import LoadProgram, TailExecutor, read_program
from headtail.errors import HeadtailError

__all__ = ["create_app"]

log = logging.getLogger(__name__)
OnLoaded = Callable[[HeadtailError | None], None]


def create_app(
    store: BundleStore,
    settings: Settings,
    *,
    load_program: LoadProgram = read_program,
    on_loaded: OnLoaded = lambda _failure: None,
) -> FastAPI:
    """The companion server over `store`; the caller closes the store after the application.

    Tails are loaded in the background once the application starts, so that `/v2/health/live`
    answers meanwhile; `on_loaded` is then called once, with the error if they could not be.
    """
    tails = TailExecutor(store, threads=settings.threads, load_program=load_program)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(_load(tails, on_loaded))
        try:
            yield
        finally:
            loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loading
            await asyncio.to_thread(tails.close)

    app = FastAPI(
        title="Headtail companion server",
        version=headtail.__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load scripts from a CDN
        redoc_url=None,
    )
    problems.install(app)
    app.include_router(routes_oip.router(store, tails, max_body_bytes=settings.max_body_bytes))
    app.include_router(routes_bundles.router(store))
    return app


async def _load(tails: TailExecutor, on_loaded: OnLoaded) -> None:
    try:
        await tails.load()
    except HeadtailError as error:
        log.error("%s", error)
        on_loaded(error)
    else:
        on_loaded(None)
