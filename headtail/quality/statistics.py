"""Intervals and divergences of paired measurements: pure functions of arrays, float64 throughout.

Rows are inputs: `reference[i]` and `candidate[i]` are of the same input, and every interval makes
use of that.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from headtail.errors import UsageFault
from headtail.metrics import wilson_interval
from headtail.quality.schema import Interval
from headtail.tensors import Array

__all__ = [
    "bootstrap_mean",
    "calibration_error",
    "kl_divergence",
    "mcnemar_p_value",
    "paired_difference",
    "share",
]

Doubles = npt.NDArray[np.float64]
_AT_ONCE = 1 << 21  # indices drawn at once: 16 MiB


def share(successes: int, n: int) -> Interval:
    """`successes` / `n` with Wilson's interval."""
    return Interval(successes / n, *wilson_interval(successes, n))


def bootstrap_mean(
    values: Array, *, resamples: int, seed: int, confidence: float = 0.95
) -> Interval:
    """The mean of `values` (n,) with its percentile bootstrap interval.

    Whole inputs are drawn with replacement, so a value that compares two models on one input stays
    paired. Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3,
    https://doi.org/10.1201/9780429246593. Same seed, same interval. Of one input nothing is known
    about the spread: the interval is the value itself, and `n` beside it says why.
    """
    numbers = np.asarray(values, np.float64).reshape(-1)
    if numbers.size == 0 or resamples < 1 or not np.isfinite(numbers).all():
        raise UsageFault(
            f"A bootstrap of {resamples} resamples was asked for of {numbers.size} values.",
            expected="At least one resample of at least one value, all finite.",
            remedy="Clamp decibels with headtail.metrics.finite_db first.",
        )
    generator = np.random.default_rng(seed)
    rows = max(1, _AT_ONCE // numbers.size)
    means = [
        numbers[
            generator.integers(0, numbers.size, (min(rows, resamples - at), numbers.size))
        ].mean(axis=1)
        for at in range(0, resamples, rows)
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    mean = float(numbers.mean())
    return Interval(mean, min(float(low), mean), max(float(high), mean))


def paired_difference(
    reference: npt.NDArray[np.bool_], candidate: npt.NDArray[np.bool_]
) -> Interval:
    """Share of True in `reference` minus that in `candidate`, both (n,), of the same inputs.

    Newcombe (1998), "Improved confidence intervals for the difference between binomial proportions
    based on paired data", method 10: Wilson's intervals of the two shares, combined by their
    correlation, of which n / 2 is taken off where it would narrow the interval.
    https://doi.org/10.1002/(SICI)1097-0258(19981130)17:22%3C2635::AID-SIM954%3E3.0.CO;2-C
    """
    n = len(reference)
    both, lost = int((reference & candidate).sum()), int((reference & ~candidate).sum())
    won = int((~reference & candidate).sum())
    p, q = share(both + lost, n), share(both + won, n)
    phi = _correlation(both, lost, won, n - both - lost - won)
    value = (lost - won) / n
    below = _combined(p.value - p.low, q.high - q.value, phi)
    above = _combined(p.high - p.value, q.value - q.low, phi)
    return Interval(value, max(-1.0, value - below), min(1.0, value + above))


def _correlation(both: int, lost: int, won: int, neither: int) -> float:
    margins = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    covariance = float(both * neither - lost * won)
    if covariance > 0:
        covariance = max(0.0, covariance - (both + lost + won + neither) / 2)
    return covariance / math.sqrt(margins) if margins else 0.0


def _combined(one: float, other: float, phi: float) -> float:
    # the square is that of a distance: only rounding takes it below zero
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


def mcnemar_p_value(lost: int, won: int) -> float:
    """Exact two-sided probability of a split at least as uneven as `lost` to `won` by chance.

    McNemar (1947), https://doi.org/10.1007/BF02295996, with the binomial distribution.
    """
    discordant, fewer = lost + won, min(lost, won)
    one_sided = ways = 1
    for k in range(fewer):
        ways = ways * (discordant - k) // (k + 1)
        one_sided += ways
    return min(1.0, float(2 * one_sided / 2**discordant))


def kl_divergence(*, reference: Array, candidate: Array) -> Doubles:
    """KL(reference || candidate) per row in nats, of logits (n, classes).

    Kullback and Leibler (1951), https://doi.org/10.1214/aoms/1177729694, from log-softmax, so that
    no probability is rounded to zero.
    """
    ours, theirs = _log_softmax(reference), _log_softmax(candidate)
    divergence: Doubles = np.maximum((np.exp(ours) * (ours - theirs)).sum(axis=1), 0)
    return divergence


def _log_softmax(logits: Array) -> Doubles:
    values = np.asarray(logits, np.float64)
    shifted = values - values.max(axis=1, keepdims=True)
    result: Doubles = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def calibration_error(confidence: Array, truth: Array, *, bins: int) -> float:
    """Mean over inputs of |mean confidence - mean truth| of the input's bin, both (n,) in [0, 1].

    Bins are of equal width in `confidence`. With `truth` 1 for right and 0 for wrong answers this
    is the expected calibration error of Guo et al. (2017), section 2,
    https://arxiv.org/abs/1706.04599.
    """
    sure, right = np.asarray(confidence, np.float64), np.asarray(truth, np.float64)
    place = np.clip((sure * bins).astype(np.int64), 0, bins - 1)
    gaps = np.bincount(place, weights=sure - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(sure))
