"""A companion server that lies can cost speed, and neither answers nor time.

Whoever runs a server that a phone was paired with can always answer wrongly: the phone asked it to
compute. What it may not do is to make a phone hang, crash, or believe that it is another model.
"""

import time

import pytest

from headtail.offload.client import Companion
from headtail.offload.engine import OffloadEngine
from headtail.offload.policy import Policy
from headtail.offload.trace import replay
from tests.support.bundles import tiny_bundle
from tests.support.tail_server import TailServer, ToySession, head, images, tail

DEADLINE_MS = 400.0
HUNG_MS = 5000.0  # far beyond the deadline: threads of this one process wait for one another too
SECONDS = 0.3
LIES: dict[str, dict[str, str | int | float | bool]] = {
    "an eternity": {"split.compute_ms": 1e9, "split.queue_ms": 1e9},
    "nothing": {"split.compute_ms": 0, "split.queue_ms": 0, "split.decode_ms": 0},
    "less than nothing": {"split.compute_ms": -1e308, "split.decode_ms": -5},
    "words": {"split.compute_ms": "fast", "split.queue_ms": True},
    "other parameters": {"split.crc32": "0", "split.batch": 1e308},
    "a wrong checksum": {"split.crc32": 7},
    "another bundle": {"split.bundle": "f" * 64},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("mode", ["auto", "force"])
def test_whatever_it_says_of_its_answers(bundle, lie, mode):
    with TailServer(bundle.manifest) as server:
        server.parameters = LIES[lie]
        companion = Companion(server.url)
        policy = Policy(mode=mode, codec="raw32", deadline_ms=DEADLINE_MS)
        engine = OffloadEngine(bundle, None, ToySession(), companion=companion, policy=policy)
        began = time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            image = next(images(1))
            answer = engine.answer([image])
            assert answer.outputs[0].tolist() == tail(head(image)).tolist()
            assert answer.total_ms < HUNG_MS
            engine.status()
        lines = engine.trace.text().splitlines()
        assert replay(lines) == (len(lines), [])
        engine.close()
        companion.close()
