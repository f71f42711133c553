import threading

import pytest

from headtail.errors import WireFault
from headtail.offload.client import Companion
from tests.support.bundles import tiny_bundle
from tests.support.publishing import IdleEngine, publishing, until
from tests.support.tail_server import TailServer


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def served(tmp_path):
    with publishing(tmp_path, engine=IdleEngine()) as server:
        yield server


@pytest.fixture
def companion(served):
    client = Companion(served.url)
    yield client
    client.close()


def test_a_phone_learns_of_what_is_published_and_moved(served, companion, bundle):
    empty = companion.updates()
    assert empty.bundles == companion.bundles() == []
    assert companion.updates(empty.tag) is None
    found = []
    waiting = threading.Thread(target=lambda: found.append(companion.updates(empty.tag, wait_s=20)))
    waiting.start()
    until(lambda: served.store.changes.waiting == 1)
    served.publish(bundle)
    waiting.join(20)
    (listing,) = found
    (row,) = listing.bundles
    assert (row["bundle_id"], row["aliases"]) == (bundle.manifest.bundle_id, ["latest"])
    assert companion.updates(listing.tag) is None
    served.store.set_alias("tiny", "prod", row["bundle_id"])
    moved = companion.updates(listing.tag)
    assert moved.bundles[0]["aliases"] == ["latest", "prod"]
    assert moved.tag != listing.tag


def test_a_server_that_drains_lets_nobody_wait(served, companion):
    tag = companion.updates().tag
    served.store.changes.end()
    assert companion.updates(tag, wait_s=50) is None


def test_what_is_no_list(bundle):
    with TailServer(bundle.manifest) as server:
        server.mode, server.status, server.status_body = "status", 200, {"bundles": []}
        client = Companion(server.url)
        with pytest.raises(WireFault, match="the list of bundles is not one"):
            client.updates()
        client.close()
