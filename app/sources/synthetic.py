"""A pattern that moves, for trying a model where there is no camera: the same on every device."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from app.sources.stream import Stream, Timed
from headtail.preprocess import Frame

__all__ = ["Pattern", "draw_pattern"]

WIDTH, HEIGHT = 640, 480
PERIOD = 180  # frames until it is as it was
FRAMES_PER_S = 30
RADIUS = 96
COLOURS = ((232, 74, 60), (242, 179, 51), (66, 166, 104), (51, 72, 214), (150, 80, 190))


class Pattern(Stream):
    """Frames of 640 x 480 pixels, 30 a second unless `frames_per_s` says otherwise."""

    def __init__(self, *, frames_per_s: float = FRAMES_PER_S) -> None:
        super().__init__("demo pattern")
        self._shown_s = 1 / frames_per_s

    def frames(self) -> Iterator[Timed]:
        """Without end."""
        ground = _ground()
        number = 0
        while True:
            yield Timed(draw_pattern(number, ground), self._shown_s)
            number += 1


def draw_pattern(number: int, ground: Frame | None = None) -> Frame:
    """Frame `number`: a disc on its way round, before a ground of grey that goes by."""
    ground = _ground() if ground is None else ground
    frame = np.roll(ground, 4 * number, axis=1)
    angle = 2 * math.pi * number / PERIOD
    x = WIDTH // 2 + round(math.cos(angle) * (WIDTH // 2 - RADIUS - 16))
    y = HEIGHT // 2 + round(math.sin(2 * angle) * (HEIGHT // 2 - RADIUS - 16))
    colour = COLOURS[number * len(COLOURS) // PERIOD % len(COLOURS)]
    patch = frame[y - RADIUS : y + RADIUS, x - RADIUS : x + RADIUS]
    patch[_DISC] = colour
    return frame


def _ground() -> Frame:
    x = np.arange(WIDTH)[None] * 2 * math.pi / WIDTH
    y = np.arange(HEIGHT)[:, None] * 2 * math.pi / HEIGHT
    shade = 150 + 50 * np.sin(2 * x + np.sin(y)) + 25 * np.cos(3 * y)
    tint = np.array([1.0, 0.97, 0.9])
    return np.asarray(shade[..., None] * tint, np.uint8)


def _disc() -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    offset = np.arange(-RADIUS, RADIUS) + 0.5
    return np.asarray(offset[:, None] ** 2 + offset[None] ** 2 <= RADIUS**2)


_DISC = _disc()
