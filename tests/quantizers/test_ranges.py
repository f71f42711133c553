"""Range estimators on streams whose best range is known, and the histogram they read."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headtail.errors import UnknownName
from quantizers.plan import Range
from quantizers.ranges import ESTIMATORS, Histogram, estimate, range_error

FLOATS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40)


def stream(*arrays) -> Histogram:
    seen = Histogram()
    for array in arrays:
        seen.add(np.asarray(array, np.float32))
    return seen


def error(seen, method, bits=8):
    found = estimate(seen, method, bits=bits)
    return range_error(seen, (found.low, found.high), bits)


@pytest.fixture(scope="module")
def gaussian():
    return stream(np.random.default_rng(0).standard_normal(200_000))


@pytest.fixture(scope="module")
def laplace():
    return stream(np.random.default_rng(0).laplace(size=200_000))


@settings(max_examples=20, deadline=None)
@given(FLOATS, FLOATS)
@example([8192.0], [-1.401298464324817e-45])  # which halved is zero in float32
def test_a_stream_counts_the_same_however_it_is_cut(first, second):
    one, two = stream(first, second), stream(second + first)
    assert np.array_equal(one.counts, two.counts)
    assert one.limit == two.limit
    assert (one.low, one.high) == (min(first + second), max(first + second))
    merged = stream(first).merged(stream(second))
    assert np.array_equal(merged.counts, two.counts)
    assert (merged.limit, merged.low, merged.high) == (two.limit, two.low, two.high)


@settings(max_examples=20, deadline=None)
@given(FLOATS, st.sampled_from(sorted(ESTIMATORS)), st.booleans())
def test_zero_is_inside_and_nothing_reaches_further_than_what_was_seen(values, method, symmetric):
    found = estimate(stream(values), method, symmetric=symmetric)
    assert found.low <= 0 <= found.high
    most = max(map(abs, values))
    assert found.low >= (-most if symmetric else min(0, *values))
    assert found.high <= (most if symmetric else max(0, *values))
    if symmetric:
        assert found.low == -found.high


def test_minmax_is_exact():
    assert estimate(stream([0.1, 0.7], [-0.3]), "minmax") == Range(
        float(np.float32(-0.3)), float(np.float32(0.7))
    )


def test_what_is_not_finite_is_left_out():
    assert estimate(stream([np.nan, 1.0, np.inf], [-np.inf, 0.5]), "minmax") == Range(0.0, 1.0)
    assert stream([np.nan], []).empty
    for method in ESTIMATORS:
        assert estimate(stream([np.nan]), method) == Range(0.0, 0.0)


def test_percentile_leaves_one_in_ten_thousand_out(gaussian):
    found = estimate(gaussian, "percentile")
    # of the normal distribution; 20 of the 200,000 values lie beyond each end
    assert found.high == pytest.approx(3.719, rel=0.05)
    assert found.low == pytest.approx(-3.719, rel=0.05)
    assert estimate(gaussian, "percentile", symmetric=True).high == pytest.approx(3.89, rel=0.05)


def test_mse_clips_where_the_error_is_least(laplace):
    found = estimate(laplace, "mse", bits=4)
    ends = np.linspace(2, laplace.high, 200)
    everywhere = [range_error(laplace, (-end, end), 4) for end in ends]
    assert range_error(laplace, (found.low, found.high), 4) <= 1.02 * min(everywhere)
    assert error(laplace, "mse", 4) < 0.5 * error(laplace, "minmax", 4)
    for other in ("percentile", "entropy"):
        assert error(laplace, "mse", 4) <= error(laplace, other, 4)


@pytest.mark.parametrize(
    ("name", "bits", "best"),
    # in units of the distribution's own: https://arxiv.org/abs/1810.05723, section 3
    [("gaussian", 4, 2.55), ("gaussian", 8, 3.92), ("laplace", 4, 5.03), ("laplace", 6, 7.41)],
)
def test_mse_is_at_the_published_optimum(request, name, bits, best):
    found = estimate(request.getfixturevalue(name), "mse", bits=bits, symmetric=True)
    assert found.high == pytest.approx(best, rel=0.06)


def test_what_a_relu_caps_is_kept_whole():
    values = np.clip(np.random.default_rng(0).standard_normal(100_000) * 4, 0, 6)
    for method in ESTIMATORS:  # a third of the values is zero, a fifteenth is six
        assert estimate(stream(values), method) == Range(0.0, 6.0)


def test_entropy_cuts_an_outlier_and_keeps_the_rest():
    values = np.maximum(np.random.default_rng(0).standard_normal(200_000), 0)
    found = estimate(stream(values, [50.0]), "entropy")
    assert values.max() < found.high < 25


def test_an_unknown_estimator_lists_what_exists(gaussian):
    with pytest.raises(UnknownName, match=r"Known: entropy, minmax, mse, percentile"):
        estimate(gaussian, "mean")
