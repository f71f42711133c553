"""The real app, drawn: what the widgets say and what the pixels show."""

from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from app.live.palette import OPAQUE, class_colour
from app.theme import DARK, LIGHT
from tests.app.drawn import check_picture
from tests.app.offscreen import Job, missing_for_screen, render
from tests.support.capabilities import require

pytestmark = pytest.mark.slow
SIZES = [(412, 892), (1000, 700)]
MOST_PAINTED = 1.5  # times, each pixel on average: grounds behind grounds made it nearly 4


@pytest.fixture(autouse=True)
def _screen():
    reason = missing_for_screen()
    require(not reason, reason)


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"), np.int16)


def patch(image, box):
    """The pixels of a box whose origin is at the bottom left of the window."""
    x, y, width, height = (round(value) for value in box)
    top = image.shape[0] - y - height
    return image[top : top + height, x : x + width]


def near(values, colour, tolerance=6):
    return (np.abs(values - rgb(colour)) <= tolerance).all(axis=-1)


def check_bar(image, bar, hue, theme):
    """The filled part of the bar has the hue, the rest of the track is sunken."""
    x, y, width, height = bar["track"]
    middle = patch(image, [x, y + height / 2, width, 1])[0]
    filled = round(width * bar["fraction"])
    assert near(middle[4 : filled - 4], hue).all()
    assert near(middle[filled + 4 : -4], theme.sunken).all()


def check_label(image, bar, label_png, theme):
    """The label's own texture stands where the widget says: dark where it is, ground where not."""
    glyphs = np.asarray(Image.open(label_png).convert("RGBA"), np.int16)[..., 3]
    x, y, width, height = bar["label_box"]
    left = x + (width - glyphs.shape[1]) / 2
    bottom = y + (height - glyphs.shape[0]) / 2
    drawn = patch(image, [int(left), int(bottom), glyphs.shape[1], glyphs.shape[0]])
    assert (glyphs > 240).sum() > 40  # there is text to compare
    assert near(drawn[glyphs > 250], theme.text, tolerance=24).mean() > 0.95
    assert near(drawn[glyphs == 0], theme.surface, tolerance=4).mean() > 0.99


def check_upright(photo):
    """The brightest quarter of `red_photo` is at the top left, as in the file."""
    height, width = photo.shape[:2]
    top, bottom, left, right = height // 4, height * 5 // 8, width // 4, width * 3 // 4
    assert near(photo[top, left], "#FF0000")
    assert near(photo[top, right], "#AA0000")
    assert near(photo[bottom, [left, right]], "#AA0000").all()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_a_photo_is_classified_and_drawn(colour_bundle, red_photo, tmp_path, size, theme):
    picture = tmp_path / "screen.png"
    seen = render(
        Job(
            picture=str(picture),
            bundle=str(colour_bundle),
            photos=[str(red_photo)],
            size=size,
            dark=theme is DARK,
        )
    )
    assert seen["badge"] == "local"
    assert seen["latency"].endswith(" ms")
    assert seen["theme"] == theme.name
    assert seen["bars"][0]["label"] == "red"
    assert len({bar["label"] for bar in seen["bars"]} - {""}) == 5
    fractions = [bar["fraction"] for bar in seen["bars"]]
    assert fractions == sorted(fractions, reverse=True)
    assert seen["bars"][0]["value"].endswith(" %")
    assert seen["thumbnails"] == 5
    texts = {text["text"] for text in seen["texts"]}
    assert {bar["label"] for bar in seen["bars"]} < texts
    assert {"nearest_colour", "On this computer", "Automatic", "With a server"} <= texts
    assert {"Camera", "Photos", "Replay", "Demo"} <= texts

    assert seen["samples"] == 0  # shapes smooth themselves
    assert seen["painted"] < MOST_PAINTED

    image = pixels(picture)
    assert image.shape == (size[1], size[0], 3)
    assert near(image[2, -3], theme.ground)
    check_upright(patch(image, seen["widgets"]["photo"]))
    check_bar(image, seen["bars"][0], theme.device, theme)
    check_label(image, seen["bars"][0], f"{picture}.label.png", theme)
    check_picture(picture, f"live-{theme.name}-{size[0]}x{size[1]}")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_nothing_overlaps_and_nothing_is_cut_off(colour_bundle, red_photo, tmp_path, size):
    seen = render(
        Job(
            picture=str(tmp_path / "screen.png"),
            bundle=str(colour_bundle),
            photos=[str(red_photo)],
            size=size,
            gestures=["force"],
        )
    )
    parts = ("photo", "strip", "sources", "local", "auto", "force", "bars", "route", "set_up")
    boxes = {name: seen["widgets"][name] for name in parts}
    for name, (x, y, width, height) in boxes.items():
        assert x >= 0, name
        assert y >= 0, name
        assert x + width <= size[0], name
        assert y + height <= size[1], name
    assert boxes["photo"][3] >= 160
    assert boxes["bars"][2] >= 260  # the column beside the frame has room for names
    names = list(boxes)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            assert apart(boxes[one], boxes[other]), (one, other)


