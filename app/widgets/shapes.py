"""Shapes with smooth edges of their own: plates with round corners, rims, and corners laid over a
picture.

Kivy's shapes are smoothed by multisampling, which paints every pixel of the window four times: in
software that is half of a frame's time, on a phone it is paid for in battery. Here an edge is a
strip one pixel wide that fades out, so the window needs no multisampling (see `app.widgets`).

A border is a `Rim`, not one plate laid on another: what is covered is painted all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from kivy.clock import Clock
from kivy.core.window import Window  # noqa: F401  # a texture made before the window crashes kivy
from kivy.factory import Factory
from kivy.graphics import Mesh
from kivy.graphics.texture import Texture

__all__ = ["Corners", "Plate", "Rim", "across_line"]

POINTS = 8  # of each corner
AROUND = 4 * POINTS
LEVELS = 64  # of opacity, across an edge
SOLID, CLEAR = 0.5 / LEVELS, 1 - 0.5 / LEVELS  # where in the ramp
RAMP = tuple(np.linspace(1, 0, LEVELS))
HALF = 0.5  # pixels that an edge fades on either side
_turns = np.pi / 2 * (np.arange(4)[:, None] + np.linspace(0, 1, POINTS))
COS, SIN = np.cos(_turns).ravel(), np.sin(_turns).ravel()
RIGHT = np.repeat([1.0, 0.0, 0.0, 1.0], POINTS)  # which points are of a corner at the right
TOP = np.repeat([1.0, 1.0, 0.0, 0.0], POINTS)
ORDER = (1, 0, 3, 2)  # kivy tells radii from the top left on, clockwise


def _strips(*rings: int, closed: bool = True) -> list[int]:
    """Triangles between the rings of points that stand at those places among the vertices."""
    found: list[int] = []
    for near, far in pairwise(rings):
        for i in range(AROUND):
            j = (i + 1) % AROUND
            if closed or i // POINTS == j // POINTS:
                a, b = AROUND * near + i, AROUND * far + i
                c, d = AROUND * far + j, AROUND * near + j
                found += (a, b, c, a, c, d)
    return found


_FAN = [corner for i in range(1, AROUND - 1) for corner in (0, i, i + 1)]
PLATE = np.array(_FAN + _strips(0, 1), np.uint16)
RIM = np.array(_strips(0, 1, 2, 3), np.uint16)
CORNERS = np.array(_strips(0, 1, 2, closed=False), np.uint16)


def across_line(thickness: float) -> Any:
    """The texture across a line so many pixels thick and one more, half of it on either side."""
    distances = np.abs(np.linspace(-HALF, HALF, LEVELS) * (thickness + 1))
    return _faded(tuple(np.clip((thickness + 1) / 2 - distances, 0, 1)))


@lru_cache
def _faded(opacities: tuple[float, ...]) -> Any:
    """A row of opacities in [0, 1] as a texture; filled again when a phone lost it."""
    pixels = np.full((len(opacities), 4), 255, np.uint8)
    pixels[:, 3] = np.round(255 * np.array(opacities))

    def fill(texture: Any) -> None:
        texture.blit_buffer(pixels.tobytes(), colorfmt="rgba", bufferfmt="ubyte")

    texture = Texture.create(size=(len(opacities), 1), colorfmt="rgba", mipmap=False)
    texture.min_filter = texture.mag_filter = "nearest"
    texture.wrap = "clamp_to_edge"
    fill(texture)
    texture.add_reload_observer(fill)
    return texture


def _ring(
    box: Sequence[float], radii: npt.NDArray[np.float64], out: float, opacity: float
) -> npt.NDArray[np.float32]:
    """Vertices (AROUND, 4) around the box x, y, width, height, `out` pixels outside of it."""
    x, y, width, height = box
    found = np.empty((AROUND, 4), np.float32)
    found[:, 0] = x + width * RIGHT + radii * (COS - 2 * RIGHT + 1) + out * COS
    found[:, 1] = y + height * TOP + radii * (SIN - 2 * TOP + 1) + out * SIN
    found[:, 2], found[:, 3] = opacity, HALF
    return found


def _radii(radius: float | Sequence[float], width: float, height: float) -> Any:
    four = [radius] * 4 if isinstance(radius, int | float) else [radius[i] for i in ORDER]
    right, left, bottom_left, bottom_right = four
    # all of them are shortened alike where two do not fit on a side, as in CSS
    sides = (
        (width, max(right + left, bottom_left + bottom_right)),
        (height, max(right + bottom_right, left + bottom_left)),
    )
    share = min([1.0, *(max(0.0, side) / both for side, both in sides if both > 0)])
    return np.repeat([share * value for value in four], POINTS)


_changed: dict[Any, None] = {}


def _draw_changed(_dt: float) -> None:
    while _changed:
        _changed.popitem()[0].draw()


_before_frame = Clock.create_trigger(_draw_changed, -1)


def _late(shape: Any) -> Callable[[], None]:
    """What has `shape` drawn once before the next frame, however often it is moved until then."""

    def changed() -> None:
        _changed[shape] = None
        _before_frame()

    return changed


class _Shape(Mesh):  # type: ignore[misc]  # kivy has no types
    """`pos`, `size` and `radius` (one, or four from the top left on) as of kivy's shapes."""

    triangles = PLATE

    def __init__(self, **properties: Any) -> None:
        self._draw = _late(self)
        self._pos: tuple[float, float] = (0.0, 0.0)
        self._size: tuple[float, float] = (0.0, 0.0)
        self._radius: float | Sequence[float] = 0.0
        super().__init__(mode="triangles", texture=_faded(RAMP))
        for name, value in properties.items():
            setattr(self, name, value)

    @property
    def pos(self) -> Any:
        """x and y of the lower left."""
        return self._pos

    @pos.setter
    def pos(self, pos: Sequence[float]) -> None:
        if tuple(pos) != self._pos:
            self._pos = (pos[0], pos[1])
            self._draw()

    @property
    def size(self) -> Any:
        """Width and height; without either nothing is drawn."""
        return self._size

    @size.setter
    def size(self, size: Sequence[float]) -> None:
        if tuple(size) != self._size:
            self._size = (size[0], size[1])
            self._draw()

    @property
    def radius(self) -> Any:
        """Of the corners."""
        return self._radius

    @radius.setter
    def radius(self, radius: Any) -> None:
        self._radius = radius
        self._draw()

    def draw(self) -> None:
        """Make the vertices."""
        seen = min(self._size) > 0
        nothing: list[float] = []
        outline = self._outline((*self._pos, *self._size)).reshape(-1) if seen else nothing
        self.vertices, self.indices = outline, self.triangles if seen else nothing

    def _outline(self, box: tuple[float, ...]) -> Any:
        raise NotImplementedError


