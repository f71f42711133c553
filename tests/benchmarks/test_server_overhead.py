import pytest

from benchmarks.server_overhead import Samples, figures_of


def test_a_ledger_adds_up_to_its_round_trips():
    told = {"compute_ms": 13.0, "decode_ms": 0.2, "client_encode_ms": 0.5, "round_trip_ms": 15.0}
    samples = Samples([16.0, 16.0, 16.0], [told] * 3)
    ledger = figures_of(samples, Samples([13.0] * 3))["ledger_p50_ms"]
    assert ledger["client_decode_ms"] == 0.5  # what is neither before nor on the way
    assert "round_trip_ms" not in ledger
    assert sum(ledger.values()) == pytest.approx(16.0)


def test_an_answer_that_tells_less_leaves_more_elsewhere():
    samples = Samples([15.0], [{"compute_ms": 13.0}])
    assert figures_of(samples, Samples([13.0]))["ledger_p50_ms"] == {
        "compute_ms": 13.0,
        "elsewhere": 2.0,
    }
