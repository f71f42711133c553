"""Pictures with round corners: the large frame, still or moving, and the thumbnails of the strip.

Every picture gets a texture of its own. To write into one that was drawn before waits up to a
frame, until whatever draws has caught up: measured where a processor draws
(`benchmarks/app_live.py`), also with three or six textures in turn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kivy.core.window import Window  # noqa: F401  # a texture made before the window crashes kivy
from kivy.graphics import Color, Rectangle
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

from app.live.picture import Picture
from app.sources.photo import Photo
from app.widgets import icons  # noqa: F401  # its names are used in the .kv
from app.widgets.focus import Focusable
from app.widgets.shapes import Corners

__all__ = ["FrameButton", "FramedPicture", "PhotoFrame", "RoundButton", "Thumbnail"]


class FramedPicture(Widget):  # type: ignore[misc]  # kivy has no types
    """Draws `picture` with round corners in the colour `behind`: filling the widget but for `inset`
    and cut at the centre if `fills`, else whole. `whole` is where (x, y, width, height in the
    window) all of the picture is or, where it is cut, would be; `edge` what is seen of it, without
    width where there is none.
    """

    picture = ObjectProperty(None, allownone=True)
    fills = BooleanProperty(True)
    radius = NumericProperty(0.0)
    inset = NumericProperty(0.0)
    behind = ListProperty([0, 0, 0, 1])
    whole = ListProperty([0, 0, 0, 0])
    edge = ListProperty([0, 0, 0, 0])

    def __init__(self, **properties: Any) -> None:
        self._shown: Any = None
        self._coords: list[float] = []
        self._color, self._behind = Color(1, 1, 1, 1), Color()
        self._seen, self._corners = Rectangle(size=(0, 0)), Corners()
        super().__init__(**properties)
        for part in (self._color, self._seen, self._behind, self._corners):
            self.canvas.add(part)
        self.bind(size=self._place, pos=self._place, fills=self._place)
        self.bind(radius=self._place, inset=self._place, behind=self._place)
        self._place()

    def on_picture(self, _widget: FramedPicture, picture: Picture | None) -> None:
        """Draw the new picture where the former one was, if it has the same size."""
        if picture is None:
            self._shown = None
            self._place()
            return
        size = (picture.pixels.shape[1], picture.pixels.shape[0])
        resized = self._shown is None or tuple(self._shown.size) != size
        # four channels: three are converted for every draw where the hardware has only four
        self._shown = Texture.create(size=size, colorfmt="rgba", mipmap=False)
        self._shown.blit_buffer(picture.rgba, colorfmt="rgba", bufferfmt="ubyte")
        self._seen.texture = self._shown
        if resized:
            self._place()
        else:
            self._seen.tex_coords = self._coords  # a texture brings those of all of it
            self.canvas.ask_update()

    def _place(self, *_: object) -> None:
        room = self.width - 2 * self.inset, self.height - 2 * self.inset
        if self._shown is None or min(room) <= 0:
            self._seen.size = self._corners.size = (0, 0)
            self.edge = [*self.center, 0, 0]
            return
        width, height = self._shown.size
        scale = (max if self.fills else min)(room[0] / width, room[1] / height)
        w, h = width * scale, height * scale
        x, y = self.x + (self.width - w) / 2, self.y + (self.height - h) / 2
        self.whole = [x, y, w, h]
        self.edge = [self.x + self.inset, self.y + self.inset, *room] if self.fills else self.whole
        left, bottom, across, up = self.edge
        u, v = self._shown.uvsize  # of what the hardware made it larger
        u0, u1 = u * (left - x) / w, u * (left - x + across) / w
        v0, v1 = v - v * (bottom - y) / h, v - v * (bottom - y + up) / h  # the first row is on top
        self._coords = [u0, v0, u1, v0, u1, v1, u0, v1]
        self._seen.tex_coords = self._coords
        self._behind.rgba = self.behind
        for part in (self._seen, self._corners):
            part.pos, part.size = (left, bottom), (across, up)
        self._corners.radius = self.radius


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
