"""Bundles published to a running server, over real sockets, with real tails."""

import json
import threading

import pytest

from headtail.bundle import open_bundle
from tests.companion_server.conftest import write_bundle
from tests.support.folders import names, tree
from tests.support.publishing import IdleEngine, publishing, repacked, until, zipped


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with publishing(tmp_path_factory.mktemp("store"), engine=IdleEngine()) as server:
        yield server


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The same with an engine that runs tails."""
    with publishing(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def first(bundle, served):
    """The bundle's id, after it was published."""
    assert served.publish(bundle)["state"] == "live"
    return bundle.manifest.bundle_id


def folder(served, name):
    return names(served.store.folder.root / name)


def test_a_published_bundle_is_listed_and_lies_in_the_store(served, first, bundle):
    assert served.ids() == [first]
    assert served.aliases() == {"latest": first}
    assert served.json("GET", "/v2/models/toy/ready")[1]["version"] == first
    assert served.ask("GET", f"/v2/bundles/{first}")[2] == zipped(bundle)
    assert folder(served, "bundles") == [f"{first}.bundle"]
    assert folder(served, "incoming") == []
    open_bundle(served.store.folder.bundles / f"{first}.bundle")


def test_a_published_bundle_can_be_run_by_id_by_alias_and_as_the_latest(real, bundle):
    bundle_id = bundle.manifest.bundle_id
    assert real.publish(bundle)["state"] == "live"
    body = json.dumps({"bundle_id": bundle_id})
    assert real.json("PUT", "/v2/models/toy/aliases/prod", body)[0] == 200
    for version in (bundle_id, "prod", "latest", ""):
        assert infer(real, version, bundle) == 200
    assert infer(real, "canary", bundle) == 409


def infer(served, version, bundle):
    x = bundle.golden()["input.0.x"]
    body = {
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": list(x.shape), "data": x.ravel().tolist()}
        ]
    }
    path = f"/v2/models/toy/versions/{version}/infer" if version else "/v2/models/toy/infer"
    status, told = served.json("POST", path, json.dumps(body))
    if version and status == 200:
        assert told["model_version"] in served.ids()
    return status


def test_publishing_again_is_done_at_once(served, first, bundle):
    code, told = served.put(first, zipped(bundle))
    assert (code, told["state"]) == (200, "live")


def test_pieces_join_and_go_on_where_they_ended(served, first, newer):
    data, bundle_id = zipped(newer), newer.manifest.bundle_id
    total = len(data)

    def piece(start, stop):
        placed = f"bytes {start}-{stop - 1}/{total}"
        return served.put(bundle_id, data[start:stop], **{"Content-Range": placed})

    assert piece(0, 1000) == (
        202,
        {"bundle_id": bundle_id, "state": "incoming", "received": 1000, "bytes": total},
    )
    code, told = piece(2000, 3000)
    assert (code, told["received"]) == (409, 1000)
    assert piece(500, 2500)[1]["received"] == 2500  # an earlier piece again is no harm
    assert served.ids() == [first]  # nothing half visible
    assert piece(2500, total)[0] in (200, 202)
    assert served.settled(bundle_id)["state"] == "live"
    assert served.aliases() == {"latest": bundle_id}
    assert served.ask("GET", f"/v2/bundles/{bundle_id}")[2] == data
    assert served.ask("DELETE", f"/v2/bundles/{bundle_id}")[0] == 204
    assert served.aliases() == {"latest": first}


@pytest.mark.parametrize(
    ("placed", "status"),
    [
        ("bytes 0-9/5", 400),
        ("bytes 5-2/10", 400),
        ("bytes 0-10/10", 400),
        ("bytes */10", 400),
        ("octets 0-9/10", 400),
        ("bytes 0-8/10", 400),  # the body has ten bytes
        ("bytes 0-9/2000000001", 413),
        ("bytes 90-99/100", 409),
    ],
)
def test_headers_that_contradict_each_other(served, placed, status):
    code, told = served.put("1" * 64, bytes(10), **{"Content-Range": placed})
    assert code == status
    assert set(told) <= {"error", "received"}
    assert folder(served, "incoming") == []