def apart(one, other):
    return any(
        one[axis] + one[axis + 2] <= other[axis] or other[axis] + other[axis + 2] <= one[axis]
        for axis in (0, 1)
    )


def test_by_touch_an_answer_is_split_with_a_server(colour_bundle, red_photo, tmp_path, server):
    picture = tmp_path / "screen.png"
    seen = render(
        Job(
            picture=str(picture),
            bundle=str(colour_bundle),
            photos=[str(red_photo)],
            server=server.url,
            gestures=["local", "force"],
        )
    )
    assert seen["badge"] == "split at shrink, aq8t+deflate"
    assert seen["bars"][0]["label"] == "red"
    texts = " ".join(text["text"] for text in seen["texts"])
    assert "Server + network" in texts
    assert " sent, " in texts
    check_bar(pixels(picture), seen["bars"][0], LIGHT.server, LIGHT)


def test_a_dead_server_is_said_and_the_photo_is_answered(
    colour_bundle, red_photo, tmp_path, server
):
    server.kill()
    picture = tmp_path / "screen.png"
    seen = render(
        Job(
            picture=str(picture),
            bundle=str(colour_bundle),
            photos=[str(red_photo)],
            server=server.url,
        )
    )
    assert seen["badge"] == "local (server lost)"
    assert seen["bars"][0]["label"] == "red"
    check_bar(pixels(picture), seen["bars"][0], LIGHT.warning, LIGHT)


def test_without_a_bundle_the_screen_says_what_to_do(tmp_path):
    seen = render(Job(picture=str(tmp_path / "screen.png"), settled="empty"))
    texts = {text["text"] for text in seen["texts"]}
    assert "No bundle yet" in texts
    assert any(text.endswith("or drop a .bundle folder or .zip here") for text in texts)
    assert seen["badge"] == ""


def test_an_error_is_shown_over_everything_else(tmp_path):
    missing = tmp_path / "missing.bundle"
    job = Job(picture=str(tmp_path / "screen.png"), bundle=str(missing), settled="problem")
    seen = render(job)
    texts = {text["text"] for text in seen["texts"]}
    assert f"{missing} is not a bundle." in texts
    x, y, width, height = seen["widgets"]["banner"]
    assert 0 <= x < x + width <= 412
    assert 0 <= y < y + height <= 892
    image = pixels(job.picture)
    assert near(patch(image, [x + 6, y + height / 2, 1, 1]), LIGHT.tint_danger).all()


def test_the_copy_button_copies_the_whole_error(tmp_path):
    missing = tmp_path / "missing.bundle"
    seen = render(
        Job(
            picture=str(tmp_path / "screen.png"),
            bundle=str(missing),
            settled="problem",
            gestures=["banner.copy"],
        )
    )
    assert seen["clipboard"].startswith(f"{missing} is not a bundle. A bundle is a folder")


def test_an_error_can_be_put_away(tmp_path):
    seen = render(
        Job(
            picture=str(tmp_path / "screen.png"),
            bundle=str(tmp_path / "missing.bundle"),
            settled="empty",
            gestures=["banner.dismiss"],
        )
    )
    assert sum(seen["widgets"]["banner"][1::2]) < 0  # below the window
    assert "The bundle could not be opened" in {text["text"] for text in seen["texts"]}


def test_bundle_and_photo_can_be_dropped_on_the_window(colour_bundle, red_photo, tmp_path):
    seen = render(
        Job(
            picture=str(tmp_path / "screen.png"),
            settled="empty",
            gestures=[["drop", str(colour_bundle)], ["drop", str(red_photo)]],
        )
    )
    assert seen["thumbnails"] == 5
    assert seen["bars"][0]["label"] == "red"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_picture_is_cut_and_not_stretched(colour_bundle, tmp_path, size):
    photo = Image.new("RGB", (640, 480), (128, 128, 128))
    photo.paste((230, 10, 10), (270, 190, 370, 290))  # a square in the middle
    photo.save(tmp_path / "square.png")
    picture = tmp_path / "screen.png"
    seen = render(
        Job(
            picture=str(picture),
            bundle=str(colour_bundle),
            photos=[str(tmp_path / "square.png")],
            size=size,
        )
    )
    frame = patch(pixels(picture), seen["widgets"]["photo"])
    rows, columns = np.nonzero(near(frame, "#E60A0A", tolerance=40))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    expected = 100 / 480 * seen["whole"][3]
    assert height == pytest.approx(expected, abs=2)
    assert width == pytest.approx(expected, abs=2)


