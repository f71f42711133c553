"""What a companion server holds, and waiting for that to change: a long poll by `ETag`.

`GET /v2/bundles?wait=SECONDS` with `If-None-Match` is answered when the list is no longer the one
that the phone knows, or with 304 when the time is over (RFC 9110 section 13.1.2,
https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2). One request a minute, and no list twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headtail.errors import SchemaFault, WireFault
from headtail.offload.link import Link, Request
from headtail.offload.refusals import refusal
from headtail.offload.sockets import Deadline
from headtail.strictjson import parse

__all__ = ["Listing", "fetch_listing"]

MAX_LISTING_BYTES = 4 << 20
_OK, _NOT_MODIFIED = 200, 304


@dataclass(frozen=True)
class Listing:
    """The bundles, each with `bundle_id`, `name`, `task`, `bytes` and `sha256` of its zip, and
    `aliases` that point to it; `tag` stands for the whole list."""

    bundles: list[dict[str, Any]]
    tag: str


def fetch_listing(
    link: Link, *, timeout_s: float, known: str = "", wait_s: int = 0
) -> Listing | None:
    """The list, or None if it is still the one with the tag `known` after `wait_s` seconds.

    Raises `ServerUnreachable`, the errors of `headtail.offload.refusals`, and `WireFault` for what
    is no list.
    """
    headers = {"If-None-Match": known} if known else {}
    path = f"/v2/bundles?wait={wait_s}" if wait_s else "/v2/bundles"
    with link.exchange(Request("GET", path, headers), Deadline(timeout_s + wait_s)) as reply:
        data = reply.read(limit=MAX_LISTING_BYTES)
    if reply.status == _NOT_MODIFIED and known:
        return None
    if reply.status != _OK:
        raise refusal(reply.status, reply.headers, data)
    try:
        told = parse(data)
    except SchemaFault as error:
        raise _malformed(error.what.rstrip(".")) from None
    if not isinstance(told, list) or not all(_is_offer(item) for item in told):
        raise _malformed("the list of bundles is not one")
    return Listing(told, reply.headers.get("etag", ""))


def _is_offer(item: Any) -> bool:
    texts = ("bundle_id", "name", "sha256")
    return (
        isinstance(item, dict)
        and all(isinstance(item.get(key), str) for key in texts)
        and isinstance(item.get("bytes"), int)
    )


def _malformed(reason: str) -> WireFault:
    return WireFault(
        f"The companion server's reply is malformed: {reason}.",
        expected="A reply as this version of Headtail's server gives it.",
        remedy="Use one version of Headtail at both ends.",
    )
