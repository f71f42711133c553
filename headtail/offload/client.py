"""What a companion server can be asked for, from a phone: `http.client`, one kept connection.

The server's names are the Open Inference Protocol's (`headtail.wire.oip`); what is special about a
split request is in `headtail.wire.split`, the tensors' frame in `headtail.wire.boundary`.
"""

from __future__ import annotations

import json
import re
import ssl
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headtail.bundle import Bundle
from headtail.errors import SchemaFault, UsageFault, WireFault
from headtail.manifest import Cut
from headtail.offload.download import Transfer, download_bundle
from headtail.offload.link import Link, Origin, Request
from headtail.offload.listing import Listing, fetch_listing
from headtail.offload.pairing import parse_uri
from headtail.offload.pinning import parse_pin
from headtail.offload.refusals import ServerNotReady, refusal
from headtail.offload.sockets import Deadline
from headtail.offload.tailcalls import check_answer, encode_call
from headtail.strictjson import parse
from headtail.tensors import Array
from headtail.wire import oip, split, traceparent
from headtail.wire.traceparent import TraceParent

__all__ = ["PING_BYTES", "Companion", "PingReply", "TailReply", "authorization", "pair"]

MAX_REPLY_BYTES = 64 << 20
MAX_ANSWER_BYTES = 4 << 20
PING_BYTES = 1200  # a request that fills one packet, so that its time also tells a slow uplink
_PADDING = {"Headtail-Padding": "0" * (PING_BYTES - 200)}  # line and other headers: about 200
_KEY = re.compile(r"ht_[0-9a-f]+_[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class TailReply:
    """What the tail gave: the model's outputs with their names, in the server's order.

    `bytes_up` and `bytes_down` count the HTTP messages as they crossed the socket, request or
    status line, headers and body, without TLS, TCP and IP. `round_trip_ms` is from the first byte
    sent to the last received, of a connection that stands; `encode_ms` went before it, and decoding
    after it is in neither. `server` has the
    server's own `decode_ms`, `queue_ms` and `compute_ms`, as far as it told them. `trace_id` is
    what the server's log lines and traces call this request.
    """

    names: tuple[str, ...]
    outputs: list[Array]
    bytes_up: int
    bytes_down: int
    round_trip_ms: float
    server: dict[str, float]
    trace_id: str = ""
    encode_ms: float = 0.0


@dataclass(frozen=True)
class PingReply:
    """What a ping took; the fields are those of `TailReply`."""

    bytes_up: int
    bytes_down: int
    round_trip_ms: float


class Companion:
    """A client of one companion server; threads may share it and then wait for one another.

    `timeout_s` bounds every request as a whole; a download is bounded only in how long it may stand
    still. `pin` is the fingerprint of the server's certificate (SHA-256, hex), which then needs no
    authority; another certificate raises `CertificateChanged` before a request is sent. `key` is an
    API key. `pair` gets both from a pairing code. `context` is for `https` with an authority of
    one's own. Nothing is sent by the constructor, which raises `UsageFault` for what is no address,
    pin or key.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 5.0,
        context: ssl.SSLContext | None = None,
        pin: str | None = None,
        key: str | None = None,
    ) -> None:
        self._link = Link(
            Origin.parse(url),
            context=context,
            pin=None if pin is None else parse_pin(pin),
            headers=authorization(key),
        )
        self._timeout_s = timeout_s

    @property
    def url(self) -> str:
        """The server's address, without a slash at its end."""
        return str(self._link.origin)

    def ready(self) -> bool:
        """Whether it can run tails now; False while it loads them.

        Raises `ServerUnreachable` if nothing answers and `WireFault` if something else does.
        """
        try:
            told = self._json("/v2/health/ready")
        except ServerNotReady:
            return False
        # the protocol lets a server answer 200 with no body
        return not isinstance(told, dict) or told.get("ready") is not False

    def bundles(self) -> list[dict[str, Any]]:
        """The bundles held: `bundle_id`, `name`, `task`, `bytes` and `sha256` of the zip."""
        found = fetch_listing(self._link, timeout_s=self._timeout_s)
        return found.bundles if found else []

    def updates(self, known: str = "", *, wait_s: int = 0) -> Listing | None:
        """The bundles held, or None while they are those of the list with the tag `known`.

        The server holds its answer back for up to `wait_s` seconds (55 at most), and the connection
        with it: wait with a `Companion` of its own. Raises as `bundles`.
        """
        return fetch_listing(self._link, timeout_s=self._timeout_s, known=known, wait_s=wait_s)

    def download(
        self, bundle_id: str, destination: Path, *, transfer: Transfer | None = None
    ) -> Bundle:
        """Fetch a bundle to `destination` (new, `NAME.bundle`), all or nothing.

        What an interrupted call left is continued by the next; `transfer` tells how far it is and
        stops it, by `DownloadStopped`. Raises `UnknownName` for a bundle that is not held,
        `ServerUnreachable` when the connection is lost, `IntegrityFault` for other bytes than were
        promised, `DiskFull`, and what `headtail.bundle.unpack_zip` raises.
        """
        return download_bundle(
            self._link,
            self.bundles(),
            bundle_id,
            destination,
            stall_s=self._timeout_s,
            transfer=transfer,
        )

    def infer_tail(
        self,
        manifest_name: str,
        bundle_id: str,
        cut: Cut,
        codec_id: str,
        arrays: Sequence[Array],
        *,
        deadline_ms: float,
    ) -> TailReply:
        """Run the tail on float32 `arrays`, the tensors of `cut` in their order.

        The whole request is given up after `deadline_ms`. Raises `TensorMismatch` and `UnknownName`
        before anything is sent; `ServerUnreachable`; the errors of `headtail.offload.refusals`;
        `WireFault` for a reply that cannot be understood.
        """
        trace = TraceParent.new()
        started = time.perf_counter()
        headers, body = encode_call(
            bundle_id, cut, codec_id, arrays, deadline_ms=deadline_ms, call_id=trace.trace_id
        )
        encode_ms = (time.perf_counter() - started) * 1e3
        headers[traceparent.HEADER] = str(trace)
        # the bundle stands in the parameters alone: in Triton's paths a version is a number
        path = f"/v2/models/{urllib.parse.quote(manifest_name, safe='')}/infer"
        deadline = Deadline(min(self._timeout_s, deadline_ms / 1e3))
        with self._link.exchange(Request("POST", path, headers, body), deadline) as reply:
            data = reply.read(limit=MAX_REPLY_BYTES)
            round_trip_ms = reply.age_ms
        if reply.status != 200:  # OK, the one status of an answered inference
            raise refusal(reply.status, reply.headers, data)
        if reply.headers.get("content-encoding", "identity") != "identity":
            raise _malformed("it is compressed, which was not asked for")
        answer = oip.decode_response(reply.headers, data)
        return TailReply(
            tuple(tensor.name for tensor in answer.outputs),
            check_answer(answer, bundle_id, trace.trace_id),
            reply.bytes_up,
            reply.bytes_down,
            round_trip_ms,
            split.server_times(answer.parameters),
            trace.trace_id,
            encode_ms,
        )

    def ping(self, manifest_name: str, *, timeout_s: float) -> PingReply:
        """Ask whether the server is ready, in a message of about `PING_BYTES`.

        `manifest_name` is what a stream would be opened for; here it says nothing. Raises as
        `infer_tail`, of which `ServerNotReady` says that it is not.
        """
        deadline = Deadline(min(self._timeout_s, timeout_s))
        request = Request("GET", "/v2/health/ready", _PADDING)
        with self._link.exchange(request, deadline) as reply:
            data = reply.read(limit=MAX_ANSWER_BYTES)
            round_trip_ms = reply.age_ms
        if reply.status != 200:
            raise refusal(reply.status, reply.headers, data)
        return PingReply(reply.bytes_up, reply.bytes_down, round_trip_ms)

    def abort(self) -> None:
        """End a request in progress, from any thread; it raises `ServerUnreachable` there."""
        self._link.abort()

    def close(self) -> None:
        """Close the connection; further requests raise `ServerUnreachable`."""
        self._link.close()

    def _json(self, path: str) -> Any:
        with self._link.exchange(Request("GET", path), Deadline(self._timeout_s)) as reply:
            data = reply.read(limit=MAX_ANSWER_BYTES)
        if reply.status != 200:
            raise refusal(reply.status, reply.headers, data)
        if not data:
            return None
        try:
            return parse(data)
        except SchemaFault as error:
            raise _malformed(error.what.rstrip(".")) from None


def pair(uri: str, *, name: str, timeout_s: float = 10.0) -> tuple[str, str | None, str]:
    """Redeem a pairing code: `(url, pin, key)`, what `Companion` takes.

    `name` is what the server's list of keys shall call this device. Raises `UsageFault` for what is
    no code; `KeyRefused` for one that was used, has expired or is not this server's;
    `CertificateChanged`, `ServerUnreachable` and `Shed` as every request.
    """
    code = parse_uri(uri)
    pin = None if code.pin is None else parse_pin(code.pin)
    link = Link(Origin.parse(code.url), pin=pin)
    body = json.dumps({"token": code.token, "name": name}).encode()
    request = Request("POST", "/v2/pair", {"Content-Type": "application/json"}, body)
    try:
        with link.exchange(request, Deadline(timeout_s)) as reply:
            data = reply.read(limit=MAX_ANSWER_BYTES)
    finally:
        link.close()
    if reply.status != 200:
        raise refusal(reply.status, reply.headers, data)
    try:
        told = parse(data)
    except SchemaFault as error:
        raise _malformed(error.what.rstrip(".")) from None
    key = told.get("key") if isinstance(told, dict) else None
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise _malformed("it has no key")
    return code.url, code.pin, key


def authorization(key: str | None) -> dict[str, str]:
    """The header that carries an API key; raises `UsageFault` for what is none."""
    if key is None:
        return {}
    if not _KEY.fullmatch(key):
        raise UsageFault(
            f"{key[:5]!r}... of {len(key)} characters is not an API key.",
            expected="A key reads ht_<id>_<secret>.",
            remedy="Pair this device, or copy the key again as `headtail keys add` printed it.",
        )
    return {"Authorization": f"Bearer {key}"}


def _malformed(reason: str) -> WireFault:
    return WireFault(
        f"The companion server's reply is malformed: {reason}.",
        expected="A reply as this version of Headtail's server gives it.",
        remedy="Use one version of Headtail at both ends.",
    )