class Plate(_Shape):
    """A filled rectangle with round corners; one with corners of half its size is a disc."""

    def _outline(self, box: tuple[float, ...]) -> Any:
        radii = _radii(self._radius, *self._size)
        half = min(HALF, *(side / 2 for side in self._size))
        return np.concatenate((_ring(box, radii, -half, SOLID), _ring(box, radii, half, CLEAR)))


class Rim(_Shape):
    """What lies between a rectangle with round corners and another `inner` (x, y, width, height,
    radius) within it."""

    triangles = RIM

    def __init__(self, **properties: Any) -> None:
        self._inner: tuple[float, ...] = (0, 0, 0, 0, 0)
        super().__init__(**properties)

    @property
    def inner(self) -> Any:
        """The hole."""
        return self._inner

    @inner.setter
    def inner(self, inner: Sequence[float]) -> None:
        if tuple(inner) != self._inner:
            self._inner = tuple(inner)
            self._draw()

    def _outline(self, box: tuple[float, ...]) -> Any:
        outer, hole = _radii(self._radius, *self._size), self._inner[:4]
        inner = _radii(self._inner[4], *hole[2:])
        return np.concatenate(
            (
                _ring(box, outer, HALF, CLEAR),
                _ring(box, outer, -HALF, SOLID),
                _ring(hole, inner, HALF, SOLID),
                _ring(hole, inner, -HALF, CLEAR),
            )
        )


class Corners(_Shape):
    """What a rectangle loses when its corners are rounded: laid over it in the colour behind."""

    triangles = CORNERS

    def _outline(self, box: tuple[float, ...]) -> Any:
        radii = _radii(self._radius, *self._size)
        return np.concatenate(
            (
                _ring(box, np.zeros(AROUND), 0.0, SOLID),
                _ring(box, radii, HALF, SOLID),
                _ring(box, radii, -HALF, CLEAR),
            )
        )


for _kind in (Corners, Plate, Rim):
    Factory.register(_kind.__name__, cls=_kind)
