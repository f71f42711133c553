"""Line icons, painted once for each size; no font and no picture file has to be shipped for them.

Each is a list of strokes on a grid of 24 x 24 with its origin at the bottom left: a polyline
`(x, y, x, y, ...)` or a circle `(x, y, radius)`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from kivy.core.window import Window  # noqa: F401  # a texture made before the window crashes kivy
from kivy.graphics import Color, Rectangle
from kivy.graphics.texture import Texture
from kivy.metrics import dp
from kivy.properties import ListProperty, StringProperty
from kivy.uix.behaviors import ButtonBehavior
from kivy.uix.widget import Widget

from app.widgets.focus import Focusable

__all__ = ["ICONS", "Icon", "IconButton"]

GRID = 24
THIN = 1.15  # dp; half the width of a stroke
CIRCLE = 3  # numbers that make one
FINE = 8  # times the size at which strokes are painted before they are shrunk
ICONS: dict[str, tuple[tuple[float, ...], ...]] = {
    "Live": ((12, 12, 9), (12, 12, 3.5)),
    "Models": (
        (12, 21, 21, 16, 12, 11, 3, 16, 12, 21),
        (3, 12, 12, 7, 21, 12),
        (3, 8, 12, 3, 21, 8),
    ),
    "Offload": (
        (8, 4, 8, 20),
        (4, 16, 8, 20, 12, 16),
        (16, 20, 16, 4),
        (12, 8, 16, 4, 20, 8),
    ),
    "Benchmark": ((5, 4, 5, 12), (12, 4, 12, 20), (19, 4, 19, 15)),
    "Report": (
        (6, 3, 18, 3, 18, 21, 6, 21, 6, 3),
        (9, 16, 15, 16),
        (9, 12, 15, 12),
        (9, 8, 13, 8),
    ),
    "Settings": (
        (3, 18, 7, 18),
        (9, 18, 2),
        (11, 18, 21, 18),
        (3, 12, 13, 12),
        (15, 12, 2),
        (17, 12, 21, 12),
        (3, 6, 7, 6),
        (9, 6, 2),
        (11, 6, 21, 6),
    ),
    "back": ((15, 4, 7, 12, 15, 20),),
    "close": ((5, 5, 19, 19), (5, 19, 19, 5)),
    "play": ((7, 4, 19, 12, 7, 20, 7, 4),),
    "pause": ((8, 5, 8, 19), (16, 5, 16, 19)),
    "camera": (
        (3, 6, 21, 6, 21, 18, 16, 18, 14, 20, 10, 20, 8, 18, 3, 18, 3, 6),
        (12, 12, 3.5),
    ),
    "photo": (
        (3, 4, 21, 4, 21, 20, 3, 20, 3, 4),
        (3, 7, 9, 13, 14, 8, 17, 11, 21, 7),
        (16, 16, 1.5),
    ),
    "demo": ((3, 5, 21, 5, 21, 19, 3, 19, 3, 5), (6, 9, 9, 15, 12, 9, 15, 15, 18, 9)),
    "folder": ((3, 5, 21, 5, 21, 17, 12, 17, 10, 20, 3, 20, 3, 5),),
    "download": ((12, 20, 12, 8), (7, 13, 12, 8, 17, 13), (4, 4, 20, 4)),
    "delete": ((5, 18, 19, 18), (9, 18, 9, 21, 15, 21, 15, 18), (7, 18, 8, 3, 16, 3, 17, 18)),
    "share": (
        (12, 8, 12, 21),
        (8, 17, 12, 21, 16, 17),
        (6, 12, 4, 12, 4, 3, 20, 3, 20, 12, 18, 12),
    ),
    "more": ((5, 12, 1), (12, 12, 1), (19, 12, 1)),
}


class Icon(Widget):  # type: ignore[misc]  # kivy has no types
    """The icon `name` of `ICONS`, as large as the widget's shorter side allows."""

    name = StringProperty("")
    color = ListProperty([0, 0, 0, 1])

    def __init__(self, **properties: Any) -> None:
        self._ink, self._drawn = Color(), Rectangle(size=(0, 0))
        super().__init__(**properties)
        self.canvas.add(self._ink)
        self.canvas.add(self._drawn)
        self.bind(pos=self._draw, size=self._draw, name=self._draw, color=self._draw)
        self._draw()

    def _draw(self, *_: object) -> None:
        side = round(min(self.width, self.height))
        self._ink.rgba = self.color
        if side <= 0 or self.name not in ICONS:
            self._drawn.size = (0, 0)
            return
        self._drawn.texture = _texture(self.name, side, dp(THIN))
        # not center_x: it may still be that of before the move that is told here
        left, bottom = self.x + (self.width - side) / 2, self.y + (self.height - side) / 2
        self._drawn.pos, self._drawn.size = (round(left), round(bottom)), (side, side)


@lru_cache(maxsize=100)
def _texture(name: str, side: int, thin: float) -> Any:
    """White strokes on nothing, drawn once for each size and again when a phone lost them."""
    pixels = _painted(name, side, thin)

    def fill(texture: Any) -> None:
        texture.blit_buffer(pixels, colorfmt="rgba", bufferfmt="ubyte")

    texture = Texture.create(size=(side, side), colorfmt="rgba", mipmap=False)
    texture.flip_vertical()
    fill(texture)
    texture.add_reload_observer(fill)
    return texture


def _painted(name: str, side: int, thin: float) -> bytes:
    """side x side RGBA pixels, top row first."""
    from PIL import Image, ImageDraw

    scale = side * FINE / GRID
    image = Image.new("L", (side * FINE, side * FINE))
    draw = ImageDraw.Draw(image)

    def dot(x: float, y: float, radius: float, fill: int) -> None:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    half = thin * FINE
    for stroke in ICONS[name]:
        if len(stroke) == CIRCLE:
            x, y, radius = stroke[0] * scale, (GRID - stroke[1]) * scale, stroke[2] * scale
            dot(x, y, radius + half, 255)
            if radius > half:
                dot(x, y, radius - half, 0)
            continue
        points = [(x * scale, (GRID - y) * scale) for x, y in zip(*[iter(stroke)] * 2, strict=True)]
        draw.line(points, fill=255, width=round(2 * half))
        for x, y in points:  # round ends and joints
            dot(x, y, half, 255)
    alpha = image.reduce(FINE)
    white = Image.new("L", alpha.size, 255)
    return Image.merge("RGBA", (white, white, white, alpha)).tobytes()


class IconButton(Focusable, ButtonBehavior, Icon):  # type: ignore[misc]  # kivy has no types
    """An icon that can be pressed; give it at least 44 dp, the smallest target for a thumb."""
