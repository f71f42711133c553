"""What of all that a code can say is handed on: one pairing link, or nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scanning.codes import judge
from headtail.offload.pairing import parse_uri

LINK = (
    "headtail://pair?url=https%3A%2F%2F192.168.1.20%3A8707"
    f"&fp={'5a' * 32}&token=abcdefghijklmnopqrstuvwxyz"
)
OTHER = LINK.replace("5a", "a5")


def test_a_pairing_link_is_found_among_others():
    assert judge([LINK]).link == LINK
    assert judge(["https://example.org", LINK, "WIFI:S:home;;"]).link == LINK


def test_two_pairing_links_are_nobodys_choice_but_the_persons():
    judged = judge([LINK, OTHER])
    assert judged.link == ""
    assert "2 pairing codes" in judged.note
    assert judge([LINK, LINK]).link == LINK


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/menu",
        "headtail://pair.evil.example/?url=x",
        "HEADTAIL://pair?url=https%3A%2F%2Fx&token=abcdefghijklmnopqrstuvwxyz",
        f" {LINK}",
        LINK.replace("https", "http"),
        LINK + "&token=abcdefghijklmnopqrstuvwxyz",
        "javascript:alert(1)",
        "tel:+123",
        "",
    ],
)
def test_anything_else_is_said_and_never_handed_on(text):
    judged = judge([text])
    assert judged.link == ""
    assert "pairing code" in judged.note
    assert judged.note.endswith("status page shows.")


def test_a_long_or_wild_text_is_shown_short_and_plain():
    note = judge(["\u202egro.elpmaxe\n\x1b[31m" + "x" * 4000]).note
    assert len(note) < 200
    assert note.isprintable()


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_no_text_gets_through_that_is_no_code(texts):
    judged = judge(texts)
    assert not judged.link or parse_uri(judged.link)
    assert judged.note.isprintable()
    assert bool(judged.link) != bool(judged.note)
