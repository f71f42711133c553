"""The engine deciding by itself: over real sockets, with a server that misbehaves on request."""

import threading
import time

import pytest

from headtail.errors import UnknownName
from headtail.offload.client import Companion
from headtail.offload.courier import Courier
from headtail.offload.engine import OffloadEngine
from headtail.offload.policy import FRAME, Policy
from headtail.offload.trace import replay
from tests.support.tail_server import ToySession, head, images, tail

CALM_S = 10.0
SLOW_S = 0.04


@pytest.fixture
def session():
    """A device of which the whole model takes 40 ms, and the head next to nothing."""
    made = ToySession()
    made.during_forward = busy(SLOW_S)
    return made


@pytest.fixture
def engine_of(bundle, session, companion):
    made = []

    def make(*, to=companion, **policy):
        artifact = bundle.manifest.artifacts[0]
        engine = OffloadEngine(bundle, artifact, session, companion=to, policy=Policy(**policy))
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


def busy(seconds):
    """Work for so long: a slow model, not a pause. It lets other threads run, as runtimes do."""

    def work():
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            head(next(images(1)))
            time.sleep(0)

    return work


def answered(engine, image):
    answer = engine.answer([image])
    assert answer.decision.reason
    if not answer.codec.startswith("aq"):
        assert answer.outputs[0].tolist() == tail(head(image)).tolist()
    else:
        assert abs(answer.outputs[0] - tail(head(image))).max() < 0.5
    return answer


def until(engine, reached):
    end = time.monotonic() + CALM_S
    while time.monotonic() < end:
        answer = answered(engine, next(images(1)))
        if reached(answer):
            return answer
    raise AssertionError(engine.status())


def is_split(answer):
    return answer.where == "split"


def test_it_finds_out_by_messages_in_the_background_and_then_splits(engine_of, server):
    engine = engine_of()
    first = answered(engine, next(images(1)))
    assert first.where == "local"
    assert first.decision.probe is not None
    assert "not measured" in first.decision.reason
    answer = until(engine, is_split)
    assert "Split at early" in answer.decision.reason
    assert answer.decision.predicted_ms is not None
    assert answer.trace_id
    status = engine.status()
    assert status.rtt_ms is not None
    assert status.uplink_mbit_s is not None
    assert status.remote_ms is not None
    assert status.remote_ms < status.local_ms
    assert [status.breaker, status.wait_s] == ["closed", 0.0]
    assert {c.kind for c in status.candidates} == {"local", "split"}
    assert server.requests > 0


def test_where_the_device_is_faster_it_stays(engine_of, session, server):
    session.during_forward = lambda: None
    engine = engine_of()
    until(engine, lambda answer: answer.decision.predicted_ms is not None)
    for image in images(10):
        assert answered(engine, image).where == "local"


def test_off_sends_nothing(engine_of, server):
    engine = engine_of(mode="off")
    for image in images(3):
        answer = answered(engine, image)
        assert (answer.where, answer.reason, answer.decision.reason) == (
            "local",
            "",
            "Offload is off.",
        )
    assert (server.requests, server.connections) == (0, 0)


def test_without_a_server_that_is_the_reason(engine_of):
    answer = answered(engine_of(to=None), next(images(1)))
    assert answer.decision.reason == "No companion server was named."


def test_a_reply_later_than_predicted_is_not_waited_for(engine_of, server):
    engine = engine_of(deadline_ms=5000)
    until(engine, is_split)
    server.mode = "hang"
    answer = answered(engine, next(images(1)))
    assert answer.where == "local (reply late)"
    assert "The answer was predicted within" in answer.reason
    assert answer.total_ms < 1000, "the deadline would have been five seconds"
    assert answered(engine, next(images(1))).where.startswith("local (")
    assert engine.status().breaker == "open"
    server.release.set()
    server.mode = "good"
    until(engine, is_split)


class LateCourier(Courier):
    """Its message ends, in vain, between two looks of the engine: a device that is busy."""

    @property
    def busy(self):
        if self._sent is not None and not self._sent.done():
            self._companion.abort()
            self._sent.exception(timeout=CALM_S)
        return super().busy


def test_a_probe_that_ends_between_two_looks_costs_no_frame(engine_of, bundle, companion, server):
    engine = engine_of()
    server.mode = "hang"
    until(engine, lambda answer: answer.decision.probe and answer.decision.probe.kind == FRAME)
    courier = LateCourier(companion, bundle.manifest)
    courier._sent, engine._courier = engine._courier._sent, courier  # nobody else sees that moment
    engine.set_policy(Policy(mode="force"))
    server.mode = "close before reply"
    for image in images(3):  # of which one is sent and fails; then the probe's outcome is known
        assert answered(engine, image).where.startswith("local")
    server.release.set()


def test_a_ping_that_is_not_answered_opens_the_breaker(engine_of, session, server):
    session.during_forward = lambda: None
    engine = engine_of()
    until(engine, lambda answer: answer.decision.predicted_ms is not None)
    server.kill()
    answer = until(engine, lambda answer: answer.where == "local (server lost)")
    assert engine.status().wait_s >= 0
    assert "tried again" in answer.decision.reason


def test_the_policy_is_changed_between_frames_from_another_thread(engine_of, server):
    engine = engine_of(mode="off")
    answered(engine, next(images(1)))
    other = threading.Thread(target=engine.set_policy, args=(Policy(mode="force", codec="raw32"),))
    other.start()
    other.join()
    answer = answered(engine, next(images(1)))
    assert (answer.where, answer.codec) == ("split", "raw32")
    engine.set_policy(Policy(mode="off"))
    assert answered(engine, next(images(1))).where == "local"


def test_a_policy_that_cannot_be_is_refused_and_changes_nothing(engine_of):
    engine = engine_of(mode="off")
    with pytest.raises(UnknownName, match="cut of tiny 'erly'"):
        engine.set_policy(Policy(mode="force", cut="erly"))
    with pytest.raises(UnknownName, match=r"entry point 'head_late'.*head_early"):
        engine.set_policy(Policy(mode="force", cut="late"))
    assert answered(engine, next(images(1))).decision.reason == "Offload is off."


def test_a_run_is_replayed(engine_of, server):
    engine = engine_of(deadline_ms=400)
    until(engine, is_split)
    server.mode, server.status = "status", 503
    answered(engine, next(images(1)))
    server.mode = "good"
    until(engine, is_split)
    server.kill()
    for image in images(5):
        answered(engine, image)
    lines = engine.trace.text().splitlines()
    places = {record.where for record in engine.trace.records()}
    assert {"local", "split", "local (server not ready)", "local (server lost)"} <= places
    assert replay(lines) == (len(lines), [])


def test_engines_leave_no_thread(engine_of):
    engine = engine_of()
    until(engine, is_split)
    engine.close()
    end = time.monotonic() + CALM_S
    while any(thread.name.startswith("offload") for thread in threading.enumerate()):
        assert time.monotonic() < end


def test_a_ping(bundle, server):
    companion = Companion(server.url)
    pong = companion.ping(bundle.manifest.name, timeout_s=5.0)
    assert 1100 < pong.bytes_up < 1400
    assert 0 < pong.bytes_down < 400
    assert pong.round_trip_ms > 0
    assert server.requests == 0
    companion.close()
