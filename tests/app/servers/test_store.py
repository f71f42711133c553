"""Servers known to the app: redeemed once, found again after a start, private, and bad files."""

import contextlib
import json
import socket
import stat

import pytest

from app.servers import Servers, is_code
from headtail.errors import SchemaFault, UsageFault
from headtail.offload.pinning import CertificateChanged
from headtail.offload.refusals import KeyRefused
from tests.companion_server.security.test_routes import Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Served(tmp_path_factory.mktemp("state"), listener.getsockname()[1])
        with serving(made.app, listener, made.certificate):
            yield made
        made.audit.close()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "app" / "servers.json"


def bundles(servers, address):
    with contextlib.closing(servers.companion(address)) as companion:
        return companion.bundles()


def test_what_is_a_code():
    assert is_code("headtail://pair?url=x")
    assert not is_code("https://192.168.1.20:8707")
    assert not is_code("headtail.example")


def test_a_code_is_redeemed_once_and_the_server_known_after_a_start(served, file):
    code = served.pairing.offer().uri
    servers = Servers(file)
    before = len(served.ring.records())
    assert servers.pair(code) == served.url
    assert servers.pair(code) == served.url  # a second request that still names the code
    assert len(served.ring.records()) == before + 1
    assert bundles(servers, served.url) == []
    assert bundles(Servers(file), served.url + "/") == []  # the app was started again
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["servers.json"]


def test_without_a_file_a_pairing_lasts_as_long_as_the_app(served):
    servers = Servers(None)
    assert bundles(servers, servers.pair(served.pairing.offer().uri)) == []


def test_paired_again_the_newest_key_counts(served, file):
    servers = Servers(file)
    servers.pair(served.pairing.offer().uri)
    servers.pair(served.pairing.offer().uri)
    (held,) = json.loads(file.read_text())["servers"]
    assert held["key"].split("_")[1] == served.ring.records()[-1].id


def test_a_code_that_is_spent_or_for_another_server_changes_nothing(served, file):
    code = served.pairing.offer().uri
    Servers(None).pair(code)
    servers = Servers(file)
    with pytest.raises(KeyRefused):
        servers.pair(code)
    pin = served.certificate.fingerprint
    with pytest.raises(CertificateChanged):
        servers.pair(served.pairing.offer().uri.replace(pin, "ab" * 32))
    with pytest.raises(UsageFault, match="not a Headtail pairing code"):
        servers.pair("headtail://pair?")
    assert not file.exists()


def test_an_address_that_was_never_paired_is_asked_as_it_is(served, file):
    with contextlib.closing(Servers(file).companion("http://127.0.0.1:9")) as companion:
        assert companion.url == "http://127.0.0.1:9"
    with pytest.raises(UsageFault, match="not a companion server's address"):
        Servers(file).companion("ftp://example")


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema_version":1,"servers":[{}]}', b"\xff"])
def test_a_file_that_is_not_ours_is_told_and_spends_no_code(served, file, content):
    file.parent.mkdir()
    file.write_bytes(content)
    before = len(served.ring.records())
    with pytest.raises(SchemaFault):
        Servers(file).pair(served.pairing.offer().uri)
    with pytest.raises(SchemaFault):
        Servers(file).companion("http://127.0.0.1:9")
    assert len(served.ring.records()) == before
    assert file.read_bytes() == content
