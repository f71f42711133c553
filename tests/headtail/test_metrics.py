import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail import metrics
from headtail.errors import TensorMismatch, UsageFault


def f32(values):
    return np.array(values, np.float32)


def f64(values):
    return np.array(values, np.float64)


ONES = np.ones((1, 4), np.float32)


def test_snr_of_a_known_error():
    # signal energy 4, error energy 4 * 0.01 -> 20 dB
    assert metrics.snr_db(reference=ONES, candidate=ONES * 0.9) == pytest.approx(20.0, abs=1e-5)


def test_snr_limits():
    assert metrics.snr_db(reference=ONES, candidate=ONES.copy()) == math.inf
    assert metrics.snr_db(reference=ONES * 0, candidate=ONES * 0) == math.inf
    assert metrics.snr_db(reference=ONES * 0, candidate=ONES) == -math.inf
    assert metrics.snr_db(reference=ONES, candidate=ONES * 0) == pytest.approx(0.0)


def test_decibels_as_text():
    told = [
        metrics.db_text(value)
        for value in (12.34, -0.5, metrics.DB_LIMIT, -metrics.DB_LIMIT, math.inf)
    ]
    assert told == ["12.3", "-0.5", "inf", "-inf", "inf"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_non_finite_element_spoils_the_candidate(bad):
    candidate = ONES.copy()
    candidate[0, 2] = bad
    assert metrics.snr_db(reference=ONES, candidate=candidate) == -math.inf
    assert metrics.psnr_db(reference=ONES, candidate=candidate) == -math.inf
    assert metrics.max_abs_diff(reference=ONES, candidate=candidate) == math.inf
    assert metrics.cosine(reference=ONES, candidate=candidate) == 0.0
    assert metrics.top1_agreement(reference=[ONES], candidate=[candidate]) == 0


def test_a_non_finite_or_empty_reference_is_refused():
    for reference in (ONES * np.nan, np.zeros((1, 0), np.float32)):
        with pytest.raises(UsageFault, match="empty or not finite"):
            metrics.snr_db(reference=reference, candidate=reference)


def test_shapes_must_match():
    with pytest.raises(TensorMismatch, match=r"shape \[4\].*shape \[1, 4\]"):
        metrics.snr_db(reference=ONES, candidate=ONES[0])


def test_squares_do_not_leave_float64():
    tiny, huge = f64([1e-300, 2e-300]), f64([1e300, 2e300])
    assert metrics.snr_db(reference=tiny, candidate=tiny * 0.9) == pytest.approx(20.0)
    assert metrics.snr_db(reference=huge, candidate=huge * 0.9) == pytest.approx(20.0)
    assert metrics.cosine(reference=huge, candidate=huge * 0.5) == pytest.approx(1.0)
    far = f64([1e308])
    assert metrics.snr_db(reference=far, candidate=-far) == -math.inf


def test_unsigned_bytes_do_not_wrap():
    reference, candidate = np.array([10], np.uint8), np.array([20], np.uint8)
    assert metrics.max_abs_diff(reference=reference, candidate=candidate) == 10


def test_psnr_uses_the_reference_peak():
    reference = f32([2.0, 0.0])
    # rms error 1, peak 2
    assert metrics.psnr_db(reference=reference, candidate=reference + 1) == pytest.approx(
        20 * math.log10(2)
    )


def test_cosine():
    x, y = f32([1, 0]), f32([0, 1])
    assert metrics.cosine(reference=x, candidate=y) == 0
    assert metrics.cosine(reference=x, candidate=-x) == -1
    assert metrics.cosine(reference=x, candidate=x * 7) == 1
    assert metrics.cosine(reference=x * 0, candidate=x) == 0


def test_top1_counts_samples():
    a, b = f32([[0, 1, 0]]), f32([[1, 0, 0]])
    assert metrics.top1_agreement(reference=[a, a, b], candidate=[a, b, b]) == 2
    with pytest.raises(TensorMismatch, match="2 reference outputs stand against 1"):
        metrics.top1_agreement(reference=[a, a], candidate=[a])


def test_wilson_against_published_values():
    # R: binom::binom.confint(x, n, methods = "wilson")
    low, high = metrics.wilson_interval(60, 60)
    assert (round(low, 3), high) == (0.940, 1.0)
    # Newcombe (1998), https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E
    # table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for successes, n, expected in (
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ):
        assert metrics.wilson_interval(successes, n) == pytest.approx(expected, abs=5e-5)
    assert metrics.wilson_interval(0, 0) == (0.0, 1.0)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_share_and_narrows_with_confidence(case):
    successes, n = case
    low, high = metrics.wilson_interval(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    inner = metrics.wilson_interval(successes, n, confidence=0.5)
    assert low <= inner[0] <= inner[1] <= high


@pytest.mark.parametrize(("successes", "n", "confidence"), [(2, 1, 0.95), (-1, 1, 0.95), (0, 1, 1)])
def test_wilson_refuses_what_is_no_proportion(successes, n, confidence):
    with pytest.raises(UsageFault, match="not a proportion"):
        metrics.wilson_interval(successes, n, confidence=confidence)


def test_degenerate_outputs_are_named():
    good = f32([[0.1, 0.9]])
    assert metrics.degenerate([good, good[:, ::-1]]) is None
    assert metrics.degenerate([good]) is None
    assert metrics.degenerate([]) == "there is no output"
    assert metrics.degenerate([good, good * 0]) == "output 1 is all zero"
    assert metrics.degenerate([good * np.nan]) == "output 0 is not finite"
    assert metrics.degenerate([f32([[3, 3]])]) == "output 0 is constant"
    assert metrics.degenerate([good, good.copy()]) == "all 2 outputs are the same"
    assert metrics.degenerate([np.zeros((1, 0))]) == "output 0 is empty"
    assert metrics.degenerate([f32([3.0])]) is None  # one number is not constant


def test_finite_db():
    assert metrics.finite_db(math.inf) == metrics.DB_LIMIT
    assert metrics.finite_db(-math.inf) == -metrics.DB_LIMIT
    assert metrics.finite_db(12.5) == 12.5
