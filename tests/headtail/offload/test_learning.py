"""What is measured counts; what is not is predicted from what is."""

import dataclasses

import pytest

from headtail.offload.learning import DeviceLearner, FrameLearner, ServerLearner
from headtail.tensors import TensorSpec


@pytest.fixture
def cuts(bundle):
    early = bundle.manifest.cut("early")
    twice = TensorSpec("x", "f32", (1, 8, 4, 4))
    return [
        dataclasses.replace(early, id="a", head_flops=0.2),
        dataclasses.replace(early, id="b", head_flops=0.6, tensors=(twice,)),
    ]


def test_the_device(cuts):
    device = DeviceLearner(cuts)
    device.ran_local(100.0)
    assert device.head_ms() == {"a": 20.0, "b": 60.0}
    device.ran_head("a", 33.0)
    assert device.head_ms() == {"a": 33.0, "b": 60.0}
    for _ in range(3):
        device.ran_local(200.0)  # hot, say
    assert device.head_ms() == {"a": 66.0, "b": 120.0}
    frames = {"a": ["raw32"], "b": ["raw32"]}
    assert device.encode_ms(frames) == {"a": {"raw32": 0.0}, "b": {"raw32": 0.0}}
    device.encoded("a", "raw32", 2.0)
    assert device.encode_ms(frames) == {"a": {"raw32": 2.0}, "b": {"raw32": 4.0}}


def test_one_odd_run_counts_little(cuts):
    device = DeviceLearner(cuts)
    for ms in (10.0, 11.0, 500.0, 9.0, 10.0):
        device.ran_local(ms)
    assert device.local_ms == 10.0


def test_the_server(cuts):
    server = ServerLearner(cuts)
    assert not server.known_tails
    assert server.tail_ms(guess_ms=50.0) == {"a": 40.0, "b": 20.0}
    server.answered("a", 8.0)
    assert server.known_tails == ("a",)
    assert server.whole_ms(guess_ms=50.0) == pytest.approx(10.0)
    assert server.tail_ms(guess_ms=50.0) == {"a": 8.0, "b": pytest.approx(4.0)}


def test_frames():
    frames = FrameLearner()
    promised = {"a": {"raw32": 1000, "aq8t": 250}}
    assert frames.sizes(promised) == promised
    frames.sent("a", "raw32", 1200)
    assert frames.sizes(promised) == {"a": {"raw32": 1200, "aq8t": 250}}
