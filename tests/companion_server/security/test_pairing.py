"""Pairing tokens: once, for a while, not to be guessed, and what the phone gets."""

import contextlib
import threading

import pytest

from companion_server.conditions import Shed
from companion_server.security.pairing import LIFE_S, MAX_OFFERS, Pairing, qr_svg, qr_text
from companion_server.security.refusals import Forbidden
from headtail.errors import EnvironmentFault, UsageFault
from headtail.offload.pairing import parse_uri
from tests.support.publishing import file_size_limit

URL = "https://192.168.1.20:8707"
PIN = "ab" * 32


@pytest.fixture
def pairing(ring, clock):
    return Pairing(ring, url=URL, pin=PIN, clock=clock)


def token_of(offer):
    return parse_uri(offer.uri).token


def test_a_phone_gets_a_key_of_its_own(pairing, ring):
    offer = pairing.offer()
    code = parse_uri(offer.uri)
    assert (code.url, code.pin, offer.life_s) == (URL, PIN, LIFE_S)
    key, record = pairing.redeem(code.token, name="Pixel 8", peer="192.0.2.7")
    principal = ring.check(key)
    assert principal is not None
    assert (principal.key_id, principal.name) == (record.id, "Pixel 8")
    assert [str(scope) for scope in principal.scopes] == ["infer:*", "read:*"]


def test_a_full_disk_costs_no_token(pairing, ring):
    token = token_of(pairing.offer())
    with (
        file_size_limit(10),
        pytest.raises(EnvironmentFault, match="keys cannot be written: File too large") as caught,
    ):
        pairing.redeem(token, name="Pixel 8", peer="192.0.2.7")
    assert caught.value.http_status == 503
    assert ring.records() == ()
    key, _ = pairing.redeem(token, name="Pixel 8", peer="192.0.2.7")
    assert ring.check(key) is not None
    with pytest.raises(Forbidden):
        pairing.redeem(token, name="Pixel 8", peer="192.0.2.7")


def test_a_token_is_good_once(pairing, ring):
    token = token_of(pairing.offer())
    pairing.redeem(token, name="first", peer="a")
    with pytest.raises(Forbidden, match="good once, within 300 s"):
        pairing.redeem(token, name="second", peer="a")
    assert [record.name for record in ring.records()] == ["first"]


def test_two_phones_at_the_same_time_get_one_key(pairing, ring):
    token = token_of(pairing.offer())
    start = threading.Barrier(8)
    won = []

    def redeem(number):
        start.wait()
        with contextlib.suppress(Forbidden):
            won.append(pairing.redeem(token, name=f"{number}", peer=f"{number}"))

    threads = [threading.Thread(target=redeem, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == len(ring.records()) == 1


def test_a_token_ends(pairing, clock):
    token = token_of(pairing.offer())
    clock.now += LIFE_S
    with pytest.raises(Forbidden):
        pairing.redeem(token, name="late", peer="a")


def test_a_name_that_cannot_be_spends_nothing(pairing):
    token = token_of(pairing.offer())
    with pytest.raises(UsageFault, match="name of a key"):
        pairing.redeem(token, name="a\nb", peer="a")
    assert pairing.redeem(token, name="a", peer="a")


def test_guessing_is_slowed_per_peer_and_does_not_shut_others_out(pairing, clock):
    token = token_of(pairing.offer())
    for _ in range(5):
        with pytest.raises(Forbidden):
            pairing.redeem("A" * 22, name="x", peer="mallory")
    for _ in range(100):
        with pytest.raises(Shed) as caught:
            pairing.redeem("A" * 22, name="x", peer="mallory")
    assert 0 < caught.value.retry_after_s <= 30
    assert pairing.redeem(token, name="phone", peer="alice")


@pytest.mark.parametrize("token", ["", "é" * 22, "\ud800", "x" * 100_000, "\x00" * 22])
def test_tokens_that_are_none(pairing, token):
    pairing.offer()
    with pytest.raises(Forbidden):
        pairing.redeem(token, name="x", peer="a")


def test_the_number_of_open_codes_is_bounded(pairing, clock):
    for _ in range(MAX_OFFERS):
        pairing.offer()
    with pytest.raises(UsageFault, match="At most 32"):
        pairing.offer()
    clock.now += LIFE_S
    pairing.offer()


def test_tokens_are_kept_as_hashes_only(pairing):
    token = token_of(pairing.offer())
    assert token not in repr(vars(pairing))


def test_a_server_that_phones_could_not_pair_with_safely(ring):
    with pytest.raises(UsageFault, match="not https"):
        Pairing(ring, url="http://192.168.1.20:8707", pin=None)


def test_the_images(pairing):
    uri = pairing.offer().uri
    svg = qr_svg(uri)
    assert svg.startswith("<svg")
    assert "script" not in svg
    plain, coloured = qr_text(uri, colour=False), qr_text(uri, colour=True)
    rows = plain.split("\n")
    assert {len(row) for row in rows} == {len(rows[0])}
    assert set(plain) <= set("█▀▄ \n")
    assert coloured.count("\x1b[97;40m") == coloured.count("\x1b[0m") == len(rows)
    assert len(rows[0]) <= 80  # fits a terminal


def test_the_text_is_the_code(pairing):
    """Half blocks back to modules, and those compared with what segno encodes."""
    import segno

    uri = pairing.offer().uri
    rows = []
    for line in qr_text(uri, colour=False).split("\n"):
        rows.append([cell in " ▄" for cell in line])  # dark above
        rows.append([cell in " ▀" for cell in line])  # dark below
    matrix = segno.make_qr(uri, error="m").matrix
    size = len(matrix)
    inner = [row[4 : 4 + size] for row in rows[4 : 4 + size]]
    assert inner == [[bool(cell) for cell in row] for row in matrix]