@pytest.mark.parametrize("name", ["x", "A" * 64, "..%2f..%2fx", "%00", "0" * 63, "latest"])
def test_what_is_no_id_is_refused_before_its_body(served, name):
    assert served.put(name, b"PK")[0] in (400, 404)
    assert folder(served, "incoming") == []


def test_a_body_without_length_is_411(served):
    with served.connect() as connection:
        connection.putrequest("PUT", f"/v2/bundles/{'1' * 64}")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        assert connection.getresponse().status == 411


def test_an_empty_body_is_refused(served):
    assert served.put("1" * 64, b"")[0] == 400


def test_another_bundle_than_the_path_says_is_refused(served, first, newer):
    code, told = served.put("1" * 64, zipped(newer))
    assert code == 202
    told = served.settled("1" * 64)
    assert told["state"] == "refused"
    assert newer.manifest.bundle_id in told["error"]
    assert served.ids() == [first]
    assert folder(served, "incoming") == []


def test_a_tail_that_is_wrong_is_refused_with_the_figure_and_leaves_nothing(real, tmp_path):
    held, aliases = folder(real, "bundles"), real.aliases()
    told = real.publish(write_bundle(tmp_path, spoil=True))
    assert told["state"] == "refused"
    assert "dB against the golden output" in told["error"]
    assert folder(real, "bundles") == held
    assert folder(real, "incoming") == []
    assert real.aliases() == aliases


def test_a_changed_byte_is_refused_by_file(served, first, newer):
    members = tree(newer.path)
    weights = bytearray(members["tail/weights.safetensors"])
    weights[-1] ^= 1
    data = repacked({**members, "tail/weights.safetensors": bytes(weights)})
    assert served.put(newer.manifest.bundle_id, data)[0] == 202
    told = served.settled(newer.manifest.bundle_id)
    assert told["state"] == "refused"
    assert "tail/weights.safetensors" in told["error"]


def test_two_publishers_at_once_end_with_one_bundle(served, first, newer):
    data, bundle_id = zipped(newer), newer.manifest.bundle_id
    start = threading.Barrier(2)
    codes = []

    def publish():
        start.wait()
        while True:
            code, _ = served.put(bundle_id, data)
            codes.append(code)
            if code in (200, 202):
                return

    threads = [threading.Thread(target=publish) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert served.settled(bundle_id)["state"] == "live"
    assert set(codes) <= {200, 202, 409}
    assert sorted(served.ids()) == sorted([first, bundle_id])
    assert folder(served, "incoming") == []
    served.ask("DELETE", f"/v2/bundles/{bundle_id}")


def test_a_sender_who_goes_away_can_go_on_later(served, first, newer):
    data, bundle_id = zipped(newer), newer.manifest.bundle_id
    with served.connect() as connection:
        connection.putrequest("PUT", f"/v2/bundles/{bundle_id}")
        connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data[:2000])
        until(lambda: served.status(bundle_id).get("state") == "incoming")
    told = until(lambda: (t := served.status(bundle_id)).get("received") == 2000 and t)
    assert told["bytes"] == len(data)
    placed = f"bytes 2000-{len(data) - 1}/{len(data)}"
    until(lambda: served.put(bundle_id, data[2000:], **{"Content-Range": placed})[0] in (200, 202))
    assert served.settled(bundle_id)["state"] == "live"
    assert served.ask("DELETE", f"/v2/bundles/{bundle_id}")[0] == 204


def test_an_upload_can_be_dropped(served):
    total = {"Content-Range": "bytes 0-9/100"}
    assert served.put("2" * 64, bytes(10), **total)[0] == 202
    assert served.ask("DELETE", f"/v2/bundles/{'2' * 64}")[0] == 204
    assert served.status("2" * 64)["state"] == "unknown"
    assert served.ask("DELETE", f"/v2/bundles/{'2' * 64}")[0] == 404


