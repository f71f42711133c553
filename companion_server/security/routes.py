"""`/v2/pair`, where a phone redeems a pairing token, and `/v2/pairing`, where an admin makes one.

Both bodies are JSON objects of a few hundred bytes, read with a limit of their own and checked key
by key. The first route is open, since the token is the permission, and is in the audit log.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from companion_server.bodies import read_body
from companion_server.security.pairing import PHONE_SCOPES, Pairing, qr_svg
from companion_server.security.refusals import Forbidden
from companion_server.security.scopes import PRINCIPAL, Principal
from headtail.strictjson import from_json, parse

__all__ = ["router"]

MAX_BODY_BYTES = 4096
_SECRET = {"cache-control": "no-store"}  # RFC 6749 §5.1 wants this of answers with tokens


@dataclass(frozen=True)
class _Redemption:
    token: str
    name: str


def router(pairing: Pairing | None) -> APIRouter:
    """The routes over `pairing`; without it (a server without keys) both answer 403."""
    routes = APIRouter(tags=["pairing"])

    @routes.post(
        "/v2/pair",
        summary="Exchange a pairing token for an API key",
    )
    async def redeem(request: Request) -> JSONResponse:
        wanted = from_json(_Redemption, parse(await read_body(request, limit=MAX_BODY_BYTES)))
        peer = request.client.host if request.client else ""
        # writing the file of keys waits for the disk
        key, record = await asyncio.to_thread(
            _needed(pairing).redeem, wanted.token, name=wanted.name, peer=peer
        )
        # whose the request was is known only now; the audit log reads it
        request.scope[PRINCIPAL] = Principal(record.id, record.name, PHONE_SCOPES)
        answer = {"key": key, "key_id": record.id, "name": record.name, "scopes": record.scopes}
        return JSONResponse(answer, headers=_SECRET)

    @routes.post(
        "/v2/pairing",
        summary="Make a pairing code, as a URI and as an SVG image",
    )
    async def offer() -> JSONResponse:
        made = _needed(pairing).offer()
        answer: dict[str, Any] = {
            "uri": made.uri,
            "svg": qr_svg(made.uri),
            "expires_in_s": made.life_s,
        }
        return JSONResponse(answer, headers=_SECRET)

    return routes


def _needed(pairing: Pairing | None) -> Pairing:
    if pairing is None:
        raise Forbidden(
            "This server has no keys to give.",
            expected="Pairing gives a phone a key.",
            remedy="Start the server with keys (the default).",
        )
    return pairing
