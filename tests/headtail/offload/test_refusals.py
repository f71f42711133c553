"""Error statuses, back to errors."""

import json

import pytest

from headtail.errors import BundleMismatch, TensorMismatch, TooLarge, WireFault
from headtail.offload.refusals import (
    MAX_RETRY_AFTER_S,
    DeadlineMissed,
    KeyRefused,
    NotHeld,
    Refusal,
    ServerNotReady,
    Shed,
    refusal,
)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refusal),
        (401, KeyRefused),
        (403, KeyRefused),
        (404, NotHeld),
        (409, BundleMismatch),
        (413, TooLarge),
        (422, TensorMismatch),
        (429, Shed),
        (500, Refusal),
        (503, ServerNotReady),
        (504, DeadlineMissed),
    ],
)
def test_status_to_error(status, kind):
    error = refusal(status, {}, b'{"error":"So it is. Do that."}')
    assert type(error) is kind
    assert isinstance(error, WireFault)
    assert error.what == f"The companion server answered {status}: So it is. Do that."
    assert getattr(error, "status", status) == status


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":7}', b"\xff", b"[" * 100_000])
def test_a_body_that_says_nothing(body):
    assert "answered 500: (no explanation)" in str(refusal(500, {}, body))


def test_attack_a_text_that_turns_the_screen_around():
    told = refusal(500, {}, json.dumps({"error": "no\u202e\n\n[b]never\x00"}).encode())
    assert "answered 500: no [b]never" in str(told)
    assert str(told).isprintable()
    nothing = refusal(500, {}, json.dumps({"error": "\u202e\n"}).encode())
    assert "(no explanation)" in str(nothing)


def test_a_long_text_is_cut():
    assert len(str(refusal(500, {}, b'{"error":"%s"}' % (b"x" * 100_000)))) < 1000


def test_held_bundles():
    error = refusal(409, {}, b'{"error":"no","held":{"abc":["c1","c2"],"d":7,"e":["c3",4]}}')
    assert isinstance(error, BundleMismatch)
    assert error.held == {"abc": ["c1", "c2"], "e": ["c3"]}
    other = refusal(409, {}, b'{"held":[]}')
    assert isinstance(other, BundleMismatch)
    assert other.held == {}


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("999999", MAX_RETRY_AFTER_S),
        ("9" * 5000, 1.0),
        ("-5", 1.0),
        ("soon", 1.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 1.0),
    ],
)
def test_retry_after(header, seconds):
    error = refusal(429, {"retry-after": header}, b"{}")
    assert isinstance(error, Shed)
    assert error.retry_after_s == seconds


def test_retry_after_missing():
    error = refusal(429, {}, b"{}")
    assert isinstance(error, Shed)
    assert error.retry_after_s == 1.0
