"""The examples of https://www.w3.org/TR/trace-context/, sections 3.2 and 4."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.wire.traceparent import TraceParent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_the_specification_s_example():
    found = TraceParent.parse(f"00-{TRACE}-{SPAN}-01")
    assert found == TraceParent(TRACE, SPAN, sampled=True)
    assert str(found) == f"00-{TRACE}-{SPAN}-01"
    assert TraceParent.parse(f"00-{TRACE}-{SPAN}-00") == TraceParent(TRACE, SPAN, sampled=False)


def test_a_new_one_can_be_read_again():
    made = TraceParent.new()
    assert TraceParent.parse(str(made)) == made
    assert TraceParent.new().trace_id != made.trace_id
    silent = TraceParent.new(sampled=False)
    assert TraceParent.parse(str(silent)) == silent


def test_later_versions_and_other_flags_are_read_as_this_one():
    told = TraceParent(TRACE, SPAN, sampled=True)
    assert TraceParent.parse(f"cc-{TRACE}-{SPAN}-03-what-else") == told
    unsampled = TraceParent(TRACE, SPAN, sampled=False)
    assert TraceParent.parse(f"00-{TRACE}-{SPAN}-02") == unsampled


@pytest.mark.parametrize(
    "text",
    [
        "",
        TRACE,
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 600}",
        f"00-{TRACE[:-1]}\u0661-{SPAN}-01",
    ],
)
def test_what_is_invalid_starts_a_new_trace(text):
    assert TraceParent.parse(text) is None


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"))
def test_any_text_is_read_or_not(text):
    found = TraceParent.parse(text)
    assert found is None or TraceParent.parse(str(found)) == found
