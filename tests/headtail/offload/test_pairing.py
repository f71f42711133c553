"""Pairing codes: build and parse are inverses, and nothing else is a code."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import UsageFault
from headtail.offload.pairing import PREFIX, PairingCode, build_uri, parse_uri

PIN = "ab" * 32
TOKEN = "A_-9" * 6
GOOD = PairingCode("https://192.168.1.20:8707", PIN, TOKEN)


def test_the_text_of_a_code():
    assert build_uri(GOOD) == (
        f"headtail://pair?url=https%3A%2F%2F192.168.1.20%3A8707&fp={PIN}&token={TOKEN}"
    )


@pytest.mark.parametrize(
    "code",
    [
        GOOD,
        PairingCode("https://[2001:db8::1]:8707", PIN, TOKEN),
        PairingCode("https://tails.example/behind/a/proxy", None, TOKEN),
        PairingCode("http://127.0.0.1:8707", None, TOKEN),
        PairingCode("http://localhost:8707", None, TOKEN),
    ],
)
def test_there_and_back(code):
    assert parse_uri(build_uri(code)) == code


@settings(deadline=None, max_examples=100)
@given(
    host=st.from_regex(r"[a-z][a-z0-9]{0,20}(\.[a-z]{2,8})?", fullmatch=True),
    port=st.integers(1, 65535),
    pin=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    token=st.from_regex(r"[A-Za-z0-9_-]{22,86}", fullmatch=True),
)
def test_there_and_back_for_every_code(host, port, pin, token):
    code = PairingCode(f"https://{host}:{port}", pin, token)
    assert parse_uri(build_uri(code)) == code


URL = "https%3A%2F%2Fa%3A1"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://example.org",
        "headtail://pair",
        PREFIX,
        f"HEADTAIL://pair?url={URL}&token={TOKEN}",
        f"{PREFIX}url={URL}",
        f"{PREFIX}token={TOKEN}",
        f"{PREFIX}url={URL}&token={TOKEN}&extra=1",
        f"{PREFIX}url={URL}&token={TOKEN}&token={TOKEN}",
        f"{PREFIX}url={URL}&url=https%3A%2F%2Fevil%3A1&token={TOKEN}",
        f"{PREFIX}url={URL}&token=short",
        f"{PREFIX}url={URL}&token={'x' * 87}",
        f"{PREFIX}url={URL}&token={TOKEN}%0A",
        f"{PREFIX}url={URL}&token={TOKEN}&fp=abcd",
        f"{PREFIX}url={URL}&token={TOKEN}&fp=",
        f"{PREFIX}url={URL}&token={TOKEN}&fp={PIN.upper()}",
        f"{PREFIX}url={URL}&token={TOKEN}&fp={PIN}&",
        f"{PREFIX}url={URL}&token={TOKEN};fp={PIN}",
        f"{PREFIX}url=ftp%3A%2F%2Fa&token={TOKEN}",
        f"{PREFIX}url=http%3A%2F%2F192.168.1.2%3A1&token={TOKEN}",
        f"{PREFIX}url=http%3A%2F%2Flocalhost.evil.example%3A1&token={TOKEN}",
        f"{PREFIX}url=http%3A%2F%2F127.0.0.1%3A1&token={TOKEN}&fp={PIN}",
        f"{PREFIX}url=https%3A%2F%2Fu%3Ap%40a%3A1&token={TOKEN}",
        f"{PREFIX}url=https%3A%2F%2Fa%0Ab&token={TOKEN}",
        f"{PREFIX}url=https%3A%2F%2F%C3%28&token={TOKEN}",
        f"{PREFIX}url={URL}&token={TOKEN}" + "&" * 2000,
        f"{PREFIX}url={URL}&token={TOKEN}é",
    ],
)
def test_what_is_no_code(uri):
    with pytest.raises(UsageFault) as caught:
        parse_uri(uri)
    assert len(str(caught.value)) < 700


@settings(deadline=None, max_examples=200)
@given(st.text() | st.text().map(lambda tail: PREFIX + tail))
def test_anything_else_is_refused_as_one_error(text):
    with pytest.raises(UsageFault):
        parse_uri(text)
