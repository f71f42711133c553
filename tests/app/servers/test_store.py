"""Servers known to the app: redeemed once, found again after a start, private, and bad files."""

import contextlib
import json
import stat
import threading

import pytest

from app.servers import Server, Servers, is_code
from headtail.errors import EnvironmentFault, UnknownName, UsageFault
from headtail.offload.pinning import CertificateChanged
from headtail.offload.refusals import KeyRefused
from tests.app.paired_server import paired_server


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with paired_server(tmp_path_factory.mktemp("state")) as made:
        yield made


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
def test_a_file_that_is_not_ours_is_told_once_put_aside_and_spends_no_code(served, file, content):
    file.parent.mkdir()
    file.write_bytes(content)
    before, code = len(served.ring.records()), served.pairing.offer().uri
    servers = Servers(file)
    with pytest.raises(EnvironmentFault, match=r"put aside as servers\.json\.bad"):
        servers.pair(code)
    assert len(served.ring.records()) == before
    assert file.with_suffix(".json.bad").read_bytes() == content
    assert servers.pair(code) == served.url  # a phone has nobody who could repair a file
    assert [server.address for server in Servers(file).known()] == [served.url]


def test_a_pairing_that_cannot_be_written_holds_and_its_code_is_not_spent_again(served, tmp_path):
    place = tmp_path / "app"
    servers = Servers(place / "servers.json")
    assert servers.known() == ()
    place.write_text("a file where the folder should be")
    code = served.pairing.offer().uri
    with pytest.raises(EnvironmentFault, match="could not be written"):
        servers.pair(code)
    assert servers.pair(code) == served.url
    assert bundles(servers, served.url) == []


KEY = "ht_0a1b2c_" + "k" * 43


def test_several_servers_are_known_by_name_address_and_whether_there_is_a_key(served, file):
    servers = Servers(file)
    plain = servers.add("http://192.168.1.20:8707/")
    paired = servers.pair(served.pairing.offer().uri)
    assert servers.add(plain) == plain  # known already
    servers.rename(paired, "  The box\nunder the desk ")
    expected = (
        Server(plain, plain, None, has_key=False),
        Server(paired, "The box under the desk", served.certificate.fingerprint, has_key=True),
    )
    assert servers.known() == expected
    assert Servers(file).known() == expected
    servers.pair(served.pairing.offer().uri)
    assert servers.known() == expected  # paired again it keeps its name and place
    servers.rename(paired, "")
    assert servers.known()[1].name == paired


def test_a_forgotten_server_leaves_no_key_behind(served, file):
    servers = Servers(file)
    address = servers.pair(served.pairing.offer().uri)
    secret = json.loads(file.read_text())["servers"][0]["key"]
    servers.forget(address)
    servers.forget(address)  # it is gone either way
    assert servers.known() == ()
    assert secret not in file.read_text()
    assert [path.name for path in file.parent.iterdir()] == ["servers.json"]


def test_a_key_may_be_typed(served, file):
    servers = Servers(file)
    address = servers.pair(served.pairing.offer().uri)
    servers.set_key(address, None)
    with pytest.raises(KeyRefused):
        bundles(servers, address)
    servers.set_key(address, served.keys["read"])
    assert bundles(Servers(file), address) == []
    with pytest.raises(UsageFault, match="not an API key"):
        servers.set_key(address, "hunter2")
    with pytest.raises(UnknownName, match="Unknown server"):
        servers.set_key("http://192.168.1.20:8707", KEY)
    assert bundles(servers, address) == []


def test_two_threads_with_one_code_spend_it_once(served, file):
    servers, code = Servers(file), served.pairing.offer().uri
    before = len(served.ring.records())
    addresses = []
    threads = [
        threading.Thread(target=lambda: addresses.append(servers.pair(code))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert addresses == [served.url] * 4
    assert len(served.ring.records()) == before + 1


def test_threads_that_add_at_once_lose_nothing(file):
    servers = Servers(file)
    addresses = [f"http://192.168.1.{i}:8707" for i in range(1, 17)]
    threads = [threading.Thread(target=servers.add, args=(address,)) for address in addresses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {server.address for server in Servers(file).known()} == set(addresses)
