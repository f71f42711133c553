"""From values to places: a linear scale with round ticks, and labels that keep out of each other's
way."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headtail.metrics import DB_LIMIT

__all__ = ["Box", "Scale", "apart", "drawable", "place_labels", "round_step"]

LETTER = 9.4  # width of a letter, in units, in the larger type of a narrow screen
LINE = 15.0


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


def drawable(values: Sequence[float]) -> list[float]:
    """Decibels as heights: where two tensors are equal, as high as the highest other value."""
    finite = [value for value in values if abs(value) < DB_LIMIT]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    return [min(max(value, low), high) for value in values]


def apart(places: Sequence[float], gap: float) -> list[float]:
    """The places in their order from least to most, moved on where they are nearer than `gap`."""
    moved = list(places)
    order = sorted(range(len(moved)), key=lambda i: moved[i])
    for before, after in itertools.pairwise(order):
        moved[after] = max(moved[after], moved[before] + gap)
    return moved


@dataclass(frozen=True)
class Box:
    """A rectangle by its left top corner."""

    x: float
    y: float
    width: float
    height: float

    def shared(self, other: Box) -> float:
        """The area that both cover."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0.0, across) * max(0.0, down)

    def outside(self, frame: Box) -> float:
        """The area that the frame does not cover."""
        return max(0.0, round(self.width * self.height - self.shared(frame), 6))


def place_labels(marks: Sequence[tuple[Box, str]], taken: Sequence[Box], frame: Box) -> list[Box]:
    """A place beside each mark for its text, where it covers least of marks, `taken`, other labels.

    Greedy in the order given, over eight places around the mark: right, left, above, below, and
    the corners.
    """
    obstacles = [*(box for box, _ in marks), *taken]
    placed: list[Box] = []
    for mark, words in marks:
        choices = _around(mark, len(words) * LETTER)
        busy = [*obstacles, *placed]
        placed.append(
            min(
                choices,
                key=lambda box: sum(map(box.shared, busy)) + 20 * box.outside(frame),
            )
        )
    return placed


def _around(mark: Box, width: float) -> list[Box]:
    right, left = mark.x + mark.width + 3, mark.x - width - 3
    middle = mark.x + (mark.width - width) / 2
    level = mark.y + (mark.height - LINE) / 2
    above, below = mark.y - LINE - 1, mark.y + mark.height + 1
    corners = [(right, level), (left, level), (middle, above), (middle, below)]
    corners += [(x, y) for y in (below, above) for x in (right - 2, left + 2)]
    return [Box(x, y, width, LINE) for x, y in corners]
