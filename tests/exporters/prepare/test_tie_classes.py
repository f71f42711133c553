"""Numbers tied directly and inversely."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.prepare.tie_classes import Ties

TIES = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8), st.booleans()), max_size=12)


def one(number):
    return torch.tensor(number)


@settings(deadline=None, max_examples=60)
@given(TIES)
def test_classes_are_what_factors_allow(pairs):
    """A factor for every class satisfies every tie, and what is tied to 0 has the factor 1."""
    ties = Ties()
    numbers = ties.fresh(8)
    for left, right, inverse in pairs:
        ties.tie(one(left), one(-right if inverse else right))
    settled = ties.settled()
    found = settled(numbers).tolist()
    factors = [1.0, *(float(2**place) for place in range(settled.classes))]
    logs = [
        0.0 if not number else (1 if number > 0 else -1) * factors[abs(number)] for number in found
    ]
    for left, right, inverse in pairs:
        assert logs[left - 1] == (-logs[right - 1] if inverse else logs[right - 1])
    assert settled.classes == len({abs(number) for number in found if number})


def test_what_was_never_tied_is_apart():
    ties = Ties()
    numbers = ties.fresh(3)
    ties.tie(numbers[:2], one(0))
    settled = ties.settled()
    assert settled(numbers).tolist() == [0, 0, 1]
    assert not ties.free(numbers[:2])
    assert ties.free(numbers)


def test_its_own_inverse_is_nothing():
    ties = Ties()
    first = ties.fresh(2)
    ties.tie(first[0], first[1])
    ties.tie(first[0], -first[1])
    assert ties.settled()(first).tolist() == [0, 0]


def test_what_is_expanded_stays_so_and_broadcasts():
    ties = Ties()
    channels, other = ties.fresh(3), ties.fresh(3)
    image = channels[:, None, None].expand(3, 500, 500)
    ties.tie(image, other[:, None, None])
    settled = ties.settled()
    assert settled(image).stride() == (1, 0, 0)
    assert settled(image)[:, 7, 9].tolist() == settled(other).tolist() == [1, 2, 3]
