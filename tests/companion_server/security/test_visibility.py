"""A key for some models hears of those only, whatever it asks and by whichever protocol."""

import contextlib
import http.client
import json
import shutil

import grpc
import pytest

from companion_server.app import create_app
from companion_server.grpc_messages import SERVICE, message
from companion_server.guard import Guard
from companion_server.security.gate import Gate
from companion_server.security.keys import KeyRing
from companion_server.security.scopes import VERBS, Scope
from companion_server.settings import Settings
from companion_server.store import BundleStore
from companion_server.stream import websocket_options
from tests.companion_server.conftest import write_bundle
from tests.companion_server.grpc_rig import serving_grpc
from tests.companion_server.operations.conftest import serving

SECRET = "face"  # the model that others' keys are for


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("hidden"), name=SECRET, seed=5)


def asked(port, method, path, headers, body=b""):
    """Status and text of the answer to one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()


class Served:
    def __init__(self, port, keys):
        self._port, self._keys = port, keys

    def ask(self, who, method, path, body=b"", **headers):
        """The same with that key."""
        key = {"Authorization": f"Bearer {self._keys[who]}"}
        return asked(self._port, method, path, {**key, **headers}, body)


def scopes(glob):
    return tuple(Scope(verb, glob) for verb in VERBS)


@pytest.fixture(scope="module")
def served(tmp_path_factory, bundle, hidden):
    folder = tmp_path_factory.mktemp("visibility")
    chosen = Settings.of(tls=False, state_dir=folder / "state")
    guard = Guard.of(chosen, "http://127.0.0.1:8707", None)
    assert guard.keys is not None
    keys = {"some": guard.keys.add("some", scopes("toy*"))[0]}
    keys["others"] = guard.keys.add("others", scopes("toy*"))[0]
    keys["all"] = guard.keys.add("all", scopes("*"))[0]
    paths = [bundle.path, hidden.path]
    with contextlib.closing(BundleStore(paths, root=folder / "store")) as store:
        app = create_app(store, chosen, guard=guard)
        options = websocket_options(chosen.max_body_bytes)
        with contextlib.closing(guard), serving(app, lifespan="on", **options) as port:
            yield Served(port, keys)


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
UNKNOWN = [
    ("GET", "/v2/models/toy2", {}),
    ("GET", "/v2/models/toy2/config", {}),
    ("GET", "/v2/models/toy2/ready", {}),
    ("GET", "/v2/models/toy2/aliases", {}),
    ("POST", "/v2/models/toy2/infer", {}),
    ("GET", "/v2/models/toy2/stream", UPGRADE),
    ("POST", "/v2/repository/models/toy2/load", {}),
    ("POST", "/v2/repository/models/toy2/unload", {}),
    ("GET", f"/v2/bundles/{'0' * 64}/status", {}),
    ("DELETE", f"/v2/bundles/{'0' * 64}", {}),
]


@pytest.mark.parametrize(("method", "path", "headers"), UNKNOWN)
def test_a_404_lists_what_the_key_may_see(served, bundle, hidden, method, path, headers):
    names = {"models": ("toy", SECRET), "bundles": (bundle.manifest.bundle_id,)}
    known = names["bundles" if "bundles" in path else "models"]
    status, told = served.ask("some", method, path, **headers)
    assert status == 404
    assert f"Known: {known[0]}." in told
    assert SECRET not in told
    assert hidden.manifest.bundle_id not in told
    everything = served.ask("all", method, path, **headers)[1]
    assert SECRET in everything or hidden.manifest.bundle_id in everything


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v2/bundles"), ("POST", "/v2/repository/index")]
)
def test_a_list_has_what_the_key_may_see(served, method, path):
    for who, models in (("some", {"toy"}), ("all", {"toy", SECRET})):
        status, told = served.ask(who, method, path)
        assert status == 200
        assert {row.get("model", row.get("name")) for row in json.loads(told)} == models


def test_an_upload_is_its_key_s(served):
    path = f"/v2/bundles/{'1' * 64}"

    def piece(who, start, body):
        placed = f"bytes {start}-{start + len(body) - 1}/100"
        return served.ask(who, "PUT", path, body, **{"Content-Range": placed})

    assert piece("some", 0, bytes(10))[0] == 202
    status, told = piece("others", 10, bytes(5))
    assert (status, json.loads(told)["received"]) == (409, 0)
    assert piece("others", 0, b"spoilt")[0] == 202
    assert served.ask("others", "DELETE", path)[0] == 204
    assert served.ask("others", "DELETE", path)[0] == 404
    assert served.ask("others", "GET", f"{path}/status")[0] == 404
    assert json.loads(served.ask("some", "GET", f"{path}/status")[1])["received"] == 10
    assert piece("some", 10, bytes(5))[0] == 202
    assert served.ask("all", "DELETE", path)[0] == 204  # an admin's key
    assert served.ask("some", "GET", f"{path}/status")[0] == 404


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelInfer", "ModelStreamInfer"])
def test_grpc_is_as_silent(bundle_path, hidden, tmp_path, method):
    ring = KeyRing(tmp_path / "state")
    key, _ = ring.add("some", scopes("toy*"))
    metadata = (("authorization", f"Bearer {key}"),)
    name = "name" if method == "ModelMetadata" else "model_name"
    kind = "ModelMetadataRequest" if method == "ModelMetadata" else "ModelInferRequest"
    request = message(kind)(**{name: "toy2"}).SerializeToString()
    with (
        serving_grpc([bundle_path, hidden.path], gate=Gate(ring)) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        call = channel.stream_stream(f"/{SERVICE}/{method}")
        try:
            (reply,) = call(iter([request]), metadata=metadata, timeout=20)
            told = message("ModelStreamInferResponse").FromString(reply).error_message
        except grpc.RpcError as error:
            told = error.details()
    assert "Known: toy." in told


def test_readiness_names_withdrawn_bundles_to_those_who_may_know(bundle, tmp_path):
    published = tmp_path / "store" / "bundles" / f"{bundle.manifest.bundle_id}.bundle"
    shutil.copytree(bundle.path, published)
    (published / "manifest.json").write_bytes(b"{}")
    for auth in (False, True):
        chosen = Settings.of(tls=False, auth=auth, state_dir=tmp_path / "state")
        guard = Guard.of(chosen, "http://127.0.0.1:8707", None)
        with (
            contextlib.closing(BundleStore([tmp_path / "store"])) as store,
            contextlib.closing(guard),
            serving(create_app(store, chosen, guard=guard), lifespan="on") as port,
        ):
            status, told = asked(port, "GET", "/v2/health/ready", {})
        assert status == 200
        assert (bundle.manifest.bundle_id in told) is not auth
