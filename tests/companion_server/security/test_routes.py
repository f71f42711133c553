"""Pairing over real sockets and TLS, with the phone's client: from a code to an answer."""

import contextlib
import json
import socket
import threading
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from companion_server import problems
from companion_server.security.audit import AuditLog
from companion_server.security.auth import AuthMiddleware
from companion_server.security.certificates import ensure_certificate, tls_context
from companion_server.security.headers import SecurityHeaders
from companion_server.security.keys import KeyRing
from companion_server.security.pairing import Pairing
from companion_server.security.routes import router
from companion_server.security.scopes import VERBS, Scope
from headtail.errors import UsageFault
from headtail.offload.client import Companion, pair
from headtail.offload.link import Link, Origin, Request
from headtail.offload.pairing import parse_uri
from headtail.offload.pinning import parse_pin
from headtail.offload.refusals import KeyRefused, Shed
from headtail.offload.sockets import Deadline
from tests.companion_server.security.conftest import call, http_scope


async def no_bundles() -> list[str]:
    return []


class Served:
    def __init__(self, folder, port):
        self.certificate = ensure_certificate(folder)
        self.ring = KeyRing(folder)
        self.audit = AuditLog(folder)
        self.url = f"https://127.0.0.1:{port}"
        self.pairing = Pairing(self.ring, url=self.url, pin=self.certificate.fingerprint)
        self.keys = {verb: self.ring.add(verb, (Scope(verb, "*"),))[0] for verb in VERBS}
        api = FastAPI()
        problems.install(api)
        api.include_router(router(self.pairing))
        api.add_api_route("/v2/bundles", no_bundles, methods=["GET"])
        self.app = SecurityHeaders(AuthMiddleware(api, keys=self.ring, audit=self.audit))

    def ask(self, method, path, body=b"", key=None):
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        pin = parse_pin(self.certificate.fingerprint)
        link = Link(Origin.parse(self.url), pin=pin, headers=headers)
        try:
            with link.exchange(Request(method, path, {}, body), Deadline(10)) as reply:
                return reply.status, reply.headers, reply.read(limit=1 << 20)
        finally:
            link.close()


@contextlib.contextmanager
def serving(app, listener, certificate=None):
    secured: dict[str, Any] = {}
    if certificate is not None:
        secured["ssl_context_factory"] = lambda _config, _default: tls_context(certificate)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, log_level="error", lifespan="off", **secured)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Served(tmp_path_factory.mktemp("state"), listener.getsockname()[1])
        with serving(made.app, listener, made.certificate):
            yield made
        made.audit.close()


def test_from_a_code_to_an_answer(served):
    status, headers, body = served.ask("POST", "/v2/pairing", key=served.keys["admin"])
    assert (status, headers["cache-control"]) == (200, "no-store")
    told = json.loads(body)
    assert told["svg"].startswith("<svg")
    assert 0 < told["expires_in_s"] <= 600
    url, pin, key = pair(told["uri"], name="Pixel 8")
    assert (url, pin) == (served.url, served.certificate.fingerprint)
    with contextlib.closing(Companion(url, pin=pin, key=key)) as companion:
        assert companion.bundles() == []
    with pytest.raises(KeyRefused, match="good once"):
        pair(told["uri"], name="Pixel 9")
    assert served.ask("POST", "/v2/pairing", key=key)[0] == 403


def test_the_audit_log_names_the_new_key_and_no_secret(served):
    url, _, key = pair(served.pairing.offer().uri, name="Fairphone")
    served.audit.flush()
    lines = [json.loads(line) for line in served.audit.path.read_text().splitlines()]
    (line,) = [line for line in lines if line.get("name") == "Fairphone"]
    assert (line["verb"], line["status"], line["key"]) == ("pair", 200, key.split("_")[1])
    assert key.split("_", 2)[2] not in served.audit.path.read_text()
    assert url == served.url


def test_without_a_code_there_is_no_key(served):
    before = len(served.ring.records())
    for _ in range(5):
        body = json.dumps({"token": "x" * 22, "name": "mallory"}).encode()
        status, headers, _ = served.ask("POST", "/v2/pair", body)
        assert status == 403 or (status == 429 and "retry-after" in headers)
    assert len(served.ring.records()) == before


def test_guessing_is_answered_with_a_wait(tmp_path):
    made = Served(tmp_path, 1)
    body = json.dumps({"token": "x" * 22, "name": "mallory"}).encode()
    statuses = [call(made.app, http_scope("POST", "/v2/pair"), body)[0] for _ in range(7)]
    assert statuses == [403] * 5 + [429] * 2
    made.audit.close()


def test_failed_pairings_cannot_fill_the_audit_log(tmp_path):
    made = Served(tmp_path, 1)
    for _ in range(300):
        call(made.app, http_scope("POST", "/v2/pair"), b"{}")
    made.audit.close()
    lines = [json.loads(line) for line in made.audit.path.read_text().splitlines()]
    assert 50 < sum(line["verb"] == "pair" for line in lines) < 200
    assert all(line.get("status") == 400 for line in lines if line["verb"] == "pair")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{}", 400),
        (b"[]", 400),
        (b'{"token": 5, "name": "x"}', 400),
        (b'{"token": "x", "name": "x", "scopes": ["admin:*"]}', 400),
        (b'{"token": "x", "name": ""}', 400),
        (b'{"token": "x", "name": "a\\nb"}', 400),
        (b"\xff\xfe", 400),
        (b"[" * 4000, 400),
        (b" " * 5000, 413),
    ],
)
def test_bodies_that_are_none(served, body, status):
    found, headers, told = served.ask("POST", "/v2/pair", body)
    assert found == status
    assert json.loads(told)["error"]
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_a_code_needs_an_admin(served):
    for verb, key in served.keys.items():
        assert served.ask("POST", "/v2/pairing", key=key)[0] == (200 if verb == "admin" else 403)
    assert served.ask("POST", "/v2/pairing")[0] == 401


def test_a_server_without_keys_pairs_nobody():
    api = FastAPI()
    problems.install(api)
    api.include_router(router(None))
    app = AuthMiddleware(api, keys=None)
    body = b'{"token": "x", "name": "x"}'
    for path in ("/v2/pair", "/v2/pairing"):
        scope = {**http_scope("POST", path), "client": ("127.0.0.1", 4711)}
        status, _, told = call(app, scope, body)
        assert status == 403
        assert b"no keys to give" in told


def test_the_phone_side_says_what_it_met(served):
    with pytest.raises(UsageFault, match="not a Headtail pairing code"):
        pair("https://example.org", name="x")
    code = parse_uri(served.pairing.offer().uri)
    served.pairing.redeem(code.token, name="somebody", peer="elsewhere")
    with pytest.raises((KeyRefused, Shed)):
        pair(f"headtail://pair?url={served.url}&fp={code.pin}&token={code.token}", name="x")
