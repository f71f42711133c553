"""Addresses, codes, keys and folders never come through; what is none of them does."""

import json
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from app.report.redaction import redacted, redacted_text

HOSTS = st.sampled_from(["192.168.1.20", "[fe80::1]", "[fe80::1%wlan0]", "localhost", "desk.local"])
PORTS = st.integers(min_value=80, max_value=65535)
SCHEMES = st.sampled_from(["http", "https", "ws", "wss", "grpc", "grpcs", "HTTPS"])


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("at https://desk.local:8707/v2.", "at [address]"),
        ("at http://[fe80::1]:80 now", "at [address] now"),
        ("10.0.0.7 said no", "[address] said no"),
        ("10.0.0.7:8707, again", "[address], again"),
        ("[2001:db8::7]:8707 said no", "[address] said no"),
        ("desk:8707 said no", "[address] said no"),
        ("code headtail://pair?url=a&token=b end", "code [code] end"),
        ("Authorization: Bearer abc.def-1", "Authorization: [hidden]"),
        (f"in {Path.home()}/models", "in [folder]/models"),
    ],
)
def test_what_looks_like_an_address_or_a_code_goes(text, clean):
    assert redacted_text(text, []) == clean


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T00:45:01.123+00:00",
        "Linux 6.18.44-fc-v669",
        "Android 15 (API 35)",
        "p50 0.02 ms, 1.41x faster",
        "wrong output: 12.3 dB against fp32 PyTorch, the gate is 90.0",
        "split at blocks_11, aq8t+deflate",
        "numpy 2.4.6, kivy 2.3.1",
        "",
    ],
)
def test_what_is_none_of_them_stays(text):
    assert redacted_text(text, []) == text


@given(SCHEMES, HOSTS, PORTS, st.text(alphabet="abc /", max_size=12))
@settings(deadline=None, max_examples=60)
def test_no_host_of_an_address_survives(scheme, host, port, rest):
    for text in (f"at {scheme}://{host}:{port}{rest}", f"{host}:{port} is silent"):
        clean = redacted_text(text, [])
        assert host not in clean
        assert str(port) not in clean


@given(st.text(min_size=4, max_size=40), st.text(max_size=40))
@example("[hid", "")
@settings(deadline=None, max_examples=60)
def test_a_known_secret_never_survives_wherever_it_stands(secret, around):
    assume(secret.strip() == secret)
    assume(not any(secret.lower() in mark for mark in ("[hidden]", "[address]", "[code]")))
    value = {"a": [around + secret + around, {"b": secret.upper()}], "n": 1.5, "none": None}
    assume(secret.upper().lower() == secret.lower())
    clean = redacted(value, [secret])
    assert secret not in clean["a"][0]
    assert (clean["n"], clean["none"]) == (1.5, None)


@pytest.mark.parametrize(
    "part", ["[", ":", "[:", "a.", "1.", "a:", "1.1.1.1.", "http://", "[fe80::%"]
)
def test_a_long_text_takes_no_longer_than_its_length(part):
    redacted_text("[" + part * 50_000, [])  # minutes where a pattern looks back over and over


def test_a_whole_address_goes_before_its_host():
    known = ["desk", "https://desk.example/x"]
    assert redacted_text("see https://desk.example/x", known) == "see [hidden]"


def test_a_name_too_short_to_be_one_takes_no_words_apart():
    assert redacted_text("a cat", ["a"]) == "a cat"


def test_keys_of_objects_stay_so_that_the_schema_does():
    assert json.dumps(redacted({"server": ["server"]}, ["server"])) == '{"server": ["[hidden]"]}'
