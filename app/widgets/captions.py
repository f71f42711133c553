"""One line of text that changes with every answer, drawn from textures that are kept.

Kivy's label renders its text anew and writes it into a texture that the last frame may still be
drawn from, so that it waits for that frame. The same few words come again and again: each is
rendered once, in white, and tinted where it is drawn.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from kivy.core.text import Label as CoreLabel
from kivy.core.window import Window  # noqa: F401  # a texture made before the window crashes kivy
from kivy.graphics import Color, Rectangle
from kivy.properties import (
    BooleanProperty,
    ListProperty,
    NumericProperty,
    OptionProperty,
    StringProperty,
)
from kivy.uix.widget import Widget

__all__ = ["Caption", "line_of_text"]

MOST = 600  # texts, of some 20 KB each
_kept: OrderedDict[tuple[Any, ...], CoreLabel] = OrderedDict()


def line_of_text(text: str, size: float, *, bold: bool, width: float | None = None) -> Any:
    """The texture of `text` in white letters of `size` pixels; cut at its end if wider than
    `width`."""
    key = text, size, bold
    label = _label(key, text=text, font_size=size, bold=bold)
    if width is not None and label.texture.width > width:
        room = max(1, int(width))
        cut = {"text_size": (room, None), "shorten": True, "shorten_from": "right"}
        label = _label((*key, room), text=text, font_size=size, bold=bold, max_lines=1, **cut)
    return label.texture


def _label(key: tuple[Any, ...], **options: Any) -> Any:
    label = _kept.pop(key, None)
    if label is None:
        label = CoreLabel(color=(1, 1, 1, 1), **options)
        label.refresh()
    _kept[key] = label  # the newest last; it draws its texture again when a phone lost it
    if len(_kept) > MOST:
        _kept.popitem(last=False)
    return label


class Caption(Widget):  # type: ignore[misc]  # kivy has no types
    """`text` on the lower edge of the widget, at its left or right; `box` is where it is drawn: x,
    y, width, height."""

    text = StringProperty("")
    font_size = NumericProperty(15.0)
    bold = BooleanProperty(False)
    color = ListProperty([0, 0, 0, 1])
    halign = OptionProperty("left", options=("left", "right"))
    box = ListProperty([0, 0, 0, 0])
    texture: Any = None

    def __init__(self, **properties: Any) -> None:
        self._ink, self._drawn = Color(), Rectangle(size=(0, 0))
        super().__init__(**properties)
        self.canvas.add(self._ink)
        self.canvas.add(self._drawn)
        self.bind(pos=self._draw, size=self._draw, text=self._draw, color=self._draw)
        self.bind(font_size=self._draw, bold=self._draw, halign=self._draw)
        self._draw()

    def _draw(self, *_: object) -> None:
        self._ink.rgba = self.color
        if not self.text or self.width < 1:
            self.texture, self._drawn.size = None, (0, 0)
            return
        texture = line_of_text(self.text, self.font_size, bold=self.bold, width=self.width)
        if texture is not self.texture:
            self.texture = self._drawn.texture = texture
        width, height = texture.size
        left = self.x if self.halign == "left" else self.right - width
        self.box = [round(left), round(self.y), width, height]
        self._drawn.pos, self._drawn.size = self.box[:2], self.box[2:]