def test_aliases_point_hold_and_go(served, first, newer, bundle):
    served.publish(newer)
    second = newer.manifest.bundle_id

    def put(alias, bundle_id, model="toy"):
        body = json.dumps({"bundle_id": bundle_id})
        return served.json("PUT", f"/v2/models/{model}/aliases/{alias}", body)

    assert put("prod", first) == (200, {"latest": second, "prod": first})
    assert served.json("GET", "/v2/models/toy/versions/prod/ready")[1]["version"] == first
    rows = {row["bundle_id"]: row["aliases"] for row in served.json("GET", "/v2/bundles")[1]}
    assert rows == {first: ["prod"], second: ["latest"]}
    code, told = served.json("DELETE", f"/v2/bundles/{first}")
    assert code == 409
    assert "prod of 'toy' point" in told["error"]
    assert put("prod", second)[0] == 200
    assert put("canary", "3" * 64)[0] == 409
    assert put("canary", "latest")[0] == 409
    assert put("canary", first, model="dog")[0] == 404
    for bad in ("Prod", "-a", "x" * 33, "a%20b"):
        assert put(bad, first)[0] == 400
    for body in (b"{}", b"[]", b"x", b'{"bundle_id": 1}', b'{"bundle_id": "a", "x": 1}'):
        assert served.json("PUT", "/v2/models/toy/aliases/prod", body)[0] == 400
    assert served.ask("DELETE", "/v2/models/toy/aliases/prod")[0] == 204
    assert served.ask("DELETE", "/v2/models/toy/aliases/prod")[0] == 404
    code, told = served.json("GET", "/v2/models/toy/versions/prod")
    assert code == 409
    assert set(told["held"]) == {first, second}
    served.ask("DELETE", f"/v2/bundles/{second}")


def test_phones_learn_of_an_update_by_one_request_held_back(served, first, newer):
    _, headers, _ = served.ask("GET", "/v2/bundles")
    etag = headers["etag"]
    assert served.ask("GET", "/v2/bundles", headers={"If-None-Match": etag})[0] == 304
    answers = []

    def wait():
        known = {"If-None-Match": etag}
        answers.append(served.json("GET", "/v2/bundles?wait=20", headers=known))

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: served.store.changes.waiting == 1)
    served.publish(newer)
    thread.join(20)
    ((code, rows),) = answers
    assert code == 200
    assert newer.manifest.bundle_id in [row["bundle_id"] for row in rows]
    served.ask("DELETE", f"/v2/bundles/{newer.manifest.bundle_id}")


def test_a_wait_is_bounded_and_ends_when_nothing_happens(served, first):
    etag = served.ask("GET", "/v2/bundles")[1]["etag"]
    status, _, body = served.ask("GET", "/v2/bundles?wait=1", headers={"If-None-Match": etag})
    assert (status, body) == (304, b"")
    for bad in ("-1", "x", "1.5", "", "9" * 10):
        assert served.ask("GET", f"/v2/bundles?wait={bad}")[0] == 400


def test_a_download_outlives_its_bundles_removal(served, first, newer):
    served.publish(newer)
    bundle_id, data = newer.manifest.bundle_id, zipped(newer)
    stored = served.store.bundle(bundle_id)
    reader = stored.read(0, stored.zip_bytes)
    head = next(reader)
    del stored
    assert served.ask("DELETE", f"/v2/bundles/{bundle_id}")[0] == 204
    assert served.ask("GET", f"/v2/bundles/{bundle_id}")[0] == 404
    assert folder(served, "bundles") == [f"{first}.bundle"]
    assert head + b"".join(reader) == data


def test_a_bundle_given_by_path_stays(bundle, tmp_path):
    with publishing(bundle.path, engine=IdleEngine()) as given:
        bundle_id = bundle.manifest.bundle_id
        code, told = given.json("DELETE", f"/v2/bundles/{bundle_id}")
        assert code == 409
        assert "no folder" in told["error"]
        assert given.put("1" * 64, b"PK")[0] == 409
        assert given.json("DELETE", "/v2/models/toy/aliases/prod")[0] == 409
    (tmp_path / "store").mkdir()
    with publishing(bundle.path, tmp_path / "store", engine=IdleEngine()) as beside:
        code, told = beside.json("DELETE", f"/v2/bundles/{bundle_id}")
        assert code == 409
        assert "given by its path" in told["error"]
        assert beside.put(bundle_id, zipped(bundle))[0] == 200  # held already
        assert names(tmp_path / "store") == []


def test_a_zip_of_nothing_is_refused(served):
    assert served.put("4" * 64, repacked({}))[0] == 202
    assert "is not a bundle" in served.settled("4" * 64)["error"]
