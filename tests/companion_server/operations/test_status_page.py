"""The page in a real browser, over the real server: its states, its figures, its widths."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from companion_server.app import create_app, engine_in_process
from companion_server.guard import Guard
from companion_server.operations.metrics import Metrics
from companion_server.operations.records import RequestRecord
from companion_server.operations.status_page import status_page
from companion_server.operations.telemetry import Telemetry
from companion_server.security.headers import page_policy
from companion_server.security.keys import KeyRing
from companion_server.security.pairing import PHONE_SCOPES, Pairing
from companion_server.security.scopes import VERBS, Scope
from companion_server.settings import Settings
from companion_server.store import BundleStore
from headtail.wire import boundary, oip, split
from tests.companion_server.operations.conftest import serving
from tests.support.browser import open_page

WIDTHS = (320, 390, 768, 1280)
STATUS = "v2/status"


def test_the_page_is_one_document_that_its_policy_lets_run():
    page = status_page()
    assert len(page) < 64_000
    text = page.decode()
    assert "/*style*/" not in text
    assert "/*script*/" not in text
    policy = page_policy(page)
    for tag in ("script", "style"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.search(r"\son[a-z]+=|\sstyle=|https?://(?!www\.w3\.org)|innerHTML|eval\(", text)


class Served:
    """The whole server on loopback, with keys, over a toy bundle; the metrics are at hand."""

    def __init__(self, folder, paths, stack):
        self.keys = KeyRing(folder)
        every = tuple(Scope(verb, "*") for verb in VERBS)
        self.admin = self.keys.add("admin", every)[0]
        self.phone = self.keys.add("Pixel 9", PHONE_SCOPES)[0]
        with socket.create_server(("127.0.0.1", 0)) as free:
            pretended = f"http://127.0.0.1:{free.getsockname()[1]}"
        settings = Settings.of(tls=False, state_dir=folder, tune=False)
        self.store = stack.enter_context(contextlib.closing(BundleStore(paths)))
        engine = engine_in_process(settings)
        self.metrics = Metrics()
        loaded = threading.Event()
        app = create_app(
            self.store,
            settings,
            engine=engine,
            guard=Guard(self.keys, Pairing(self.keys, url=pretended, pin=None)),
            telemetry=Telemetry(self.metrics),
            on_loaded=lambda _failure: loaded.set(),
        )
        self.port = stack.enter_context(serving(app, lifespan="on", log_level="error"))
        assert loaded.wait(60)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()
        finally:
            connection.close()

    def infer(self):
        """One real split inference by the phone."""
        (stored,) = self.store.bundles.values()
        manifest, golden = stored.bundle.manifest, stored.bundle.golden()
        cut = manifest.cuts[0]
        arrays = [golden[f"cut.{cut.id}.0.{spec.name}"] for spec in cut.tensors]
        codec = "aq8t+deflate"
        frame = np.frombuffer(boundary.encode_boundary(arrays, cut, codec), np.uint8)
        options = split.SplitParameters(manifest.bundle_id, cut.id, codec, 5000)
        headers, body = oip.encode_request(
            oip.InferRequest(
                (oip.NamedArray(boundary.INPUT_NAME, frame),), parameters=options.to_parameters()
            )
        )
        headers["authorization"] = f"Bearer {self.phone}"
        return self.ask("POST", f"/v2/models/{manifest.name}/infer", body, **headers)


@pytest.fixture(scope="module")
def served(bundle_path, tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Served(tmp_path_factory.mktemp("state"), [bundle_path], stack)


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with open_page(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(tab):
    tab.look(1280, 900)
    tab.asked.clear()
    tab.errors.clear()
    return tab


def shown(page, name):
    return page.get(f"document.getElementById('{name}').innerText")


def sign_in(page, served):
    page.go(f"{served.url}v2/health/live")  # the same origin, without a script
    page.get(f"sessionStorage.setItem('headtail-admin-key', '{served.admin}')")
    page.asked.clear()
    page.go(served.url)
    page.wait_for("!document.getElementById('live').hidden")


@pytest.mark.slow
def test_it_asks_for_a_key_and_says_what_is_wrong_with_one(page, served):
    page.go(served.url)
    page.get("sessionStorage.clear()")
    page.go(served.url)
    page.wait_for("!document.getElementById('login').hidden")
    assert page.get("document.getElementById('live').hidden")
    assert "Key needed" in shown(page, "state")

    def type_in(key):
        page.get(f"document.getElementById('key').value = '{key}'")
        page.get("document.querySelector('#login button').click()")

    type_in("nonsense")
    page.wait_for("!document.getElementById('wrong').hidden")
    assert "not known here" in shown(page, "wrong")
    type_in(served.phone)
    page.wait_for("document.getElementById('wrong').innerText.includes('lacks the scope admin')")
    assert page.get("sessionStorage.length") == 0
    type_in(served.admin)
    page.wait_for("!document.getElementById('live').hidden")
    assert shown(page, "state") == "Ready"
    assert page.get("document.getElementById('key').value") == ""
    page.get("document.getElementById('forget').click()")
    assert not page.get("document.getElementById('login').hidden")
    assert page.get("sessionStorage.length") == 0
    # what the browser notes are the three refusals: no policy was broken, no script failed
    assert [error for error in page.errors if "status of 401" not in error] == [
        "Failed to load resource: the server responded with a status of 403 (Forbidden)"
    ]


@pytest.mark.slow
def test_what_happened_is_shown(page, served):
    for _ in range(3):
        status, _, body = served.infer()
        assert status == 200, body
    sign_in(page, served)
    assert page.wait_for("document.getElementById('bundles').innerText.includes('toy')")
    bundles = shown(page, "bundles")
    for text in ("ready", "latest", "c1", "c2", "the input"):
        assert text in bundles
    # the first look may be at a status half a second old
    page.wait_for("document.getElementById('clients').innerText.includes('toy · c1')")
    assert "Pixel 9" in shown(page, "clients")
    assert page.wait_for("document.getElementById('stages').innerText.includes('Compute')")
    assert "1 sample" in shown(page, "stages")
    assert "less than the inputs as raw float32" in shown(page, "tiles")
    page.wait_for("document.querySelectorAll('#series rect.bar').length")
    assert page.errors == []
    own = served.url
    assert {a for a in page.asked if not a.startswith("data:")} == {own, f"{own}{STATUS}"}


@pytest.mark.slow
def test_a_phone_is_paired(page, served):
    sign_in(page, served)
    page.get("document.getElementById('pair').click()")
    page.wait_for("!document.getElementById('code').hidden")
    page.wait_for("document.getElementById('code').naturalWidth")
    assert re.match(r"Good once, for another (5:00|4:5\d)", shown(page, "ends"))
    page.get("document.getElementById('done').click()")
    page.wait_for("!document.getElementById('code').hasAttribute('src')")
    assert page.errors == []


@pytest.mark.slow
def test_names_are_text(page, served):
    name = "<img src=x onerror=alert(1)>"
    record = RequestRecord(model=name, cut=name, client="k", client_name=name, batch=1)
    record.finish(200)
    served.metrics.observe(record)
    sign_in(page, served)
    page.wait_for("document.getElementById('clients').innerText.includes('<img src=x')")
    assert page.get("document.querySelectorAll('main img').length") == 0
    assert page.errors == []


@pytest.mark.slow
@pytest.mark.parametrize(("dark", "paper"), [(False, "252, 252, 250"), (True, "19, 21, 23")])
def test_nothing_sticks_out(page, served, dark, paper):
    served.infer()
    sign_in(page, served)
    for width in WIDTHS:
        page.look(width, 900, dark=dark)
        out = page.get(
            "[...document.body.querySelectorAll('*')].filter(one => !one.closest('.scroll') &&"
            " one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML)"
        )
        assert out == []
        assert page.get("document.documentElement.scrollWidth") == width
        assert page.get("getComputedStyle(document.body).backgroundColor") == f"rgb({paper})"


@pytest.mark.slow
def test_a_server_that_is_gone_is_said_to_be(page, bundle_path, tmp_path):
    with contextlib.ExitStack() as stack:
        served = Served(tmp_path, [bundle_path], stack)
        sign_in(page, served)
        assert "Nobody has asked" in shown(page, "clients") or "Pair one" in shown(page, "clients")
        assert "No inference in the last minute" in shown(page, "stages")
        assert "no split inference yet" in shown(page, "tiles")
    page.wait_for("document.getElementById('state').innerText === 'Unreachable'")
    assert "What is below is from" in shown(page, "banner")
    assert page.get("document.getElementById('live').classList.contains('stale')")


@pytest.mark.slow
def test_tails_that_load_or_fail_and_a_server_without_bundles(page, served):
    """The page with other answers: its script is asked to show them."""
    sign_in(page, served)
    page.get("clearTimeout(timer)")
    page.get(
        f"fetch('{STATUS}', {{headers: {{authorization: `Bearer ${{key()}}`}}}})"
        ".then(reply => reply.json()).then(told => { window.told = told })"
    )
    page.get("told.server.ready = false; told.server.problem = 'The tails are being loaded.'")
    page.get("told.bundles[0].state = 'loading'; show(told)")
    assert shown(page, "state") == "Loading tails"
    assert shown(page, "banner") == "The tails are being loaded."
    page.get("told.bundles[0].state = 'broken'; told.bundles[0].failure = 'No.'; show(told)")
    assert shown(page, "state") == "Not ready"
    assert "No." in shown(page, "bundles")
    page.get("told.bundles = []; told.server.ready = true; show(told)")
    assert "headtail publish" in shown(page, "bundles")
    assert page.get("document.getElementById('banner').hidden")


@pytest.mark.slow
def test_status_is_json_of_plain_values(served):
    status, headers, body = served.ask("GET", f"/{STATUS}", authorization=f"Bearer {served.admin}")
    assert status == 200
    assert headers["cache-control"] == "no-store"
    told = json.loads(body)
    assert set(told) == {"server", "queue", "window", "totals", "bundles", "clients"}
    (bundle,) = told["bundles"]
    assert bundle["model"] == "toy"
    assert [entry["cut"] for entry in bundle["entries"]] == ["", "c1", "c2"]
    assert all(entry["ms"]["1"] > 0 for entry in bundle["entries"])
    # the executor may have had room for a tail this small; test_memory.py has a large one
    assert isinstance(bundle["memory_bytes"], int)
    assert told["server"]["rss_bytes"] > 1e7


@pytest.mark.slow
def test_the_page_and_the_figures_are_sent_as_they_should_be(served):
    status, headers, body = served.ask("GET", "/")
    assert (status, body) == (200, status_page())
    assert headers["content-security-policy"] == page_policy(body)
    assert served.ask("GET", f"/{STATUS}")[0] == 401
    assert served.ask("GET", "/metrics")[0] == 401
    allowed = {"authorization": f"Bearer {served.admin}"}
    status, headers, body = served.ask("GET", "/metrics", **allowed)
    assert status == 200
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"headtail_build_info{" in body


@pytest.mark.slow
def test_it_is_what_headtail_serve_shows(page, bundle_path, tmp_path):
    """The real command in processes of its own: over TLS, with the key that it prints."""
    command = [sys.executable, "-m", "headtail", "serve", str(bundle_path), "--port", "0"]
    command += ["--state-dir", str(tmp_path), "--json"]
    environ = {**os.environ, "HEADTAIL_SERVER_TUNE": "0"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as server:
        try:
            assert server.stdout is not None
            told = json.loads(server.stdout.readline())
            assert told["url"].startswith("https://")
            page.go(f"{told['url']}/v2/health/live")
            page.get(f"sessionStorage.setItem('headtail-admin-key', '{told['key']}')")
            page.go(f"{told['url']}/")
            page.wait_for("document.getElementById('state').innerText === 'Ready'")
            assert "toy" in shown(page, "bundles")
            assert page.errors == []
        finally:
            server.terminate()
        assert server.wait(30) == 0
