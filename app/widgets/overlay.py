"""What was found, drawn over the frame: labelled boxes, or a mask.

Everything is made once and moved: a frame changes numbers of instructions that are there, and a
label is drawn again only if its text was never drawn before.
"""

from __future__ import annotations

from typing import Any

from kivy.core.window import Window  # noqa: F401  # a texture made before the window crashes kivy
from kivy.graphics import Color, InstructionGroup, Rectangle
from kivy.graphics.texture import Texture
from kivy.metrics import dp, sp
from kivy.properties import ListProperty
from kivy.uix.widget import Widget

from app.figures import percent, shortened
from app.live.palette import INK, class_colour
from app.live.state import Result
from app.widgets.captions import line_of_text
from app.widgets.shapes import Plate, Rim
from headtail.postprocess import Boxes, Detection

__all__ = ["Overlay"]

MOST = 20  # boxes; `headtail.postprocess.find_boxes` gives no more
LINE = 3  # dp, of a box


class Overlay(Widget):  # type: ignore[misc]  # kivy has no types
    """`whole` is where all of the frame lies in the window: x, y, width, height."""

    whole = ListProperty([0, 0, 0, 0])

    def __init__(self, **properties: Any) -> None:
        super().__init__(**properties)
        self._result: Result | None = None
        self._mask_color = Color(1, 1, 1, 0)
        self._mask = Rectangle(size=(0, 0))
        self._mask_texture: Any = None
        self._boxes: list[_BoxMark] = []
        self.canvas.add(self._mask_color)
        self.canvas.add(self._mask)
        self.bind(whole=self._draw)

    def show(self, result: Result | None) -> None:
        """Draw this answer, or nothing."""
        if result is not self._result:
            self._result = result
            self._load_mask(result)
            self._draw()

    def marks(self) -> list[dict[str, Any]]:
        """What is drawn now: label and box in the window, for whoever checks it."""
        shown = [mark for mark in self._boxes if mark.shown]
        return [{"label": mark.text, "box": list(mark.box)} for mark in shown]

    def _load_mask(self, result: Result | None) -> None:
        paint = result.paint if result else None
        self._mask_color.a = 0 if paint is None else 1
        if paint is None:
            return
        height, width = paint.shape[:2]
        if self._mask_texture is None or tuple(self._mask_texture.size) != (width, height):
            self._mask_texture = Texture.create(size=(width, height), colorfmt="rgba")
            self._mask_texture.mag_filter = "nearest"
            self._mask_texture.flip_vertical()
            self._mask.texture = self._mask_texture
        self._mask_texture.blit_buffer(paint.tobytes(), colorfmt="rgba", bufferfmt="ubyte")
        self.canvas.ask_update()

    def _draw(self, *_: object) -> None:
        result = self._result
        found = result.seen.found if result and isinstance(result.seen, Boxes) else ()
        while len(self._boxes) < min(len(found), MOST):
            self._boxes.append(_BoxMark())
            self.canvas.add(self._boxes[-1])
        for i, mark in enumerate(self._boxes):
            if result is not None and i < len(found):
                box = self._placed(result, found[i].box)
                text = f"{shortened(found[i].label)}  {percent(found[i].probability)}"
                label = line_of_text(text, sp(13), bold=True)
                mark.show(found[i], box, label, top=self.whole[1] + self.whole[3])
            else:
                mark.hide()
        if result is not None and result.paint is not None:
            left, bottom, width, height = self._placed(result, (0, 0, 1, 1))
            self._mask.pos, self._mask.size = (left, bottom), (width, height)

    def _placed(
        self, result: Result, box: tuple[float, float, float, float]
    ) -> tuple[float, float, float, float]:
        """A box of what the model saw, as x, y, width, height in the window."""
        x, y, width, height = self.whole
        left, top, right, bottom = result.window
        across, down = right - left, bottom - top
        x0, x1 = (x + width * (left + across * value) for value in box[::2])
        y0, y1 = (y + height * (1 - top - down * value) for value in box[1::2])
        return x0, y1, x1 - x0, y0 - y1


class _BoxMark(InstructionGroup):  # type: ignore[misc]  # kivy has no types
    """The instructions of one box."""

    def __init__(self) -> None:
        super().__init__()
        self.shown, self.text = False, ""
        self.box: tuple[float, float, float, float] = (0, 0, 0, 0)
        self._hue = Color(1, 1, 1, 1)
        self._line = Rim(radius=0)
        self._ground = Plate(radius=dp(4))
        self._ink = Color(*INK)
        self._text = Rectangle()
        for part in (self._hue, self._line, self._ground, self._ink, self._text):
            self.add(part)

    def show(
        self,
        found: Detection,
        box: tuple[float, float, float, float],
        texture: Any,
        *,
        top: float,
    ) -> None:
        """The label stands on the box; in it where there is no room below `top`."""
        x, y, width, height = self.box = box
        self.shown, self.text = True, shortened(found.label)
        self._hue.rgba = (*class_colour(found.index), 1)
        self._ink.a = 1
        half = dp(LINE) / 2
        self._line.pos, self._line.size = (
            (x - half, y - half),
            (width + 2 * half, height + 2 * half),
        )
        self._line.inner = x + half, y + half, width - 2 * half, height - 2 * half, 0
        across, high = texture.size
        y += height
        if y + high + dp(4) > top:
            y -= high + dp(4)
        self._ground.pos = (x - dp(1.5), y)
        self._ground.size = (across + dp(12), high + dp(4))
        self._text.texture = texture
        self._text.pos = (x + dp(4.5), y + dp(2))
        self._text.size = texture.size

    def hide(self) -> None:
        if self.shown:
            self.shown = False
            self._hue.a = self._ink.a = 0
