import base64
import io

import numpy as np
import pytest
from PIL import Image

from headtail.quality import Settings, assess, contact_sheet, with_thumbnails
from headtail.quality.sheet import SIDE, class_name, most_certain

COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200))


def frame_of(index):
    """One plain colour per input, wider than high."""
    return np.full((90, 300, 3), COLOURS[index % 3], np.uint8)


@pytest.fixture
def changed():
    """Five inputs, all of whose answers changed; input 4 is the surest."""
    logits = np.eye(4)[[0, 1, 2, 0, 1]] * np.array([[1], [2], [3], [4], [5]])
    return assess(
        logits, np.roll(logits, 1, axis=1), kind=("litert", "w4"), settings=Settings(resamples=10)
    )


def test_the_surest_changes_get_a_thumbnail(changed):
    assert [one.index for one in most_certain(changed.changed, 2)] == [4, 3]
    report = with_thumbnails(changed, frame_of, limit=2)
    assert [bool(one.thumbnail) for one in report.changed] == [False, False, False, True, True]
    with Image.open(io.BytesIO(base64.b64decode(report.changed[4].thumbnail))) as picture:
        assert picture.format == "JPEG"
        assert picture.size == (SIDE, round(SIDE * 0.3))
        assert np.abs(np.subtract(picture.getpixel((9, 9)), frame_of(4)[0, 0])).max() < 8


def test_a_sheet_shows_every_thumbnail_in_a_grid(changed):
    report = with_thumbnails(changed, frame_of, limit=5)
    drawn = contact_sheet(report, labels=["a", "b" * 90, "模型", "d"], columns=3)
    with Image.open(io.BytesIO(drawn)) as sheet:
        assert sheet.format == "JPEG"
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert pixels.shape[1] > 3 * SIDE
    assert pixels.shape[0] > 2 * SIDE
    for colour in COLOURS:
        near = np.abs(pixels - colour).max(axis=2) < 12
        assert near.sum() > 3000
    edges = pixels[0], pixels[:, -1]  # no caption runs off the sheet
    assert all(edge.min() > 240 for edge in edges)


def test_there_is_no_sheet_of_nothing(changed):
    assert contact_sheet(changed, labels=[]) == b""


def test_a_class_without_a_name_has_its_number():
    assert class_name(1, ["a", "b"]) == "b"
    assert class_name(7, []) == "class 7"
