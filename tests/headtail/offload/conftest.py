import pytest

from headtail.offload.client import Companion
from tests.support.bundles import tiny_bundle
from tests.support.tail_server import TailServer


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def server(bundle):
    with TailServer(bundle.manifest) as served:
        yield served


@pytest.fixture
def companion(server):
    client = Companion(server.url)
    yield client
    client.close()
