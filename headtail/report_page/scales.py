"""From values to places, with round numbers for the ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headtail.metrics import DB_LIMIT

__all__ = ["LogScale", "Scale", "drawable", "round_step"]

ROOM = 1.3, 1.15  # ratios of the values to the ends of a logarithmic scale
# mantissas of ticks, from coarse to fine
_SERIES = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 2.0, 3.0, 5.0, 7.0),
    (1.0, 1.5, 2, 3, 4, 6, 8),
)


def round_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that divides `span` into at most `most`."""
    if span <= 0:
        return 1.0
    power = math.pow(10, math.floor(math.log10(span / most)))
    return next(
        step * power for step in (1.0, 2.0, 5.0, 10.0, 20.0) if span / (step * power) <= most
    )


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` at places from `start` to `end`; `step` between ticks."""

    low: float
    high: float
    start: float
    end: float
    step: float

    @classmethod
    def over(
        cls, values: Iterable[float], *, start: float, end: float, zero: bool = False, most: int = 5
    ) -> Scale:
        """Round ends around the values; `zero` is inside if asked for."""
        held = [*values, *([0.0] if zero else [])] or [0.0, 1.0]
        low, high = min(held), max(held)
        step = round_step(high - low or abs(high) or 1.0, most)
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        return cls(low, high if high > low else low + step, start, end, step)

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values and what to call them."""
        count = round((self.high - self.low) / self.step)
        digits = max(0, -math.floor(math.log10(self.step) + 1e-9))
        values = [self.low + i * self.step for i in range(count + 1)]
        return [(value, f"{value:.{digits}f}") for value in values]


@dataclass(frozen=True)
class LogScale:
    """Positive values from `low` to `high`; equal ratios are equal distances."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], *, start: float, end: float) -> LogScale:
        """Around the values, with some room at both ends."""
        return cls(min(values) / ROOM[0], max(values) * ROOM[1], start, end)

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 7) -> list[tuple[float, str]]:
        """Round values and what to call them: of the finest series that has at most `most`."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found: list[float] = []
        for series in _SERIES:
            values = [m * 10.0**decade for decade in decades for m in series]
            held = [value for value in values if self.low <= value <= self.high]
            if len(held) <= most:
                found = held
        if len(found) < 2:  # nearly one value: what a linear scale would write
            step = round_step(self.high - self.low, most)
            first = math.ceil(self.low / step)
            found = [i * step for i in range(first, math.floor(self.high / step) + 1)]
        return [(value, f"{value:.6g}") for value in found]


def drawable(values: Sequence[float]) -> list[float]:
    """Decibels as heights: where two tensors are equal, as high as the highest other value."""
    finite = [value for value in values if abs(value) < DB_LIMIT]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    return [min(max(value, low), high) for value in values]
