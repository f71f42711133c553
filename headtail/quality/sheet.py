"""Pictures of what changed: thumbnails for the report and one contact sheet to look at or send.

Pillow is imported inside the functions.
"""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from headtail.preprocess import Frame
from headtail.quality.schema import ChangedImage, QualityReport

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

__all__ = ["class_name", "contact_sheet", "most_certain", "sheet_name", "with_thumbnails"]

SIDE = 144  # pixels of a thumbnail's longer side
JPEG_QUALITY = 80
SHEET_QUALITY = 90
MARGIN = 12
CAPTION_LINES = 3
LINE = 15


def class_name(index: int, labels: Sequence[str]) -> str:
    """What class `index` is called."""
    return labels[index] if index < len(labels) else f"class {index}"


def most_certain(changed: Sequence[ChangedImage], limit: int) -> list[ChangedImage]:
    """The `limit` changes of whose former answer the float32 model was most certain, first those
    that hurt most."""
    return sorted(changed, key=lambda one: (-one.confidence_before, one.index))[:limit]


def with_thumbnails(
    report: QualityReport, frame_of: Callable[[int], Frame], *, limit: int = 8
) -> QualityReport:
    """`report` with a small JPEG of its `limit` most certain changes, as many as the page shows.

    `frame_of(index)` gives evaluation input `index` as a picture, uint8 (height, width, 3) RGB.
    """
    chosen = {one.index for one in most_certain(report.changed, limit)}
    changed = tuple(
        dataclasses.replace(one, thumbnail=_jpeg(frame_of(one.index)))
        if one.index in chosen
        else one
        for one in report.changed
    )
    return dataclasses.replace(report, changed=changed)


def sheet_name(key: str) -> str:
    """The file in the bundle with the contact sheet of artifact `key`."""
    return f"report.{key}.jpg"


def contact_sheet(report: QualityReport, *, labels: Sequence[str], columns: int = 6) -> bytes:
    """A JPEG of the changed images that have a thumbnail, a grid with captions; b"" without any.

    `labels` names the classes, empty if they have no names.
    """
    from PIL import Image

    shown = [one for one in most_certain(report.changed, len(report.changed)) if one.thumbnail]
    if not shown:
        return b""
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    cell = SIDE + MARGIN, SIDE + CAPTION_LINES * LINE + MARGIN
    sheet = Image.new("RGB", (columns * cell[0] + MARGIN, rows * cell[1] + MARGIN), "white")
    for place, one in enumerate(shown):
        row, column = divmod(place, columns)
        _draw(sheet, one, (MARGIN + column * cell[0], MARGIN + row * cell[1]), labels)
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=SHEET_QUALITY, optimize=True)
    return buffer.getvalue()


def _draw(
    sheet: Image.Image, one: ChangedImage, at: tuple[int, int], labels: Sequence[str]
) -> None:
    from PIL import Image, ImageDraw

    with Image.open(io.BytesIO(base64.b64decode(one.thumbnail))) as picture:
        left = (SIDE - picture.width) // 2, SIDE - picture.height
        sheet.paste(picture, (at[0] + left[0], at[1] + left[1]))
    pen = ImageDraw.Draw(sheet)
    before = f"{class_name(one.before, labels)} {one.confidence_before:.2f}"
    after = f"> {class_name(one.after, labels)} {one.confidence_after:.2f}"
    for line, words in enumerate((f"#{one.index}", before, after)):
        pen.text((at[0], at[1] + SIDE + 2 + line * LINE), _fitted(pen, words), fill="black")


def _fitted(pen: ImageDraw.ImageDraw, words: str) -> str:
    # the built-in bitmap font of old Pillows has no more than Latin-1
    text = words.encode("latin-1", "replace").decode("latin-1")
    while len(text) > 1 and pen.textlength(text) > SIDE:
        text = f"{text[:-4]}..." if text.endswith("...") else f"{text[:-3]}..."
    return text


def _jpeg(frame: Frame) -> str:
    from PIL import Image

    picture = Image.fromarray(frame)
    mode = Image.LANCZOS  # type: ignore[attr-defined]  # kivy-ios' Pillow 8 has no Resampling
    picture.thumbnail((SIDE, SIDE), mode)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
