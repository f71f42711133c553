"""What each route takes and gives: one entry for each method and path.

Errors that the gate in front of every route gives (401, 403, 429, 503) are not listed here;
`document.py` adds them by the table of `security/access.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from companion_server.openapi.schemas import SCHEMAS, reference

__all__ = ["OPERATIONS", "STREAMS", "Operation"]

JSON = "application/json"
BINARY = "application/octet-stream"
ZIP = "application/zip"
HEADER_LENGTH = "Inference-Header-Content-Length"
_RAW: dict[str, Any] = {"type": "string", "format": "binary"}


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    `gives` maps each status below 400 to content by media type; an empty one has no body. `errors`
    are the statuses of its own, `headers` those of its good answers, `summary` only for what
    FastAPI does not describe.
    """

    gives: dict[int, dict[str, Any]]
    errors: tuple[int, ...] = ()
    takes: dict[str, Any] = field(default_factory=dict)
    parameters: tuple[dict[str, Any], ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    description: str = ""
    summary: str = ""
    needs_body: bool = True


def _json(schema: str) -> dict[str, Any]:
    return {JSON: {"schema": reference(schema)}}


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "description": description,
        "schema": schema or {"type": "string"},
    }


_TRACE = _header("traceparent", "W3C trace context; the server's spans join the trace.")
_INFER = Operation(
    gives={
        200: {
            **_json("InferResponse"),
            BINARY: {"schema": {**_RAW, "description": "As the request: JSON, then tensors."}},
        }
    },
    errors=(400, 404, 409, 413, 422, 429, 503, 504),
    takes={
        JSON: {
            "schema": reference("InferRequest"),
            "example": SCHEMAS["InferRequest"]["examples"][0],
        },
        BINARY: {
            "schema": {
                **_RAW,
                "description": f"The JSON of InferRequest, {HEADER_LENGTH} bytes long, and behind "
                "it the tensors that have a binary_data_size, in the order in which they stand "
                "there: row-major, little endian.",
            }
        },
    },
    parameters=(
        _header(HEADER_LENGTH, "Length of the JSON in bytes, if tensors follow it.", type="string"),
        _header("Content-Encoding", "Of the whole body.", enum=["identity", "gzip", "deflate"]),
        _header("Accept-Encoding", "gzip or deflate alone: the answer is packed that way."),
        _TRACE,
    ),
    headers={
        HEADER_LENGTH: "Length of the JSON, if tensors follow it.",
        "Server-Timing": "decode, queue, compute and encode, in ms.",
        "Content-Encoding": "gzip or deflate, if that was asked for.",
    },
    description="A plain request has the model's own inputs; a split request has one UINT8 tensor, "
    "`boundary`, and the parameters split.bundle, split.cut, split.codec and perhaps "
    "split.deadline_ms. A requested output may be binary (`binary_data`) or its top classes "
    "(`classification`).",
)
_METADATA = Operation({200: _json("ModelMetadata")}, (404, 409))
_CONFIG = Operation({200: _json("ModelConfiguration")}, (404, 409))
_READY = Operation({200: _json("ModelReady")}, (404, 409, 503))
_MODEL, _VERSION = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"

_PROTOCOL: dict[str, Operation] = {
    "GET /v2": Operation({200: _json("ServerMetadata")}),
    "GET /v2/health/live": Operation({200: _json("Live")}),
    "GET /v2/health/ready": Operation({200: _json("Ready")}, (503,)),
    **{
        f"{method} {path}{rest}": operation
        for path in (_MODEL, _VERSION)
        for method, rest, operation in (
            ("GET", "", _METADATA),
            ("GET", "/config", _CONFIG),
            ("GET", "/ready", _READY),
            ("POST", "/infer", _INFER),
        )
    },
    "POST /v2/repository/index": Operation(
        {200: _json("RepositoryIndex")},
        (400, 413),
        takes=_json("RepositoryIndexRequest"),
        needs_body=False,
    ),
    **{
        f"POST /v2/repository/models/{{model}}/{verb}": Operation(
            {200: {}}, errors, takes=_json("RepositoryRequest"), needs_body=False
        )
        for verb, errors in (("load", (400, 404, 409, 413, 503)), ("unload", (400, 404, 413)))
    },
}

