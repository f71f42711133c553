"""The real application behind its gate: every route, each verb, and names that would be paths."""

import asyncio
import contextlib
import itertools
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import Route, WebSocketRoute

from companion_server.app import create_app
from companion_server.guard import Guard
from companion_server.infer_route import _parameters
from companion_server.security.access import OPEN, PAIR, ROUTES, RPCS, Access
from companion_server.security.scopes import VERBS, Scope
from companion_server.settings import Settings
from companion_server.store import BundleStore
from headtail.wire.stream import Fault, decode_text, pack
from tests.companion_server.security.conftest import bearer, call, http_scope
from tests.companion_server.security.test_routes import serving


def entries_of(route):
    included = getattr(route, "original_router", None)  # FastAPI 0.165 includes routers lazily
    if included is not None:
        assert route.include_context.prefix == ""
        return [entry for inner in included.routes for entry in entries_of(inner)]
    if isinstance(route, WebSocketRoute):
        return [f"WEBSOCKET {route.path}"]
    # anything else, a mount above all, would go past this list
    assert isinstance(route, (APIRoute, Route)), route
    return [f"{method} {route.path}" for method in sorted(route.methods or ())]


CHECKOUT = Path(__file__).parents[3]


class Application:
    def __init__(self, folder, bundle_path):
        self.settings = Settings.of(tls=False, state_dir=folder / "state")
        self.guard = Guard.of(self.settings, "http://127.0.0.1:8707", None)
        self.folder = folder
        self.store = BundleStore([bundle_path], root=folder / "store")
        self.bundle_id = next(iter(self.store.bundles))
        self.app = create_app(self.store, self.settings, guard=self.guard)
        assert self.guard.keys is not None
        self.ring = self.guard.keys
        self.keys = {v: self.ring.add(v, (Scope(v, "*"),))[0] for v in VERBS}
        others = tuple(Scope(verb, "other-*") for verb in VERBS)
        self.elsewhere = self.ring.add("elsewhere", others)[0]

    def is_own(self, path):
        """Whether a file is the server's state, or Python's (modules are imported late)."""
        roots = (self.folder, Path(sys.prefix), Path(sys.base_prefix), CHECKOUT)
        return path.is_absolute() and any(path.is_relative_to(root) for root in roots)

    def entries(self):
        """`METHOD template` of every route that the application has."""
        return [entry for route in self.app.routes for entry in entries_of(route)]

    def ask(self, entry, key=None, names=None):
        """Status of a request by a route's entry, its parameters filled with `names`."""
        method, template = entry.split(" ")
        path = template
        values = {"model": "toy", "version": self.bundle_id, "bundle_id": self.bundle_id}
        for name, value in {**values, "alias": "prod", **(names or {})}.items():
            path = path.replace(f"{{{name}}}", value)
        assert "{" not in path, path
        body = json.dumps({"bundle_id": self.bundle_id}).encode()  # the target of an alias
        length = (b"content-length", str(len(body)).encode())
        scope = http_scope(method, path, [length, *([] if key is None else [bearer(key)])])
        if method == "WEBSOCKET":
            del scope["method"]
            scope |= {"type": "websocket", "extensions": {"websocket.http.response": {}}}
        return call(self.app, scope, body)[0]


@pytest.fixture(scope="module")
def application(tmp_path_factory, bundle_path):
    made = Application(tmp_path_factory.mktemp("application"), bundle_path)
    with contextlib.closing(made.store), contextlib.closing(made.guard):
        yield made


def verb_of(entry):
    # HEAD needs what GET needs
    return ROUTES.get(entry) or ROUTES[entry.replace("HEAD ", "GET ")]


def test_the_table_and_the_application_have_the_same_routes(application):
    entries = application.entries()
    assert len(set(entries)) == len(entries)
    missing = [e for e in entries if e not in ROUTES and e.replace("HEAD ", "GET ") not in ROUTES]
    assert not missing, f"add to companion_server/security/access.py: {missing}"
    stale = sorted(set(ROUTES) - set(entries))
    assert not stale, f"these routes are no more: {stale}"


def test_without_a_key_every_route_is_refused(application):
    answered = {entry: application.ask(entry) for entry in application.entries()}
    open_routes = {entry for entry, status in answered.items() if status != 401}
    assert open_routes == {
        "GET /",
        "GET /v2/health/live",
        "GET /v2/health/ready",
        "POST /v2/pair",
    }
    assert answered["POST /v2/pair"] == 400  # it wants a token


def test_with_a_wrong_key_every_route_is_refused(application):
    wrong = f"ht_{'0' * 12}_{'A' * 43}"
    for entry in application.entries():
        if verb_of(entry) not in (OPEN, PAIR):
            assert application.ask(entry, wrong) == 401, entry


def test_with_the_wrong_verb_every_route_is_refused(application):
    tried = 0
    for entry, (verb, key) in itertools.product(application.entries(), application.keys.items()):
        needed = verb_of(entry)
        if needed not in (OPEN, PAIR, verb):
            assert application.ask(entry, key) == 403, (entry, verb)
            tried += 1
    guarded = [entry for entry in application.entries() if verb_of(entry) not in (OPEN, PAIR)]
    assert tried == len(guarded) * (len(VERBS) - 1)


