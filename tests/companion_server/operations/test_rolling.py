from hypothesis import given, settings
from hypothesis import strategies as st

from companion_server.operations.records import RequestRecord
from companion_server.operations.rolling import MAX_CLIENTS, MAX_REQUESTS, Rolling, quantile


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def record(**values):
    made = RequestRecord(**{"batch": 1, "client": "key-1", "client_name": "Pixel", **values})
    made.status = values.get("status", 200)
    return made


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 50), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_the_least_value_that_covers_its_share(values, q):
    ordered = sorted(values)
    found = quantile(ordered, q)
    share = sum(value <= found for value in values) / len(values)
    below = sum(value < found for value in values) / len(values)
    assert found in values
    assert share >= q - 1e-9
    assert below < q + 1e-9


def test_the_window_forgets():
    clock = Clock()
    rolling = Rolling(window_s=10, clock=clock)
    clock.now += 5
    for ms in range(1, 101):
        rolling.add(record(compute_ms=float(ms), total_ms=ms + 1.0, batch=1 + ms % 2))
    rolling.add(record(status=429, batch=0, compute_ms=0.0))
    told = rolling.summary()
    assert (told["seconds"], told["requests"]) == (5, 0)  # the second under way is not counted
    clock.now += 1
    told = rolling.summary()
    assert told["seconds"] == 6
    assert told["per_s"] == 16.83
    assert told["series"]["requests"] == [0, 0, 0, 0, 0, 101]
    assert told["series"]["refused"] == [0, 0, 0, 0, 0, 1]
    assert told["series"]["p95_ms"] == [None] * 5 + [96]
    assert (told["requests"], told["inferences"], told["refused"]) == (101, 100, 1)
    assert told["stages"]["compute"] == {"p50_ms": 50, "p95_ms": 95}
    assert told["stages"]["total"] == {"p50_ms": 51, "p95_ms": 96}
    assert told["batches"] == [[1, 50], [2, 50]]
    clock.now += 10.5
    told = rolling.summary()
    assert (told["requests"], told["stages"], told["batches"]) == (0, {}, [])
    assert told["seconds"] == 10
    assert rolling.connected == 0
    assert rolling.clients()[0]["requests"] == 101


def test_both_tables_are_bounded():
    clock = Clock()
    rolling = Rolling(window_s=60, clock=clock)
    clock.now += 30
    for i in range(MAX_REQUESTS + MAX_CLIENTS):
        clock.now += 0.001
        rolling.add(record(client=f"peer-{i}", client_name=""))
    clock.now += 1
    told = rolling.summary()
    assert told["inferences"] == MAX_REQUESTS  # whose times are kept
    assert told["requests"] == MAX_REQUESTS + MAX_CLIENTS  # what is only counted
    assert len(rolling._counts) < 10
    clients = rolling.clients()
    assert len(clients) == MAX_CLIENTS
    assert clients[0]["name"] == f"peer-{MAX_REQUESTS + MAX_CLIENTS - 1}"


def test_a_client_is_remembered_by_its_key_and_shown_by_its_name():
    clock = Clock()
    rolling = Rolling(clock=clock)
    rolling.add(record(model="toy", cut="c1"))
    clock.now += 2
    rolling.add(record(client="key-2", client_name="x" * 500, status=403, batch=0))
    clock.now += 1
    rolling.add(record())
    first, second = rolling.clients()
    assert first == {
        "name": "Pixel",
        "seen_s": 0.0,
        "requests": 2,
        "refused": 0,
        "model": "toy",
        "cut": "c1",
    }
    assert (len(second["name"]), second["refused"], second["seen_s"]) == (80, 1, 1.0)
    assert rolling.connected == 2


def test_nothing_yet():
    clock = Clock()
    told = Rolling(clock=clock).summary()
    assert (told["seconds"], told["per_s"], told["stages"]) == (0, 0.0, {})
