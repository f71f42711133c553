"""Do two halves of a calibration set say the same? If not, other inputs will say something else.

Each half is calibrated with the other, and with itself: how much more noise does the other's make?
Two-fold cross-validation (Stone, 1974, https://doi.org/10.1111/j.2517-6161.1974.tb00994.x) of the
two things that a plan takes from the set:

* *ranges*: noise of rounding and clipping over the power of each integer value, summed over values,
  since that is how noise adds up along a network. On EfficientNet-Lite0, whose halves show four
  photos each, the figure is 1.8 dB and the outputs are 1.8 dB worse with the other half's ranges.
* *means*: a bias takes up what W's error makes of the mean input. A mean that is off by d leaves
  |d|^2 beside the inputs' variance, which is left anyway, whatever the errors of W are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from headtail.quality.schema import Halves
from headtail.tensors import Array
from quantizers.activation_ranges import Observed, observed
from quantizers.plan import Range
from quantizers.ranges import Histogram, estimate, range_error

if TYPE_CHECKING:
    from torch import fx

__all__ = ["LIMIT_DB", "agreement_of_halves", "compared"]

# What is estimated from twice as many inputs errs by half the power, so halves that are 2 dB apart
# (0.58 of the noise on top) cost an input that is not in the set 1.1 dB: a quarter more noise.
LIMIT_DB = 2.0
_BITS = 8


def agreement_of_halves(
    graph: fx.GraphModule, samples: Sequence[Sequence[Array]], *, static: bool = True
) -> Halves:
    """How far two halves of `samples` (every second one), each one array per input, are apart.

    `graph` is flat and float32. Without `static` ranges are not looked at. `compared` does the same
    with what was `observed` already.
    """
    return compared(observed(graph, samples, static=static))


def compared(seen: Observed) -> Halves:
    """The figures; of a single sample nothing is known, and the limit counts as missed."""
    if seen.count < 2:
        return Halves(seen.count, LIMIT_DB)
    ranges, where = _ranges(seen)
    means, layer = _means(seen)
    over = max(ranges or 0.0, means) / LIMIT_DB
    more = 0 if over <= 1 else math.ceil(seen.count * (_excess(over * LIMIT_DB) / _LIMIT - 1))
    where, layer = (seen.modules.get(name) or name for name in (where, layer))
    return Halves(seen.count, LIMIT_DB, ranges, where, means, layer, more)


def _excess(decibels: float) -> float:
    """Noise on top, as a share."""
    return float(10 ** (decibels / 10) - 1)


_LIMIT = _excess(LIMIT_DB)


def _decibels(excess: float) -> float:
    return 10 * math.log10(1 + excess)


def _ranges(seen: Observed) -> tuple[float | None, str]:
    """Decibels, and the value that has most to do with them."""
    own = 0.0
    more: dict[str, float] = {}
    for name, (a, b) in seen.values.items():
        for one, other in ((a, b), (b, a)):
            if one.empty or not one.mean_square:
                continue
            noise, foreign = (_noise(one, _range(of)) for of in (one, other))
            own += noise
            # an estimator tries some bounds only: the other half's may even be the better ones
            more[name] = more.get(name, 0.0) + foreign - noise
    if not own:
        return (None, "") if not seen.values else (0.0, "")
    return _decibels(max(0.0, sum(more.values()) / own)), max(more, key=lambda name: more[name])


def _range(seen: Histogram) -> Range:
    return estimate(seen, "mse", bits=_BITS)


def _noise(seen: Histogram, found: Range) -> float:
    """Of what was seen over a range, over its power."""
    if found.low == found.high:
        return 1.0  # everything becomes zero
    return range_error(seen, (found.low, found.high), _BITS) / seen.mean_square


def _means(seen: Observed) -> tuple[float, str]:
    """Decibels, the mean over layers of the excess; and the layer with most."""
    excess = {}
    for name, (a, b) in seen.inputs.items():
        variance = float((a.variance + b.variance).sum()) / 2
        if variance:
            excess[name] = float(((a.mean - b.mean) ** 2).sum()) / variance
    if not excess:
        return 0.0, ""
    return _decibels(float(np.mean(list(excess.values())))), max(excess, key=lambda n: excess[n])