def test_with_another_model_s_key_every_route_of_a_model_is_refused(application):
    named = [e for e in application.entries() if "{model}" in e or "{bundle_id}" in e]
    assert len(named) > 10
    for entry in named:
        assert application.ask(entry, application.elsewhere) == 403, entry


BAD_NAMES = [
    "..",
    ".",
    "...",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "..\\..\\windows",
    "C:\\x",
    "~",
    "~root",
    "$HOME",
    "keys.json",
    "tls.pem",
    "a\x00b",
    "a\nb",
    "-rf",
    "\u2025",
    "con",
    "|ls",
    "x" * 3000,
    "../" * 3 + "etc/passwd",
    "/etc/passwd",
]


class Opened:
    """Paths that this process touches while it is on, by Python's own audit events."""

    EVENTS = (
        "open",
        *("os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod"),
        *("os.link", "os.symlink", "os.truncate", "os.utime", "shutil.rmtree", "tempfile.mkstemp"),
    )

    def __init__(self):
        self.paths: list[str] = []
        self.on = False
        sys.addaudithook(self._seen)

    @contextlib.contextmanager
    def watching(self):
        self.on = True
        try:
            yield
        finally:
            self.on = False

    def _seen(self, event, arguments):
        if self.on and event in self.EVENTS:
            paths = arguments[:1] if event == "open" else arguments  # then its mode
            self.paths += [str(path) for path in paths if isinstance(path, (str, bytes))]


@pytest.fixture(scope="module")
def opened():
    return Opened()


def test_the_probe_sees_what_is_opened(opened, tmp_path):
    with opened.watching():
        (tmp_path / "seen").write_text("x")
    assert any(path.endswith("seen") for path in opened.paths)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_no_name_of_a_request_becomes_a_path(application, opened, name):
    everything = application.ring.add("all", tuple(Scope(v, "*") for v in VERBS))[0]
    application.ask("GET /v2", everything)  # the changed file of keys is read now
    opened.paths.clear()
    tried = 0
    for entry in application.entries():
        for parameter in ("model", "version", "bundle_id", "alias"):
            if f"{{{parameter}}}" in entry:
                with opened.watching():
                    status = application.ask(entry, everything, {parameter: name})
                # "con" and "..." are good names of aliases, which stand inside a file
                assert status == 503 or 400 <= status < 500 or parameter == "alias", entry
                tried += 1
    assert tried > 25
    touched = {Path(path) for path in opened.paths}
    strange = [path for path in touched if not application.is_own(path) or name in path.parts]
    assert not strange


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            ["", "v2", "models", "toy", "versions", "infer", "..", "x\n", "%2f", "a b"]
        ),
        max_size=8,
    )
)
def test_the_way_around_the_router_is_the_gate_s(segments):
    """Inference skips the router: what it takes for a model, the gate takes for the same model."""
    path = "/" + "/".join(segments)
    shortcut = _parameters(path)
    found = Access().find(path)
    if shortcut is not None:
        assert found is not None
        assert found.verbs["POST"] == "infer"
        assert dict(found.parameters) == {n: v for n, v in shortcut.items() if v}


def test_grpc_has_the_same_methods_as_its_table():
    from companion_server.grpc_messages import METHODS, SERVICE

    assert set(RPCS) == {f"/{SERVICE}/{name}" for name in METHODS}


def test_an_unmodified_tritonclient_brings_its_key_as_a_header(application):
    import tritonclient.http as triton

    with socket.create_server(("127.0.0.1", 0)) as listener, serving(application.app, listener):
        client = triton.InferenceServerClient(f"127.0.0.1:{listener.getsockname()[1]}")
        try:
            assert client.is_server_live()
            with pytest.raises(triton.InferenceServerException, match="no API key"):
                client.get_model_metadata("toy")
            for name in ("Authorization", "X-API-Key"):
                key = application.keys["read"]
                value = f"Bearer {key}" if name == "Authorization" else key
                told = client.get_model_metadata("toy", headers={name: value})
                assert told["name"] == "toy"
        finally:
            client.close()


def test_a_stream_does_not_outlive_its_key(application):
    key, record = application.ring.add("leaving", (Scope("infer", "*"),))
    scope = http_scope("GET", "/v2/models/toy/stream", [bearer(key)])
    del scope["method"]
    scope |= {"type": "websocket", "extensions": {}, "subprotocols": []}
    told: list[Any] = []

    async def stream():
        request = {"id": "1", "inputs": []}
        messages = [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "bytes": pack({}, json.dumps(request).encode())},
        ]

        async def receive():
            if messages:
                return messages.pop(0)
            while len(told) < 2:
                await asyncio.sleep(0)
            return {"type": "websocket.disconnect", "code": 1000}

        async def send(message):
            told.append(message)
            if message["type"] == "websocket.accept":
                application.ring.revoke(record.id)

        await asyncio.wait_for(application.app(scope, receive, send), 10)

    asyncio.run(stream())
    assert [message["type"] for message in told] == ["websocket.accept", "websocket.send"]
    assert decode_text(told[1]["text"], Fault).status == 401
