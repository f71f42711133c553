"""The repository API, with Triton's own client."""

import concurrent.futures

import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from companion_server.conditions import NotReady
from tests.support.bundles import tiny_bundle
from tests.support.publishing import IdleEngine, publishing, until


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine():
    return IdleEngine()


@pytest.fixture(scope="module")
def served(bundle, engine):
    with publishing(bundle.path, engine=engine) as server:
        yield server


@pytest.fixture
def client(served):
    opened = tritonclient.http.InferenceServerClient(f"127.0.0.1:{served.port}")
    yield opened
    opened.close()


def test_index_unload_and_load(client, bundle, engine):
    bundle_id = bundle.manifest.bundle_id
    row = {"name": "tiny", "version": bundle_id, "state": "READY", "reason": ""}
    assert client.get_model_repository_index() == [row]
    client.unload_model("tiny")
    gone = {**row, "state": "UNAVAILABLE", "reason": "unloaded"}
    assert client.get_model_repository_index() == [gone]
    client.load_model("tiny")
    assert client.get_model_repository_index() == [row]
    client.unload_model("tiny", unload_dependents=True)
    client.load_model("tiny")
    assert [event for event, _ in engine.events] == ["load", *["unload", "load"] * 2]


def test_what_does_not_fit_is_refused_in_triton_s_words(client):
    for call in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="Unknown model 'cat'"):
            call("cat")
    with pytest.raises(InferenceServerException, match="has the parameters"):
        client.load_model("tiny", config="{}")
    with pytest.raises(InferenceServerException, match="has the parameters"):
        client.load_model("tiny", config="{}", files={"file:1/model.onnx": b"x"})


def test_the_index_while_a_model_is_loaded_and_after_that_failed(client, served, bundle, engine):
    bundle_id = bundle.manifest.bundle_id
    row = {"name": "tiny", "version": bundle_id, "state": "LOADING", "reason": "loading"}
    client.unload_model("tiny")
    engine.hold, engine.fault = True, NotReady("It broke.", expected="E.", remedy="R.")
    with concurrent.futures.ThreadPoolExecutor(1) as other:
        loading = other.submit(served.ask, "POST", "/v2/repository/models/tiny/load")
        try:
            until(lambda: served.status(bundle_id)["state"] == "loading")
            told = client.get_model_repository_index()
        finally:
            engine.hold = False
        assert told == [row]
        assert loading.result(20)[0] == 503
    gone = {**row, "state": "UNAVAILABLE", "reason": "unloaded"}
    assert client.get_model_repository_index() == [gone]
    assert served.status(bundle_id)["state"] == "unloaded"
    client.load_model("tiny")
    assert client.get_model_repository_index()[0]["state"] == "READY"


@pytest.mark.parametrize("body", [b"[]", b"x", b'{"other": 1}', b'{"parameters": 1}', b"{" * 100])
def test_bodies_that_are_none(served, body):
    for path in ("index", "models/tiny/load", "models/tiny/unload"):
        status, told = served.json("POST", f"/v2/repository/{path}", body)
        assert status == 400, (path, told)
        assert set(told) == {"error"}


def test_only_what_is_ready(served, bundle):
    rows = served.json("POST", "/v2/repository/index", b'{"ready": true}')[1]
    assert [row["version"] for row in rows] == [bundle.manifest.bundle_id]
    served.ask("POST", "/v2/repository/models/tiny/unload")
    assert served.json("POST", "/v2/repository/index", b'{"ready": true}')[1] == []
    assert len(served.json("POST", "/v2/repository/index")[1]) == 1
    served.ask("POST", "/v2/repository/models/tiny/load")
