"""Pictures with round corners: the large frame, still or moving, and the thumbnails of the strip.

A moving picture has two textures for as long as its size stays: one is drawn while the next picture
is written into the other, so that the hardware need not wait, and nothing is built anew.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from kivy.core.window import Window  # noqa: F401  # a texture made before the window crashes kivy
from kivy.graphics import Color, Mesh
from kivy.graphics.texture import Texture
from kivy.lang import Builder
from kivy.properties import (
    BooleanProperty,
    ListProperty,
    NumericProperty,
    ObjectProperty,
    StringProperty,
)
from kivy.uix.anchorlayout import AnchorLayout
from kivy.uix.behaviors import ButtonBehavior
from kivy.uix.floatlayout import FloatLayout
from kivy.uix.widget import Widget

from app.live.state import Picture
from app.sources.photo import Photo
from app.widgets import icons  # noqa: F401  # its names are used in the .kv
from app.widgets.focus import Focusable

CORNER = 9  # points of each round corner
__all__ = ["FrameButton", "FramedPicture", "PhotoFrame", "RoundButton", "Thumbnail"]


class FramedPicture(Widget):  # type: ignore[misc]  # kivy has no types
    """Draws `picture` with round corners: filling the widget but for `inset` and cut at the centre
    if `fills`, else whole. `whole` is where (x, y, width, height in the window) all of the picture
    is or, where it is cut, would be.
    """

    picture = ObjectProperty(None, allownone=True)
    fills = BooleanProperty(True)
    radius = NumericProperty(0.0)
    inset = NumericProperty(0.0)
    whole = ListProperty([0, 0, 0, 0])

    def __init__(self, **properties: Any) -> None:
        self._shown: Any = None
        self._spare: Any = None  # is not drawn, and can be written without waiting
        self._color = Color(1, 1, 1, 0)
        # kivy's RoundedRectangle draws all of a texture, whatever part of it is asked for
        self._mesh = Mesh(mode="triangle_fan", indices=list(range(CORNER * 4)))
        super().__init__(**properties)
        self.canvas.add(self._color)
        self.canvas.add(self._mesh)
        self.bind(size=self._place, pos=self._place, fills=self._place)
        self.bind(radius=self._place, inset=self._place)
        self._place()

    def on_picture(self, _widget: FramedPicture, picture: Picture | None) -> None:
        """Write the new picture into the texture that is not drawn, and draw that one."""
        if picture is None:
            self._shown = self._spare = None
            self._color.a = 0
            return
        size = (picture.pixels.shape[1], picture.pixels.shape[0])
        fresh = self._shown is None or tuple(self._shown.size) != size
        # four channels: three are converted for every draw where the hardware has only four
        texture = None if fresh else self._spare
        texture = texture or Texture.create(size=size, colorfmt="rgba", mipmap=False)
        texture.blit_buffer(picture.rgba, colorfmt="rgba", bufferfmt="ubyte")
        self._shown, self._spare = texture, None if fresh else self._shown
        self._mesh.texture = texture
        if fresh:
            self._place()
        else:
            self.canvas.ask_update()

    def _place(self, *_: object) -> None:
        room = self.width - 2 * self.inset, self.height - 2 * self.inset
        if self._shown is None or min(room) <= 0:
            self._color.a = 0
            return
        width, height = self._shown.size
        scale = (max if self.fills else min)(room[0] / width, room[1] / height)
        w, h = width * scale, height * scale
        x, y = self.x + (self.width - w) / 2, self.y + (self.height - h) / 2
        self.whole = [x, y, w, h]
        edge = [self.x + self.inset, self.y + self.inset, *room] if self.fills else self.whole
        self._mesh.vertices = _rounded(edge, self.whole, self._shown.uvsize, self.radius)
        self._color.a = 1


def _rounded(
    edge: list[float], whole: list[float], uvsize: tuple[float, float], radius: float
) -> list[float]:
    """A fan of the rectangle `edge` with round corners: x, y and where in the texture that is.

    The texture lies over `whole` with its first row at the top.
    """
    left, bottom, width, height = edge
    r = min(radius, width / 2, height / 2)
    centres = (
        (left + width - r, bottom + height - r),
        (left + r, bottom + height - r),
        (left + r, bottom + r),
        (left + width - r, bottom + r),
    )
    vertices: list[float] = []
    for quarter, (cx, cy) in enumerate(centres):
        for step in range(CORNER):
            angle = math.pi / 2 * (quarter + step / (CORNER - 1))
            x, y = cx + r * math.cos(angle), cy + r * math.sin(angle)
            u, v = (x - whole[0]) / whole[2], 1 - (y - whole[1]) / whole[3]
            vertices += (x, y, u * uvsize[0], v * uvsize[1])
    return vertices


class PhotoFrame(FramedPicture, FloatLayout):  # type: ignore[misc]  # kivy has no types
    """The large frame; its children lie on top of it."""


class FrameButton(Focusable, ButtonBehavior, Widget):  # type: ignore[misc]  # kivy has no types
    """Nothing to see: all of the frame as one button."""


class RoundButton(Focusable, ButtonBehavior, AnchorLayout):  # type: ignore[misc]  # kivy has no types
    """An icon on a disc, for lying on a picture."""

    name = StringProperty("")


class Thumbnail(Focusable, ButtonBehavior, FramedPicture):  # type: ignore[misc]  # kivy has no types
    """One photo of the strip."""

    photo: Photo = ObjectProperty(None, rebind=False)
    chosen = BooleanProperty(False)


Builder.load_file(str(Path(__file__).with_suffix(".kv")))
