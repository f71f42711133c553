"""How much two tensors differ: decibels, distances, agreement, and when an output is worthless.

Everything is keyword-only (`reference=`, `candidate=`), because two positional arrays get swapped,
and everything is computed in float64. A candidate with a NaN or an infinity never scores well; a
*reference* with one is refused, since no comparison with it means anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from headtail.errors import TensorMismatch, UsageFault
from headtail.tensors import Array

__all__ = [
    "DB_LIMIT",
    "cosine",
    "db_text",
    "degenerate",
    "finite_db",
    "max_abs_diff",
    "psnr_db",
    "snr_db",
    "top1_agreement",
    "wilson_interval",
]

Doubles = npt.NDArray[np.float64]

DB_LIMIT = 400.0  # stands for infinity where JSON, which has none, holds decibels


def snr_db(*, reference: Array, candidate: Array) -> float:
    """Signal-to-noise ratio in dB: 10 log10(sum reference^2 / sum (reference - candidate)^2).

    Same shapes, any real dtypes. `inf` if equal everywhere; `-inf` if the candidate is not finite
    or the reference is all zero and the candidate is not. Raises `TensorMismatch` on other shapes,
    `UsageFault` on an empty or non-finite reference.
    """
    signal, error = _signal_and_error(reference, candidate)
    if error is None:
        return -math.inf
    if not error.any():
        return math.inf
    return _energy_db(signal) - _energy_db(error)


def finite_db(value_db: float) -> float:
    """`value_db` clamped to [-DB_LIMIT, DB_LIMIT], for manifests and reports."""
    return max(-DB_LIMIT, min(DB_LIMIT, value_db))


def db_text(value_db: float) -> str:
    """One decimal; `inf` for what `DB_LIMIT` stands for, which are equal tensors."""
    if abs(value_db) >= DB_LIMIT:
        return "inf" if value_db > 0 else "-inf"
    return f"{value_db:.1f}"


def psnr_db(*, reference: Array, candidate: Array) -> float:
    """Peak SNR in dB: 20 log10(max |reference| / root mean square error). Limits as `snr_db`."""
    signal, error = _signal_and_error(reference, candidate)
    if error is None:
        return -math.inf
    if not error.any():
        return math.inf
    peak = float(np.abs(signal).max())
    mean_error_db = _energy_db(error) - 10 * math.log10(error.size)
    return (20 * math.log10(peak) if peak else -math.inf) - mean_error_db


def max_abs_diff(*, reference: Array, candidate: Array) -> float:
    """Largest |reference - candidate|; `inf` if the candidate is not finite."""
    _, error = _signal_and_error(reference, candidate)
    return math.inf if error is None else float(np.abs(error).max())


def cosine(*, reference: Array, candidate: Array) -> float:
    """Cosine of the angle between the flattened tensors, in [-1, 1].

    1 if equal, 0 if just one of them is all zero or the candidate is not finite.
    """
    signal, error = _signal_and_error(reference, candidate)
    if error is None:
        return 0.0
    if not error.any():
        return 1.0
    other = candidate.astype(np.float64).reshape(-1)
    sizes = [float(np.abs(vector).max()) for vector in (signal, other)]
    if 0.0 in sizes:
        return 0.0
    # dividing by the largest element first keeps the squares inside float64
    a, b = signal / sizes[0], other / sizes[1]
    return max(-1.0, min(1.0, float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))))


def top1_agreement(*, reference: Sequence[Array], candidate: Sequence[Array]) -> int:
    """For how many samples both outputs have their largest element at the same place.

    One output of shape (1, classes) per sample. A non-finite candidate never agrees.
    """
    if len(reference) != len(candidate):
        raise TensorMismatch(
            f"{len(reference)} reference outputs stand against {len(candidate)} candidates.",
            expected="One candidate per reference.",
            remedy="Run both models on the same samples.",
        )
    agreed = 0
    for ours, theirs in zip(reference, candidate, strict=True):
        signal, error = _signal_and_error(ours, theirs)
        agreed += error is not None and int(signal.argmax()) == int(theirs.reshape(-1).argmax())
    return agreed


def wilson_interval(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion: honest at 60 of 60, where the naive one has width 0.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference",
    https://doi.org/10.1080/01621459.1927.10502953. With n = 0 nothing is known: (0, 1).
    """
    if not 0 <= successes <= n or not 0 < confidence < 1:
        raise UsageFault(
            f"{successes} of {n} successes at confidence {confidence} is not a proportion.",
            expected="0 <= successes <= n and 0 < confidence < 1.",
            remedy="Correct the counts.",
        )
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = successes / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # the ends are exact at 0 and n successes; rounding must not push them past
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return low, 1.0 if successes == n else min(1.0, centre + half)


def degenerate(outputs: Sequence[Array]) -> str | None:
    """Why these outputs (one per sample) prove nothing, or None if they might.

    An output that is not finite, all zero or constant; or the same output for every sample.
    """
    if not outputs:
        return "there is no output"
    for i, output in enumerate(outputs):
        fault = _fault(output)
        if fault:
            return f"output {i} is {fault}"
    if len(outputs) > 1 and all(np.array_equal(outputs[0], other) for other in outputs[1:]):
        return f"all {len(outputs)} outputs are the same"
    return None


def _fault(output: Array) -> str | None:
    if output.size == 0:
        return "empty"
    if not np.isfinite(output).all():
        return "not finite"
    if not output.any():
        return "all zero"
    constant = output.size > 1 and bool((output == output.flat[0]).all())
    return "constant" if constant else None


def _signal_and_error(reference: Array, candidate: Array) -> tuple[Doubles, Doubles | None]:
    """Flattened reference and reference - candidate; the error is None if not finite."""
    if reference.shape != candidate.shape:
        raise TensorMismatch(
            f"The candidate has shape {list(candidate.shape)}.",
            expected=f"The reference has shape {list(reference.shape)}.",
            remedy="Compare tensors of the same shape.",
        )
    signal = reference.astype(np.float64).reshape(-1)
    if signal.size == 0 or not np.isfinite(signal).all():
        raise UsageFault(
            f"The reference {reference.dtype.name}{list(reference.shape)} is empty or not finite.",
            expected="A reference has elements, all finite.",
            remedy="Check the reference model and its input.",
        )
    with np.errstate(over="ignore", invalid="ignore"):  # a non-finite candidate is a result here
        error = signal - candidate.astype(np.float64).reshape(-1)
    return signal, error if np.isfinite(error).all() else None


def _energy_db(values: Doubles) -> float:
    """10 log10(sum values^2) without overflow or underflow of the squares; -inf for zeros."""
    largest = float(np.abs(values).max())
    if largest == 0:
        return -math.inf
    scaled = values / largest
    return 20 * math.log10(largest) + 10 * math.log10(float(scaled @ scaled))
