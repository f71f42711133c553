"""Photos with round corners: the large one and the thumbnails of the strip.

A photo fills its frame and is cut at the centre, so that no bars are drawn beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kivy.core.window import Window  # noqa: F401  # a texture made before the window crashes kivy
from kivy.graphics.texture import Texture
from kivy.lang import Builder
from kivy.properties import BooleanProperty, ObjectProperty
from kivy.uix.behaviors import ButtonBehavior
from kivy.uix.floatlayout import FloatLayout
from kivy.uix.widget import Widget

from app.live.state import Picture
from app.sources.photo import Photo

__all__ = ["PhotoFrame", "Thumbnail"]


def texture_of(picture: Picture) -> Any:
    """Upload a picture to the graphics memory, right side up."""
    height, width = picture.pixels.shape[:2]
    texture = Texture.create(size=(width, height), colorfmt="rgb", mipmap=False)
    texture.blit_buffer(picture.pixels.tobytes(), colorfmt="rgb", bufferfmt="ubyte")
    texture.flip_vertical()
    return texture


class CroppedPicture(Widget):  # type: ignore[misc]  # kivy has no types
    """Turns `picture` into `cropped`, the part of its texture that fills the widget."""

    picture = ObjectProperty(None, allownone=True)
    cropped = ObjectProperty(None, allownone=True)

    def __init__(self, **properties: Any) -> None:
        self._whole: Any = None
        super().__init__(**properties)
        self.bind(size=lambda *_: self._crop())

    def on_picture(self, _widget: CroppedPicture, picture: Picture | None) -> None:
        """Upload the new picture."""
        self._whole = texture_of(picture) if picture else None
        self._crop()

    def _crop(self) -> None:
        if self._whole is None or self.width <= 0 or self.height <= 0:
            self.cropped = None
            return
        width, height = self._whole.size
        scale = min(width / self.width, height / self.height)
        w, h = max(1, int(self.width * scale)), max(1, int(self.height * scale))
        self.cropped = self._whole.get_region((width - w) // 2, (height - h) // 2, w, h)


class PhotoFrame(ButtonBehavior, CroppedPicture, FloatLayout):  # type: ignore[misc]  # kivy has no types
    """The chosen photo; its children lie on top of it."""


class Thumbnail(ButtonBehavior, CroppedPicture):  # type: ignore[misc]  # kivy has no types
    """One photo of the strip."""

    photo: Photo = ObjectProperty(None, rebind=False)
    chosen = BooleanProperty(False)


Builder.load_file(str(Path(__file__).with_suffix(".kv")))