SCENE = (960, 640)  # of which the models see the centre, 640 x 640, as 4 x 4 cells
SQUARES = {"red": (1, 0), "green": (3, 3)}  # column and row of the cell
COLOURS = {"red": (230, 10, 10), "green": (10, 230, 10)}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A wide photo with a red and a green square where the models see two of their cells."""
    photo = Image.new("RGB", SCENE, (128, 128, 128))
    for name, (column, row) in SQUARES.items():
        left, top = 160 + 160 * column, 160 * row
        photo.paste(COLOURS[name], (left, top, left + 160, top + 160))
    path = tmp_path_factory.mktemp("scene") / "scene.png"
    photo.save(path)
    return path


def cell(seen, name):
    """Where the square of that name is in the window: left, bottom, width, height."""
    x, y, width, height = seen["whole"]
    column, row = SQUARES[name]
    side = height / 4
    return [x + width / 6 + side * column, y + height - side * (row + 1), side, side]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_boxes_stand_where_things_are(scene_bundles, scene, tmp_path, size):
    picture = tmp_path / "screen.png"
    bundle = str(scene_bundles / "detector.bundle")
    seen = render(Job(picture=str(picture), bundle=bundle, photos=[str(scene)], size=size))
    assert {mark["label"] for mark in seen["marks"]} == {"red", "green"}
    image = pixels(picture)
    for mark in seen["marks"]:
        place = cell(seen, mark["label"])
        assert mark["box"] == pytest.approx(place, abs=1)
        # the line is drawn along the box: a pixel of its class's colour on the lower edge
        index = ("red", "green").index(mark["label"])
        colour = np.array([255 * value for value in class_colour(index)])
        edge = patch(image, [place[0] + place[2] / 2, place[1] - 1, 1, 3])[:, 0]
        assert np.abs(edge - colour).max(axis=1).min() <= 12
        inside = patch(image, [place[0] + place[2] / 2, place[1] + 6, 1, 1])[0, 0]
        assert np.abs(inside - COLOURS[mark["label"]]).max() <= 12
    assert [bar["label"] for bar in seen["bars"]][:2] in (["red", "green"], ["green", "red"])


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_a_mask_lies_on_what_it_names_and_the_bars_are_its_legend(
    scene_bundles, scene, tmp_path, theme
):
    picture = tmp_path / "screen.png"
    bundle = str(scene_bundles / "segmenter.bundle")
    dark = theme is DARK
    seen = render(Job(picture=str(picture), bundle=bundle, photos=[str(scene)], dark=dark))
    image = pixels(picture)
    legend = {bar["label"]: bar for bar in seen["bars"]}
    for name in SQUARES:
        place = cell(seen, name)
        hue = np.array([255 * value for value in legend[name]["hue"][:3]])
        mixed = hue * OPAQUE / 255 + np.array(COLOURS[name]) * (1 - OPAQUE / 255)
        x, y, width, height = place
        painted = patch(image, [x + 2, y + 2, width - 4, height - 4]).reshape(-1, 3)
        assert np.abs(painted - mixed).max() <= 12  # to the edge, in the colour of the legend
        assert legend[name]["fraction"] == pytest.approx(1 / 16, abs=0.002)
        beside = patch(image, [x - 6, y + height / 2, 3, 3]).reshape(-1, 3)
        assert np.abs(beside - 128).max() <= 12  # what nobody names is not painted
    assert legend["background"]["fraction"] == pytest.approx(14 / 16, abs=0.002)


def test_what_moves_shows_its_pace_and_its_counts(colour_bundle, tmp_path):
    picture = tmp_path / "screen.png"
    seen = render(Job(picture=str(picture), bundle=str(colour_bundle), gestures=["demo", "pause"]))
    texts = " ".join(text["text"] for text in seen["texts"])
    assert "Frames: " in texts
    assert " answered, " in texts
    assert seen["latency"].endswith(" ms")


def test_without_a_camera_its_place_says_what_to_do(colour_bundle, tmp_path):
    require(find_spec("cv2") is None, "OpenCV is here: the camera might be, too")
    seen = render(
        Job(
            picture=str(tmp_path / "screen.png"),
            bundle=str(colour_bundle),
            settled="empty",
            gestures=["camera"],
        )
    )
    texts = {text["text"] for text in seen["texts"]}
    assert "opencv-python is not installed." in texts
    assert "Try again" in texts
    assert seen["bars"][0]["label"] == ""


def test_a_slanted_picture_is_refused():
    with pytest.raises(AssertionError, match="slanted"):
        Job(picture="x.png", size=(411, 892))
