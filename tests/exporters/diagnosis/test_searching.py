"""Narrowing finds a step from good to bad, whatever lies between."""

from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.diagnosis.searching import AT_ONCE, narrow


def prober(good, rounds):
    """A stand-in for conversions: results are given, a round may stop at the first bad one."""

    def probe(chosen):
        rounds.append(chosen)
        results = [good[position] for position in chosen]
        return results[: results.index(False) + 1] if False in results else results

    return probe


@settings(deadline=None, max_examples=200)
@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_pair_is_a_step_from_good_to_bad(results):
    good = [*results, False]
    rounds: list[list[int]] = []
    low, high = narrow(-1, len(results), range(len(good)), prober(good, rounds))
    assert low == high - 1
    assert not good[high]
    assert low == -1 or good[low]
    assert all(len(chosen) <= AT_ONCE for chosen in rounds)


def test_single_fault_is_found_in_few_rounds():
    good = [position < 700 for position in range(1000)]
    rounds: list[list[int]] = []
    assert narrow(-1, 999, range(1000), prober(good, rounds)) == (699, 700)
    assert len(rounds) <= 6


def test_only_candidates_are_probed():
    good = [True] * 5 + [False] * 5
    rounds: list[list[int]] = []
    assert narrow(-1, 9, [1, 3, 7], prober(good, rounds)) == (3, 7)
    assert rounds == [[1, 3, 7]]
