"""Pictures with round corners: the large frame, still or moving, and the thumbnails of the strip.

A frame has one texture for as long as its size stays: a new picture is written into it, and nothing
is built anew.
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
        self._texture: Any = None
        super().__init__(**properties)
        self.bind(size=self._place, pos=self._place, fills=self._place)

    def on_picture(self, _widget: FramedPicture, picture: Picture | None) -> None:
        """Write the new picture into the texture."""
        if picture is None:
            self._texture = None
            self._place()
            return
        height, width = picture.pixels.shape[:2]
        fresh = self._texture is None or tuple(self._texture.size) != (width, height)
        if fresh:
            self._texture = Texture.create(size=(width, height), colorfmt="rgb", mipmap=False)
            self._texture.flip_vertical()
        self._texture.blit_buffer(picture.pixels.tobytes(), colorfmt="rgb", bufferfmt="ubyte")
        if fresh:
            self._place()
        else:
            self.canvas.ask_update()

    def _place(self, *_: object) -> None:
        if self._texture is None or self.width <= 0 or self.height <= 0:
            self.visible = None
            return
        width, height = self._texture.size
        choose = max if self.fills else min
        scale = choose(self.width / width, self.height / height)
        w, h = width * scale, height * scale
        x, y = self.x + (self.width - w) / 2, self.y + (self.height - h) / 2
        self.whole = [x, y, w, h]
        if not self.fills:
            self.frame, self.visible = [x, y, w, h], self._texture
            return
        seen_w, seen_h = max(1, int(self.width / scale)), max(1, int(self.height / scale))
        left, bottom = (width - seen_w) // 2, (height - seen_h) // 2
        self.frame = [*self.pos, *self.size]
        self.visible = self._texture.get_region(left, bottom, seen_w, seen_h)


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
