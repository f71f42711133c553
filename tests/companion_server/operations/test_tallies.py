import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from companion_server.operations.tallies import CounterTally, HistogramTally

BOUNDS = (0.1, 1.0, 10.0)


def samples(family):
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for s in family.samples
        if not s.name.endswith("_created")
    }


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 100) | st.sampled_from(BOUNDS)))
def test_a_histogram_is_the_library_s(values):
    ours = HistogramTally("h", "words", bounds=BOUNDS, labels=("who",))
    theirs = Histogram("h", "words", ["who"], buckets=BOUNDS, registry=CollectorRegistry())
    for value in values:
        ours.observe(("a",), value)
        theirs.labels("a").observe(value)
    (reference,) = theirs.collect()
    found, wanted = samples(ours.family()), samples(reference)
    assert found.keys() == wanted.keys()
    assert all(found[key] == pytest.approx(value) for key, value in wanted.items())


def test_a_counter_is_the_library_s():
    ours = CounterTally("c", "words", ("who",))
    theirs = Counter("c", "words", ["who"], registry=CollectorRegistry())
    for amount in (1, 0, 2.5):
        ours.add(("a",), amount)
        theirs.labels("a").inc(amount)
    (reference,) = theirs.collect()
    assert samples(ours.family()) == samples(reference)


def test_without_labels_there_is_a_zero_from_the_start():
    assert [s.value for s in CounterTally("c", "words").family().samples] == [0]
    counted = HistogramTally("h", "words", bounds=BOUNDS).family().samples
    assert {s.value for s in counted} == {0}
    assert CounterTally("c", "words", ("who",)).family().samples == []