_ETAG = "A strong validator of the answer."
_BUNDLE = Operation(
    {200: {ZIP: {"schema": _RAW}}, 206: {ZIP: {"schema": _RAW}}, 304: {}},
    (404, 412, 416),
    parameters=(
        _header("Range", "One range of bytes, to resume a download."),
        _header("If-Range", "The ETag of what was begun; another one gives the whole zip."),
        _header("If-None-Match", "The ETag that is known; the same one gives 304."),
        _header("If-Match", "The ETag that is wanted; another one gives 412."),
    ),
    headers={"ETag": "SHA-256 of the zip.", "Accept-Ranges": "bytes", "Content-Range": "At 206."},
)
_BUNDLES: dict[str, Operation] = {
    "GET /v2/bundles": Operation(
        {200: _json("Bundles"), 304: {}},
        (400,),
        headers={"ETag": _ETAG},
        description="With `wait` and If-None-Match the answer is held back until the list changes.",
    ),
    "GET /v2/bundles/{bundle_id}": _BUNDLE,
    "HEAD /v2/bundles/{bundle_id}": Operation(
        {200: {}, 304: {}}, (404, 412), headers=_BUNDLE.headers, summary="A bundle's size and hash"
    ),
    "PUT /v2/bundles/{bundle_id}": Operation(
        {200: _json("BundleStatus"), 202: _json("BundleStatus")},
        (400, 409, 411, 413, 422, 507),
        takes={ZIP: {"schema": _RAW}},
        parameters=(_header("Content-Range", "bytes FIRST-LAST/SIZE, if this is a piece."),),
    ),
    "DELETE /v2/bundles/{bundle_id}": Operation({204: {}}, (404, 409)),
    "GET /v2/bundles/{bundle_id}/status": Operation({200: _json("BundleStatus")}, (404,)),
    f"GET {_MODEL}/aliases": Operation({200: _json("Aliases")}, (404,)),
    f"PUT {_MODEL}/aliases/{{alias}}": Operation(
        {200: _json("Aliases")}, (400, 404, 409, 413, 507), takes=_json("Alias")
    ),
    f"DELETE {_MODEL}/aliases/{{alias}}": Operation({204: {}}, (400, 404, 409, 507)),
}
_REST: dict[str, Operation] = {
    "POST /v2/pair": Operation(
        {200: _json("Key")}, (400, 403, 413, 429, 503), takes=_json("Redemption")
    ),
    "POST /v2/pairing": Operation({200: _json("PairingCode")}, (400, 403)),
    "GET /": Operation(
        {200: {"text/html": {"schema": {"type": "string"}}}}, summary="The status page"
    ),
    "GET /v2/status": Operation({200: _json("Status")}),
    "GET /metrics": Operation({200: {"text/plain": {"schema": {"type": "string"}}}}),
    "GET /openapi.json": Operation(
        {200: {JSON: {"schema": {"type": "object"}}}}, summary="This page"
    ),
}
OPERATIONS: dict[str, Operation] = {**_PROTOCOL, **_BUNDLES, **_REST}

STREAMS: dict[str, str] = {
    f"{path}/stream": "A WebSocket (RFC 6455), which OpenAPI cannot describe: many requests in "
    "flight on one connection. Binary messages: 4 bytes with the length of the JSON (little "
    "endian), the JSON of InferRequest with an `id`, the tensors; the answers alike. Text: "
    '`{"cancel": "ID"}` to the server, `{"id", "status", "error"}` from it. Before the handshake '
    "the statuses are those of the model's metadata."
    for path in (_MODEL, _VERSION)
}
