"""Labels that keep out of each other's way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Box", "Tag", "apart", "place_labels"]

LETTER = 9.4  # width of a letter, in units, in the larger type of a narrow screen
LINE = 15.0
NEAR = 3.0  # between a mark and its label
REACHES = (0.0, 13.0, 26.0, 40.0)  # how much further a label may stand
BEARABLE = 24.0  # area that a label may cover before it is left out


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


@dataclass(frozen=True)
class Tag:
    """Words beside a mark. Those that are not `needed` are left out where there is no room."""

    mark: Box
    words: str
    needed: bool


def place_labels(tags: Sequence[Tag], taken: Sequence[Box], frame: Box) -> list[Box | None]:
    """A place for the words of each tag, or None where there is none, in the order given.

    Greedy, the needed first: of the places around the mark the one that covers least of marks,
    `taken` and labels, and of these the nearest.
    """
    placed: dict[int, Box] = {}
    for i, tag in sorted(enumerate(tags), key=lambda pair: not pair[1].needed):
        busy = [*(other.mark for other in tags), *taken, *placed.values()]
        choices = [
            (sum(map(box.shared, busy)) + 20 * box.outside(frame), reach, n, box)
            for n, (reach, box) in enumerate(_around(tag.mark, len(tag.words) * LETTER))
        ]
        covered, _, _, box = min(choices, key=lambda choice: (choice[0] + choice[1] / 4, choice[2]))
        if tag.needed or covered <= BEARABLE:
            placed[i] = box
    return [placed.get(i) for i in range(len(tags))]


def _around(mark: Box, width: float) -> Iterator[tuple[float, Box]]:
    """Right, left, above, below and the corners, near and further away."""
    middle, level = mark.x + (mark.width - width) / 2, mark.y + (mark.height - LINE) / 2
    for reach in REACHES:
        right, left = mark.x + mark.width + NEAR + reach, mark.x - width - NEAR - reach
        above, below = mark.y - LINE - 1 - reach, mark.y + mark.height + 1 + reach
        places = [(right, level), (left, level), (middle, above), (middle, below)]
        places += [(x, y) for y in (below, above) for x in (right - 2, left + 2)]
        yield from ((reach, Box(x, y, width, LINE)) for x, y in places)
