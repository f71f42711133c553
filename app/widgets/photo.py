"""Pictures with round corners: the large frame, still or moving, and the thumbnails of the strip.

A moving picture has two textures for as long as its size stays: one is drawn while the next picture
is written into the other, so that the hardware need not wait, and nothing is built anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kivy.core.window import Window  # noqa: F401  # a texture made before the window crashes kivy
from kivy.graphics.texture import Texture
from kivy.lang import Builder
from kivy.properties import BooleanProperty, ListProperty, ObjectProperty, StringProperty
from kivy.uix.anchorlayout import AnchorLayout
from kivy.uix.behaviors import ButtonBehavior
from kivy.uix.floatlayout import FloatLayout
from kivy.uix.widget import Widget

from app.live.state import Picture
from app.sources.photo import Photo
from app.widgets import icons  # noqa: F401  # its names are used in the .kv
from app.widgets.focus import Focusable

__all__ = ["FrameButton", "FramedPicture", "PhotoFrame", "RoundButton", "Thumbnail"]


class FramedPicture(Widget):  # type: ignore[misc]  # kivy has no types
    """Draws `picture`: filling the widget and cut at the centre if `fills`, else whole.

    `visible` is the part of the texture that is drawn, `frame` where (x, y, width, height in the
    window), `whole` where all of the picture would be: the same unless it is cut.
    """

    picture = ObjectProperty(None, allownone=True)
    fills = BooleanProperty(True)
    visible = ObjectProperty(None, allownone=True)
    frame = ListProperty([0, 0, 0, 0])
    whole = ListProperty([0, 0, 0, 0])

    def __init__(self, **properties: Any) -> None:
        self._shown: _Canvas | None = None
        self._spare: _Canvas | None = None  # is not drawn, and can be written without waiting
        super().__init__(**properties)
        self.bind(size=self._place, pos=self._place, fills=self._place)

    def on_picture(self, _widget: FramedPicture, picture: Picture | None) -> None:
        """Write the new picture into the texture that is not drawn, and draw that one."""
        if picture is None:
            self._shown = self._spare = None
            self._place()
            return
        size = (picture.pixels.shape[1], picture.pixels.shape[0])
        fresh = self._shown is None or self._shown.size != size
        if fresh:
            self._spare = None
        canvas = self._spare or _Canvas(size)
        canvas.texture.blit_buffer(picture.rgba, colorfmt="rgba", bufferfmt="ubyte")
        self._shown, self._spare = canvas, None if fresh else self._shown
        if fresh or canvas.region is None:
            self._place()
        else:
            self.visible = canvas.region

    def _place(self, *_: object) -> None:
        shown = self._shown
        if shown is None or self.width <= 0 or self.height <= 0:
            self.visible = None
            return
        width, height = shown.size
        choose = max if self.fills else min
        scale = choose(self.width / width, self.height / height)
        w, h = width * scale, height * scale
        x, y = self.x + (self.width - w) / 2, self.y + (self.height - h) / 2
        self.whole = [x, y, w, h]
        self.frame = [*self.pos, *self.size] if self.fills else [x, y, w, h]
        for canvas in (self._spare, shown):
            if canvas is not None:
                canvas.cut(self.width / scale, self.height / scale)
        self.visible = shown.region


class _Canvas:
    """A texture and the part of it that is drawn."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        # four channels: three are converted for every draw where the hardware has only four
        self.texture = Texture.create(size=size, colorfmt="rgba", mipmap=False)
        self.texture.flip_vertical()
        self.region: Any = None

    def cut(self, width: float, height: float) -> None:
        """Draw the centre, of at most so many pixels."""
        w, h = (
            max(1, min(whole, int(part)))
            for whole, part in zip(self.size, (width, height), strict=True)
        )
        left, bottom = (self.size[0] - w) // 2, (self.size[1] - h) // 2
        self.region = self.texture.get_region(left, bottom, w, h)


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
