"""`/` for people, `/v2/status` for the page and scripts, `/metrics` for Prometheus."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import HTMLResponse, JSONResponse, Response

from companion_server.operations.metrics import CONTENT_TYPE, Metrics
from companion_server.operations.status import StatusSource
from companion_server.operations.status_page import status_page
from companion_server.security.headers import page_policy

__all__ = ["router"]


def router(source: StatusSource, metrics: Metrics) -> APIRouter:
    """The routes over what was collected."""
    routes = APIRouter(tags=["operations"])
    page = status_page()
    headers = {"content-security-policy": page_policy(page), "cache-control": "no-cache"}

    @routes.get("/", include_in_schema=False)
    async def index() -> Response:
        return HTMLResponse(page, headers=headers)

    @routes.get("/v2/status", summary="Bundles, phones, queue and the last minute, as one object")
    async def status() -> Response:
        found: dict[str, Any] = source.collect()
        return JSONResponse(found, headers={"cache-control": "no-store"})

    @routes.get(
        "/metrics",
        summary="Counters and histograms in Prometheus' text format",
        response_class=Response,
    )
    async def scrape() -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    return routes
