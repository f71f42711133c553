"""The model repository extension, as far as it fits: which models there are, load, unload.

Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
A version is a bundle id. Loading and unloading concern tails and the memory they take; bundles stay
in the store for download. New bundles come by `PUT /v2/bundles/{bundle_id}`, hence no `parameters`.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from companion_server.bodies import read_body
from companion_server.security.scopes import principal_of
from companion_server.store import Lifecycle, StoredBundle
from headtail.errors import SchemaFault, WireFault
from headtail.strictjson import parse

__all__ = ["router"]

MAX_BODY = 64 << 10
_STATES = {"live": "READY", "unloaded": "UNAVAILABLE"}  # any other: it is on its way, or waits


def router(lifecycle: Lifecycle) -> APIRouter:
    """The routes over `lifecycle`."""
    routes = APIRouter(tags=["model repository"])

    @routes.post(
        "/v2/repository/index",
        summary="Every version of every model, and whether its tail is loaded",
    )
    async def index(request: Request) -> list[dict[str, str]]:
        body = await _body(request, allowed={"ready"})
        principal = principal_of(request.scope)
        found = [
            _row(stored, lifecycle.status(stored.bundle_id)["state"])
            for stored in lifecycle.store.bundles.values()
            if principal.allows("read", stored.model)
        ]
        if body.get("ready") is True:
            found = [row for row in found if row["state"] == "READY"]
        return found

    @routes.post(
        "/v2/repository/models/{model}/load",
        summary="Load a model's tails again",
    )
    async def load(model: str, request: Request) -> Response:
        body = await _body(request, allowed={"parameters"})
        if body.get("parameters"):
            raise _refused(f"load has the parameters {sorted(body['parameters'])}.")
        await lifecycle.load_model(model)
        return Response(status_code=200)

    @routes.post(
        "/v2/repository/models/{model}/unload",
        summary="Free the memory of a model's tails; its bundles stay",
    )
    async def unload(model: str, request: Request) -> Response:
        body = await _body(request, allowed={"parameters"})
        # there are no dependent models, so this one asks for what happens anyway
        if set(body.get("parameters") or {}) - {"unload_dependents"}:
            raise _refused(f"unload has the parameters {sorted(body['parameters'])}.")
        await lifecycle.unload_model(model)
        return Response(status_code=200)

    return routes


def _row(stored: StoredBundle, state: str) -> dict[str, str]:
    return {
        "name": stored.model,
        "version": stored.bundle_id,
        "state": _STATES.get(state, "LOADING"),
        "reason": "" if state == "live" else state,
    }


async def _body(request: Request, *, allowed: set[str]) -> dict[str, Any]:
    data = await read_body(request, limit=MAX_BODY)
    try:
        value = parse(data) if data.strip() else {}
    except SchemaFault as error:
        raise _refused(error.what) from None
    if not isinstance(value, dict) or set(value) - allowed:
        raise _refused(f"The body is {str(value)[:80]}.")
    if not isinstance(value.get("parameters", {}), dict):
        raise _refused(f"The parameters are {str(value['parameters'])[:80]}.")
    return value


def _refused(what: str) -> WireFault:
    return WireFault(
        what,
        expected="A JSON object with what the repository extension names, and no files: bundles "
        "are published with PUT /v2/bundles.",
        remedy="Leave the parameters out, or publish the bundle with `headtail publish`.",
    )
