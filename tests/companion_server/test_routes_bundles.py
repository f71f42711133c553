import hashlib

import pytest
from starlette.testclient import TestClient

from companion_server.app import create_app
from companion_server.guard import Guard
from companion_server.security.keys import KeyRing
from companion_server.security.scopes import Scope
from companion_server.settings import Settings
from companion_server.store import BundleStore
from headtail.bundle import unpack_zip
from headtail.errors import UsageFault
from tests.companion_server.conftest import write_bundle


@pytest.fixture(scope="module")
def path(bundle):
    return f"/v2/bundles/{bundle.manifest.bundle_id}"


@pytest.fixture(scope="module")
def whole(server, path):
    status, headers, data = server.ask("GET", path)
    assert status == 200
    assert headers["etag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    return data


def test_the_listing_describes_every_bundle(server, bundle, whole):
    status, listed = server.json("GET", "/v2/bundles")
    assert status == 200
    assert listed == [
        {
            "bundle_id": bundle.manifest.bundle_id,
            "name": "toy",
            "task": "segmentation",
            "bytes": len(whole),
            "sha256": hashlib.sha256(whole).hexdigest(),
            "artifacts": [],
            "aliases": ["latest"],
            "signed_by": "",
        }
    ]


def test_the_zip_is_the_bundle(whole, bundle, tmp_path):
    (tmp_path / "got.zip").write_bytes(whole)
    got = unpack_zip(tmp_path / "got.zip", tmp_path / "got.bundle")
    assert got.manifest == bundle.manifest


def test_a_download_resumes_where_it_stopped(server, path, whole):
    half = len(whole) // 2
    etag = f'"{hashlib.sha256(whole).hexdigest()}"'
    status, headers, rest = server.ask(
        "GET", path, headers={"Range": f"bytes={half}-", "If-Range": etag}
    )
    assert status == 206
    assert headers["content-range"] == f"bytes {half}-{len(whole) - 1}/{len(whole)}"
    assert whole[:half] + rest == whole


@pytest.mark.parametrize("validator", ['"other"', 'W/"other"', "Sat, 21 Nov 2026 00:00:00 GMT"])
def test_a_range_of_another_version_gets_the_whole(server, path, whole, validator):
    status, _, data = server.ask("GET", path, headers={"Range": "bytes=5-", "If-Range": validator})
    assert (status, data) == (200, whole)


def test_a_weak_validator_never_resumes(server, path, whole):
    weak = f'W/"{hashlib.sha256(whole).hexdigest()}"'
    status, _, data = server.ask("GET", path, headers={"Range": "bytes=5-", "If-Range": weak})
    assert (status, data) == (200, whole)


def test_a_range_past_the_end_is_416_with_the_size(server, path, whole):
    status, headers, _ = server.ask("GET", path, headers={"Range": f"bytes={len(whole)}-"})
    assert status == 416
    assert headers["content-range"] == f"bytes */{len(whole)}"


@pytest.mark.parametrize("tags", ["{0}", "W/{0}", '"a", {0}', "*"])
def test_what_the_client_has_is_not_sent_again(server, path, whole, tags):
    etag = f'"{hashlib.sha256(whole).hexdigest()}"'
    status, headers, data = server.ask("GET", path, headers={"If-None-Match": tags.format(etag)})
    assert (status, data, headers["etag"]) == (304, b"", etag)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("tags", "matches"),
    [("{0}", True), ('"a", {0}', True), ("*", True), ("W/{0}", False), ("", False)],
)
def test_another_zip_than_the_one_wanted_is_not_sent(server, path, whole, method, tags, matches):
    etag = f'"{hashlib.sha256(whole).hexdigest()}"'
    wanted = {"If-Match": tags.format(etag), "Range": "bytes=0-1"}
    status, headers, data = server.ask(method, path, headers=wanted)
    assert headers["etag"] == etag
    if matches:
        assert (status, data) == ((206, whole[:2]) if method == "GET" else (200, b""))
    else:
        assert status == 412


def test_head_tells_size_and_hash_without_the_bytes(server, path, whole):
    status, headers, data = server.ask("HEAD", path, headers={"Range": "bytes=0-1"})
    assert (status, data) == (200, b"")
    assert int(headers["content-length"]) == len(whole)
    assert headers["etag"] == f'"{hashlib.sha256(whole).hexdigest()}"'
    assert headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    "name", ["0" * 64, "..%2f..%2fetc%2fpasswd", "%2e%2e", "manifest.json", "%00", "toy-0.bundle"]
)
def test_only_ids_in_the_store_are_answered(server, name):
    status, body = server.json("GET", f"/v2/bundles/{name}")
    assert status == 404
    assert set(body) == {"error"}


def test_unknown_ids_hear_what_is_held(server, bundle):
    _, body = server.json("GET", "/v2/bundles/nothing")
    assert bundle.manifest.bundle_id in body["error"]


def test_a_key_for_some_models_sees_those_only(tmp_path):
    own, other = write_bundle(tmp_path, name="own"), write_bundle(tmp_path, name="other", seed=1)
    store = BundleStore([own.path, other.path])
    settings = Settings.of(tls=False, state_dir=tmp_path / "state")
    keys = KeyRing(settings.state_dir)
    key, _ = keys.add("phone", (Scope("read", "own"),))
    app = create_app(store, settings, guard=Guard(keys=keys))
    client = TestClient(app, headers={"Authorization": f"Bearer {key}"})
    listed = client.get("/v2/bundles").json()
    assert [row["name"] for row in listed] == ["own"]
    index = client.post("/v2/repository/index").json()
    assert [row["name"] for row in index] == ["own"]
    store.close()


def test_settings_that_ask_for_keys_need_a_guard(bundle_path, tmp_path):
    store = BundleStore([bundle_path])
    with pytest.raises(UsageFault, match="no guard"):
        create_app(store, Settings.of(state_dir=tmp_path))
    store.close()
