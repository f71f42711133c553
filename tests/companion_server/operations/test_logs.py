import io
import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion_server.operations import logs
from companion_server.operations.records import RequestRecord, current_record
from headtail.errors import UnknownName
from headtail.wire.traceparent import TraceParent


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def stream():
    """A root logger of our own making, put back afterwards.

    So are the levels of others: every uvicorn that was started in this process has set its own.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    known = [logging.getLogger(name) for name in root.manager.loggerDict]
    levels = [logger.level for logger in known]
    for logger in known:
        logger.setLevel(logging.NOTSET)
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger, former in zip(known, levels, strict=True):
        logger.setLevel(former)


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_of_json(stream):
    logs.configure("json", stream=stream)
    trace = TraceParent("ab" * 16, "cd" * 8, sampled=True)
    token = current_record.set(RequestRecord(trace=trace))
    logging.getLogger("companion_server.serving").warning("bundle %s of %d", "toy", 2)
    current_record.reset(token)
    logging.getLogger("uvicorn.error").info("started")
    first, second = lines(stream)
    assert first["message"] == "bundle toy of 2"
    assert (first["level"], first["logger"]) == ("warning", "companion_server.serving")
    assert first["trace"] == "ab" * 16
    assert first["time"].endswith("Z")
    assert second["logger"] == "uvicorn.error"
    assert "trace" not in second


def test_an_exception_is_one_line_of_json_too(stream):
    logs.configure("json", stream=stream)
    try:
        raise ValueError("first\nsecond \x1b[2J token=abc123")
    except ValueError:
        logging.getLogger("x").exception("failed")
    (line,) = lines(stream)
    assert "ValueError: first\nsecond \x1b[2J token=***" in line["exception"]
    assert "\x1b" not in stream.getvalue()


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=100))
def test_no_text_makes_a_second_line_or_moves_the_cursor(text):
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        for style in ("json", "text"):
            out = io.StringIO()
            logs.configure(style, stream=out)
            logging.getLogger("x").warning("%s", text)
            written = out.getvalue()
            assert len(written.splitlines()) == 1
            assert not logs._UNSAFE.search(written[:-1])
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def test_a_traceback_on_a_terminal_cannot_forge_a_line(stream):
    logs.configure("text", stream=stream)
    try:
        raise ValueError("x\n12:00:00 info    all is well")
    except ValueError:
        logging.getLogger("x").exception("failed")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("error   failed")
    assert all(line.startswith("         | ") for line in rest)


def test_the_style_follows_the_terminal(stream):
    logs.configure(stream=stream)
    logging.getLogger("x").warning("one")
    assert lines(stream)[0]["message"] == "one"
    terminal = Terminal()
    logs.configure(stream=terminal)
    logging.getLogger("x").warning("two")
    assert terminal.getvalue().endswith("warning two\n")
    assert len(lines(stream)) == 1  # the first handler was replaced


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer htk_abc.def",
        "authorization=Basic aGVsbG8=",
        'GET /v2/pair {"token": "s3cr3t"}',
        "api_key=s3cr3t&x=1",
        "password: s3cr3t",
        "key ht_0123456789ab_s3cr3t-and_more is not known",
        "Bearer ht_0123456789ab_s3cr3t",
        "headtail://pair?url=https%3A%2F%2F10.0.0.2%3A8707&fp=ab&token=s3cr3t",
    ],
)
def test_what_looks_like_a_secret_is_blotted_out(text):
    found = logs.redact(text)
    assert "***" in found
    assert not any(secret in found for secret in ("htk_abc", "aGVsbG8", "s3cr3t"))


def test_a_key_keeps_its_id():
    assert logs.redact("Bearer ht_0123456789ab_s3cr3t x") == "Bearer ht_0123456789ab_*** x"


def test_what_does_not_is_left():
    text = "key 3f2a of Pixel: 12 tokens, bundle 4bf92f35"
    assert logs.redact(text) == text


def test_repetition_is_counted_instead_of_written(stream):
    logs.configure("json", stream=stream)
    log = logging.getLogger("uvicorn.error")
    for i in range(1000):
        log.warning("Invalid HTTP request received: %d", i)
    log.error("something else")
    found = lines(stream)
    assert len(found) == logs.BURST + 1
    assert found[-1]["message"] == "something else"


def test_what_was_left_out_is_said():
    clock = [0.0]
    filter_ = logs._Repetition(clock=lambda: clock[0])

    def passes():
        record = logging.LogRecord("x", logging.WARNING, "", 0, "same", (), None)
        return filter_.filter(record) and vars(record)["left_out"]

    assert [passes() for _ in range(7)] == [0, 0, 0, 0, 0, False, False]
    clock[0] = logs.PERIOD_S
    assert passes() == 2
    assert passes() == 0


def test_the_table_of_kinds_is_bounded():
    filter_ = logs._Repetition()
    for i in range(3 * logs.MAX_KINDS):
        filter_.filter(logging.LogRecord("x", logging.WARNING, "", 0, f"kind {i}", (), None))
    assert len(filter_._kinds) == logs.MAX_KINDS


def test_a_long_message_is_cut(stream):
    logs.configure("json", stream=stream)
    logging.getLogger("x").warning("y" * 100_000)
    (line,) = lines(stream)
    assert len(line["message"]) < logs.MAX_MESSAGE + 50
    assert line["message"].endswith("(100000 characters)")


@pytest.mark.parametrize(("style", "level"), [("xml", "info"), ("json", "loud")])
def test_unknown_words_are_refused(style, level):
    with pytest.raises(UnknownName, match="Known: "):
        logs.configure(style, level=level)
