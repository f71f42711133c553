"""Which verb every route needs: one table for HTTP and WebSocket, one for gRPC.

A route that is not in the table is refused to everybody, so a new one cannot be forgotten: it does
not work on a server with keys, and a test walks the application's routes.

Templates are matched segment by segment on the decoded path, as Starlette does (a parameter is one
segment that is not empty, a literal segment goes before a parameter); a test holds the two against
each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["OPEN", "PAIR", "ROUTES", "RPCS", "WEBSOCKET", "Access", "Match"]

OPEN = "open"  # no key needed
PAIR = "pair"  # no key needed either, and always in the audit log
WEBSOCKET = "WEBSOCKET"
MAX_PATH = 4096
MAX_REMEMBERED = 1024  # of paths, for the few that a phone asks for again and again

_MODEL = "/v2/models/{model}"
_VERSION = "/v2/models/{model}/versions/{version}"

ROUTES: dict[str, str] = {
    "GET /": OPEN,  # the status page: static, without figures until a key is typed into it
    "GET /metrics": "metrics",
    "GET /openapi.json": "read",
    "GET /v2": "read",
    "GET /v2/status": "admin",
    "GET /v2/health/live": OPEN,
    "GET /v2/health/ready": OPEN,
    f"GET {_MODEL}": "read",
    f"GET {_MODEL}/config": "read",
    f"GET {_MODEL}/ready": "read",
    f"GET {_VERSION}": "read",
    f"GET {_VERSION}/config": "read",
    f"GET {_VERSION}/ready": "read",
    f"POST {_MODEL}/infer": "infer",
    f"POST {_VERSION}/infer": "infer",
    f"{WEBSOCKET} {_MODEL}/stream": "infer",
    f"{WEBSOCKET} {_VERSION}/stream": "infer",
    "POST /v2/repository/index": "read",
    "POST /v2/repository/models/{model}/load": "admin",
    "POST /v2/repository/models/{model}/unload": "admin",
    "GET /v2/bundles": "read",
    "GET /v2/bundles/{bundle_id}": "read",
    "PUT /v2/bundles/{bundle_id}": "publish",
    "DELETE /v2/bundles/{bundle_id}": "publish",
    "GET /v2/bundles/{bundle_id}/status": "publish",
    f"GET {_MODEL}/aliases": "read",
    f"PUT {_MODEL}/aliases/{{alias}}": "publish",
    f"DELETE {_MODEL}/aliases/{{alias}}": "publish",
    "POST /v2/pair": PAIR,  # the pairing token in its body is the permission
    "POST /v2/pairing": "admin",
}
"""`METHOD template` -> verb. The parameter `model`, or the model of `bundle_id`, is what the
scope's glob is held against. HEAD needs what GET needs."""

_SERVICE = "/inference.GRPCInferenceService/"
RPCS: dict[str, str] = {
    f"{_SERVICE}ServerLive": OPEN,
    f"{_SERVICE}ServerReady": OPEN,
    f"{_SERVICE}ServerMetadata": "read",
    f"{_SERVICE}ModelReady": "read",
    f"{_SERVICE}ModelMetadata": "read",
    f"{_SERVICE}ModelConfig": "read",
    f"{_SERVICE}ModelInfer": "infer",
    f"{_SERVICE}ModelStreamInfer": "infer",
}
"""Full method name -> verb. The model stands in the message, so the handler checks the glob with
`scopes.require`."""


@dataclass(frozen=True, slots=True)
class Match:
    """The route of a path: its template, its verbs by method, and the path's parameters."""

    template: str
    verbs: Mapping[str, str]
    parameters: Mapping[str, str]


@dataclass(slots=True)
class _Node:
    literal: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    name: str = ""  # of the parameter
    template: str = ""
    verbs: dict[str, str] = field(default_factory=dict)


class Access:
    """The table as a tree of path segments, with a memory of the paths that were found."""

    def __init__(self, routes: Mapping[str, str] = ROUTES) -> None:
        self._root = _Node()
        self._found: dict[str, Match] = {}
        for entry, verb in routes.items():
            method, _, template = entry.partition(" ")
            self._add(template.split("/")[1:], method, verb)

    def find(self, path: str) -> Match | None:
        """The route of a decoded path; None if the table has none."""
        match = self._found.get(path)
        if match is None:
            match = self._search(path)
            if match is not None:
                if len(self._found) >= MAX_REMEMBERED:
                    self._found.clear()
                self._found[path] = match
        return match

    def _search(self, path: str) -> Match | None:
        if not path.startswith("/") or len(path) > MAX_PATH:
            return None
        segments = path.split("/")[1:]
        parameters: dict[str, str] = {}
        node = _walk(self._root, segments, 0, parameters)
        return None if node is None else Match(node.template, node.verbs, parameters)

    def _add(self, segments: list[str], method: str, verb: str) -> None:
        node = self._root
        for segment in segments:
            if segment.startswith("{"):
                node.parameter = node.parameter or _Node()
                node.name = node.name or segment[1:-1]
                if node.name != segment[1:-1]:
                    raise ValueError(f"two names for one segment: {node.name}, {segment}")
                node = node.parameter
            else:
                node = node.literal.setdefault(segment, _Node())
        node.verbs[method] = verb
        node.template = "/" + "/".join(segments)


def _walk(node: _Node, segments: list[str], at: int, found: dict[str, str]) -> _Node | None:
    if at == len(segments):
        return node if node.verbs else None
    segment = segments[at]
    if (literal := node.literal.get(segment)) is not None:
        reached = _walk(literal, segments, at + 1, found)
        if reached is not None:
            return reached
    if node.parameter is None or not segment:
        return None
    found[node.name] = segment
    reached = _walk(node.parameter, segments, at + 1, found)
    if reached is None:
        del found[node.name]
    return reached
