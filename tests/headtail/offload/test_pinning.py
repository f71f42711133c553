"""A pinned certificate: right, wrong, swapped in the middle of a session; and what is sent then."""

import ssl

import pytest

from companion_server.security.certificates import ensure_certificate, tls_context
from headtail.errors import ServerUnreachable, UsageFault
from headtail.offload.client import Companion, pair
from headtail.offload.engine import SplitEngine
from headtail.offload.pairing import PairingCode, build_uri
from headtail.offload.pinning import CertificateChanged, parse_pin
from headtail.offload.refusals import KeyRefused, obstacle_name
from tests.headtail.offload.test_client import IMAGE, ask
from tests.support.tail_server import TailServer, ToySession, head, tail

KEY = "ht_0123456789ab_" + "x" * 43


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Two, `ours` and `theirs`."""
    return [ensure_certificate(tmp_path_factory.mktemp(name)) for name in ("ours", "theirs")]


@pytest.fixture
def server(bundle, certificates):
    with TailServer(bundle.manifest, context=tls_context(certificates[0])) as served:
        yield served


@pytest.fixture
def companion(server, certificates):
    client = Companion(server.url, pin=certificates[0].fingerprint)
    yield client
    client.close()


def test_the_pinned_server_is_spoken_to(companion, server, bundle):
    for _ in range(3):
        assert ask(companion, bundle).outputs[0].tolist() == tail(head(IMAGE)).tolist()
    assert (server.requests, server.connections) == (3, 1)


def test_another_certificate_gets_no_request(server, certificates, bundle):
    companion = Companion(server.url, pin=certificates[1].fingerprint)
    with pytest.raises(CertificateChanged) as caught:
        ask(companion, bundle)
    assert certificates[0].fingerprint in caught.value.what
    assert certificates[1].fingerprint in caught.value.expected
    assert "pair again" in caught.value.remedy
    assert server.requests == 0
    companion.close()


def test_swapped_in_the_middle_of_a_session(companion, server, certificates, bundle):
    ask(companion, bundle)
    server.kill()
    server.context = tls_context(certificates[1])
    server.revive()
    before = server.connections
    for _ in range(3):
        with pytest.raises(CertificateChanged):
            ask(companion, bundle)
    assert server.requests == 1
    assert server.connections - before <= 1  # not tried again


def test_a_pin_and_a_context_both_hold(server, certificates, bundle):
    trusting = ssl.create_default_context(cafile=certificates[0].chain)
    trusting.check_hostname = False
    both = Companion(server.url, context=trusting, pin=certificates[0].fingerprint)
    assert ask(both, bundle).names == ("logits",)
    both.close()
    wrong = Companion(server.url, context=trusting, pin=certificates[1].fingerprint)
    with pytest.raises(CertificateChanged):
        ask(wrong, bundle)
    wrong.close()


def test_a_plain_server_where_tls_was_pinned(bundle, certificates):
    with TailServer(bundle.manifest) as plain:
        url = plain.url.replace("http://", "https://")
        companion = Companion(url, pin=certificates[0].fingerprint)
        with pytest.raises(ServerUnreachable):
            ask(companion, bundle)
        assert plain.requests == 0
        companion.close()


def test_a_pin_is_for_https():
    with pytest.raises(UsageFault, match="Only https"):
        Companion("http://127.0.0.1:1", pin="00" * 32)


@pytest.mark.parametrize("text", ["", "00" * 31, "0g" * 32, "00" * 33, "00" * 32 + "\n"])
def test_what_is_no_pin(text):
    with pytest.raises(UsageFault, match="64 hexadecimal digits"):
        parse_pin(text)


def test_pins_as_browsers_show_them():
    assert parse_pin("AB:" * 31 + "CD") == bytes([0xAB] * 31 + [0xCD])


@pytest.mark.parametrize("key", ["", "ht_", "x", "ht_0_a\r\nEvil: 1", "ht_0_é", KEY + " "])
def test_what_is_no_key(key):
    with pytest.raises(UsageFault, match="is not an API key") as caught:
        Companion("http://127.0.0.1:1", key=key)
    assert key[6:] == "" or key[6:] not in str(caught.value)


def test_the_screen_says_what_happened(bundle, server, certificates):
    companion = Companion(server.url, pin=certificates[1].fingerprint)
    engine = SplitEngine(
        bundle, ToySession(), companion=companion, cut="early", codec="raw32", deadline_ms=500
    )
    answer = engine.answer([IMAGE])
    assert answer.where == "local (certificate changed)"
    assert "do not trust this network" in answer.reason
    engine.close()
    companion.close()
    assert server.requests == 0


def test_a_refused_key_has_its_own_name(companion, server, bundle):
    server.mode, server.status = "status", 401
    server.status_body = {"error": "The API key is not valid. A. B."}
    with pytest.raises(KeyRefused, match="Pair this device again") as caught:
        ask(companion, bundle)
    assert obstacle_name(caught.value) == "key refused"


def test_pairing_meets_the_wrong_server(server, certificates):
    uri = build_uri(PairingCode(server.url, certificates[1].fingerprint, "t" * 22))
    with pytest.raises(CertificateChanged):
        pair(uri, name="phone")
    assert server.requests == 0
