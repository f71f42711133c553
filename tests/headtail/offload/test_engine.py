"""The split engine: every frame is answered, whatever the server does."""

import concurrent.futures
import time

import numpy as np
import pytest

from headtail.errors import TensorMismatch, UnknownName
from headtail.offload.client import Companion
from headtail.offload.engine import OffloadEngine, SplitEngine
from headtail.offload.policy import Policy
from tests.support.tail_server import ToySession, head, images, tail

LOST = "local (server lost)"


@pytest.fixture
def session():
    return ToySession()


@pytest.fixture
def engine_of(bundle, session, companion):
    """Engines over the good server unless told otherwise; closed after the test."""
    made = []

    def make(*, to=companion, cut="early", codec="raw32", deadline_ms=5000.0):
        engine = SplitEngine(
            bundle, session, companion=to, cut=cut, codec=codec, deadline_ms=deadline_ms
        )
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


def whole(image):
    return tail(head(image)).tolist()


def answered(engine, image):
    answer = engine.answer([image])
    assert [o.tolist() for o in answer.outputs] == [whole(image)]
    return answer


def busy(seconds):
    """Work for so long: a slow model, not a pause."""

    def work():
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            head(next(images(1)))

    return work


def until_split(engine, image, *, seconds=10.0):
    """Answer until one is split; every one before must be local and at once."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = answered(engine, image)
        if answer.where == "split":
            return answer
        assert answer.head_ms == 0, "a frame was sent while the breaker was open"
    raise AssertionError(f"not split again after {seconds} s: {answer.reason}")


@pytest.mark.parametrize(
    ("minimum", "codec", "where"),
    [(1.0, "raw32", "split"), (None, "aq8t", "split"), (0.5, "aq8t", "local")],
)
def test_a_minimum_lets_proven_splits_through(bundle, session, companion, minimum, codec, where):
    """The bundle has figures for raw32, and none for aq8t."""
    asked = Policy("force", "early", codec, 5000.0, minimum_fidelity=minimum)
    artifact = bundle.manifest.artifacts[0]
    engine = OffloadEngine(bundle, artifact, session, companion=companion, policy=asked)
    try:
        assert [engine.answer([image]).where for image in images(3)] == [where] * 3
    finally:
        engine.close()


def test_split(engine_of, server, session):
    engine = engine_of()
    assert set(session.runs) == {"forward", "head_early"}, "warmed up"
    for image in images(5):
        answer = answered(engine, image)
        assert (answer.where, answer.reason) == ("split", "")
        assert (answer.cut, answer.codec) == ("early", "raw32")
        assert answer.bytes_up > 64 * 4
        assert answer.bytes_down > 3 * 4
        assert answer.server == {"compute_ms": 0.5, "decode_ms": 0.25}
        assert answer.head_ms > 0
        assert answer.tail_ms > 0
        assert answer.total_ms == pytest.approx(answer.head_ms + answer.tail_ms)
        assert answer.local_ms == 0
    assert (server.requests, server.connections) == (5, 1)
    assert session.runs[-5:] == ["head_early"] * 5


def test_the_default_codec_is_within_its_error_bound(bundle, session, companion):
    engine = SplitEngine(bundle, session, companion=companion, cut="early")
    image = next(images(1))
    answer = engine.answer([image])
    engine.close()
    assert (answer.where, answer.codec) == ("split", "aq8t+deflate")
    error = answer.outputs[0].astype(np.float32) - tail(head(image)).astype(np.float32)
    assert np.abs(error).max() < 0.5


def test_local_was_asked_for(engine_of, server, session):
    for engine in (engine_of(to=None), engine_of(cut=None), engine_of(to=None, cut=None)):
        answer = answered(engine, next(images(1)))
        assert (answer.where, answer.reason) == ("local", "")
        assert (answer.cut, answer.codec, answer.bytes_up, answer.bytes_down) == ("", "", 0, 0)
        assert (answer.head_ms, answer.tail_ms) == (0, 0)
        assert 0 < answer.local_ms <= answer.total_ms
    assert server.connections == 0


def test_names_that_do_not_exist(bundle, engine_of):
    with pytest.raises(UnknownName, match=r"cut of tiny 'erly'.*'early'"):
        engine_of(cut="erly")
    with pytest.raises(UnknownName, match=r"codec 'aq8'"):
        engine_of(codec="aq8")
    with pytest.raises(UnknownName, match=r"entry point 'head_late'.*head_early"):
        engine_of(cut="late")


def test_inputs_of_another_shape(engine_of):
    with pytest.raises(TensorMismatch):
        engine_of().answer([np.zeros((1, 3, 4, 4), np.float32)])


def test_killed_between_frames(engine_of, server):
    engine = engine_of()
    first, *others = images(20)
    assert answered(engine, first).where == "split"
    server.kill()
    answers = [answered(engine, image) for image in others]
    assert {answer.where for answer in answers} == {LOST}
    assert all("cannot be reached" in a.reason or "closed" in a.reason for a in answers)
    assert answers[0].head_ms > 0, "the first one was tried"
    assert [answer.head_ms for answer in answers[1:]] == [0] * 18, "the others were not"


def test_split_again_after_the_server_came_back(engine_of, server):
    engine = engine_of()
    image = next(images(1))
    server.kill()
    assert answered(engine, image).where == LOST
    server.revive()
    assert until_split(engine, image).cut == "early"
    assert answered(engine, image).where == "split"


@pytest.mark.parametrize(
    ("mode", "where", "words"),
    [
        ("close before reply", LOST, "closed the connection"),
        ("close in headers", LOST, "closed the connection"),
        ("close in body", LOST, "closed the connection"),
        ("reset", LOST, "127.0.0.1"),
        ("garbage http", "local (malformed reply)", "does not speak HTTP"),
        ("garbage body", "local (malformed reply)", "malformed"),
        ("compressed", "local (malformed reply)", "compressed"),
        ("wrong bundle", "local (bundle mismatch)", "ran bundle"),
        ("wrong name", "local (tensor mismatch)", "'other'"),
        ("wrong shape", "local (tensor mismatch)", "[1, 2]"),
        ("no numbers", "local (tensor mismatch)", "not all numbers"),
        ("too long", "local (too large)", "1099511627776"),
    ],
)
def test_a_reply_that_cannot_be_used(engine_of, server, mode, where, words):
    engine = engine_of()
    image = next(images(1))
    server.mode = mode
    answer = answered(engine, image)
    assert answer.where == where
    assert words in answer.reason
    assert (answer.cut, answer.codec, answer.bytes_up) == ("", "", 0)
    again = answered(engine, image)
    assert (again.where, again.reason, again.head_ms) == (where, answer.reason, 0)
    server.mode = "good"
    until_split(engine, image)


@pytest.mark.parametrize(
    ("status", "where"),
    [
        (400, "local (refused)"),
        (404, "local (model not held)"),
        (409, "local (bundle mismatch)"),
        (413, "local (too large)"),
        (422, "local (tensor mismatch)"),
        (429, "local (server busy)"),
        (500, "local (refused)"),
        (503, "local (server not ready)"),
        (504, "local (server too late)"),
    ],
)
def test_a_refusal(engine_of, server, status, where):
    engine = engine_of()
    image = next(images(1))
    server.mode, server.status, server.status_headers = "status", status, {"Retry-After": "0"}
    answer = answered(engine, image)
    assert answer.where == where
    assert f"answered {status}: made to fail" in answer.reason
    server.mode = "good"
    until_split(engine, image)


def test_retry_after_is_kept(engine_of, server):
    engine = engine_of()
    image = next(images(1))
    server.mode, server.status, server.status_headers = "status", 429, {"Retry-After": "100"}
    answered(engine, image)
    server.mode = "good"
    end = time.monotonic() + 0.5  # twice the backoff that there would be without the header
    while time.monotonic() < end:
        assert answered(engine, image).where == "local (server busy)"
    assert server.requests == 1


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_no_reply_in_time(engine_of, server, mode):
    engine = engine_of(deadline_ms=400)
    image = next(images(1))
    server.mode = mode
    answer = answered(engine, image)
    assert answer.where == LOST
    # the device's own look at the clock and the socket's are a fraction of a ms apart here
    assert "No reply within" in answer.reason or "did not answer within" in answer.reason
    # not before it had to, and not later than a busy machine's scheduling after the deadline
    assert 350 < answer.total_ms < 600
    assert answer.head_ms > 0
    assert 0 < answer.local_ms < 350
    assert answered(engine, image).head_ms == 0
    server.release.set()
    server.mode = "good"
    until_split(engine, image)


def test_a_reply_that_comes_during_the_local_run_wins(engine_of, server, session):
    session.during_forward = busy(0.1)
    engine = engine_of(deadline_ms=500)
    image = next(images(1))
    server.mode = "hang"

    def reply_meanwhile():
        server.mode = "good"
        server.release.set()
        # white box: nothing outside the engine can tell that the reply was decoded
        concurrent.futures.wait([engine._courier._sent], 5)

    session.during_forward = reply_meanwhile
    answer = answered(engine, image)
    session.during_forward = lambda: None
    assert answer.where == "split"
    assert answer.local_ms > 0
    assert answered(engine, image).where == "split", "the breaker counted it as a success"


def test_a_reply_that_comes_after_the_local_run_is_dropped(engine_of, server):
    engine = engine_of(deadline_ms=200)
    first, second = images(2)
    server.mode = "hang"
    assert answered(engine, first).where == LOST
    server.mode = "good"
    server.release.set()  # the first frame's reply is written now, to nobody
    answer = until_split(engine, second)
    assert answer.outputs[0].tolist() == whole(second)
    assert server.connections >= 2


def test_a_device_slower_than_the_deadline_waits_for_the_reply(engine_of, server, session):
    session.during_forward = busy(0.1)
    engine = engine_of(deadline_ms=80)
    session.during_forward = lambda: pytest.fail("the device was asked before the deadline")
    assert answered(engine, next(images(1))).where == "split"
    session.during_forward = lambda: None
    server.mode = "hang"
    answer = answered(engine, next(images(1)))
    assert answer.where == LOST
    assert answer.total_ms >= 75


def test_a_probe_never_holds_a_frame_up(engine_of, server):
    engine = engine_of(deadline_ms=1000)
    image = next(images(1))
    server.mode = "close in body"
    assert answered(engine, image).where == LOST
    server.mode = "hang"
    end = time.monotonic() + 20
    slowest_ms = 0.0
    while server.requests < 3:  # two probes more, which both hang
        assert time.monotonic() < end
        slowest_ms = max(slowest_ms, answered(engine, image).total_ms)
    assert slowest_ms < 500  # half of what a probe takes; a busy machine takes its share
    server.release.set()


def test_an_idle_engine_sends_nothing(engine_of, server):
    engine = engine_of()
    server.mode = "close in body"
    answered(engine, next(images(1)))
    assert server.requests == 1
    engine.close()
    assert server.requests == 1


def test_a_head_that_is_not_finite(engine_of, server, session):
    engine = engine_of()
    image = next(images(1))
    session.spoil_head = True
    answer = answered(engine, image)
    assert answer.where == "local (head not finite)"
    assert "'early' is not finite" in answer.reason
    assert server.requests == 0
    session.spoil_head = False
    assert answered(engine, image).where == "split", "the server is not to blame"


def test_what_the_session_raises_is_not_swallowed_and_ends_the_request(engine_of, server, session):
    engine = engine_of(deadline_ms=100)
    server.mode = "hang"

    def fail():
        raise RuntimeError("out of memory")

    session.during_forward = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        engine.answer([next(images(1))])
    session.during_forward = lambda: None
    server.mode = "good"
    server.release.set()
    until_split(engine, next(images(1)))


def test_close_during_a_probe_returns_at_once(engine_of, server):
    engine = engine_of()
    image = next(images(1))
    server.mode = "close in body"
    answered(engine, image)
    server.mode = "hang"
    end = time.monotonic() + 10
    while not server.hanging.is_set():
        assert time.monotonic() < end
        answered(engine, image)
    started = time.monotonic()
    engine.close()
    assert time.monotonic() - started < 1


def test_several_engines_share_a_companion(engine_of, server):
    engines = [engine_of(), engine_of()]
    for image in images(4):
        assert {answered(engine, image).where for engine in engines} == {"split"}
    assert server.connections == 1


def test_an_address_where_nobody_listens(engine_of, server):
    server.kill()
    engine = engine_of(to=Companion(server.url))
    assert answered(engine, next(images(1))).where == LOST
