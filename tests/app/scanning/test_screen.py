"""The scanner in the real app's window: a camera sees a server's code, and a person is asked."""

import importlib.util
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.app.drawn import PHONE, TABLET, Scene, check_scene, draw, names
from tests.app.scanning.qr_pictures import LINK, mirrored, on_a_desk, rgb, rotated
from tests.support.capabilities import require

pytestmark = pytest.mark.slow
QUESTION = "Pair with https://192.168.1.20:8707?"
FOREIGN = "https://example.org/menu"
BLIND = "scan-blind-light-412x892"
SMALLEST = 44  # dp, for a thumb


def films(folder):
    """What the camera sees: nothing and then the server's code; somebody else's code."""
    import segno

    empty = on_a_desk(np.full((8, 8, 3), 90, np.uint8))
    frames = [Image.fromarray(f) for f in (empty, empty, rotated(20), mirrored())]
    frames[0].save(folder / "ours.png", save_all=True, append_images=frames[1:], duration=80)
    modules = np.array(list(segno.make_qr(FOREIGN).matrix), np.uint8)
    code = np.pad(np.where(modules == 1, 0, 255), 4, constant_values=255).repeat(9, 0).repeat(9, 1)
    seen = on_a_desk(rgb(code), angle=7)
    still = [Image.fromarray(seen), Image.fromarray(np.where(seen > 254, 254, seen))]
    # three frames a second: drawing more of them costs the time of everybody's tests
    still[0].save(folder / "theirs.png", save_all=True, append_images=still[1:], duration=300)
    Image.fromarray(rotated(5)).save(folder / "screenshot.png")
    return folder


def opening(folder, film):
    """The scanner is opened while the camera sees `film`, or nothing at all if that is ""."""
    path = str(folder / film) if film else ""
    gestures: list[list[Any]] = [["film", path], ["scroll", 1.0], ["tap", "Scan"]]
    return gestures


def looked_at(folder):
    awaited = ["await", "It was not opened."]
    return [Scene("scan", "SETTINGS", gestures=[*opening(folder, "theirs.png"), awaited])]


def done(folder):
    none = [*opening(folder, ""), ["await", "No camera gives pictures here."]]
    ours = ["film", str(folder / "ours.png")]
    guide = [["guide"], ["tap", "Next"], ["tap", "Scan the code"], ["await", QUESTION]]
    dropped = ["drop", str(folder / "screenshot.png")]
    return [
        Scene(BLIND, "SETTINGS", gestures=none),
        Scene("found", "LIVE", gestures=[ours, *guide]),
        Scene("dropped", "SETTINGS", gestures=[*none, dropped, ["await", QUESTION]]),
        Scene("escaped", "SETTINGS", gestures=[*none, ["key", "escape"]]),
        Scene("left", "SETTINGS", gestures=[*none, ["tap", "Models"]]),
        Scene("paused", "SETTINGS", gestures=[*none, ["pause"], ["resume"]]),
        Scene("large", "SETTINGS", large=True, gestures=[*none, ["walk"]]),
    ]


@pytest.fixture(scope="module")
def films_folder(tmp_path_factory):
    require(importlib.util.find_spec("zxingcpp") is not None, "pip install zxing-cpp")
    return films(tmp_path_factory.mktemp("films"))


def drawn(films_folder, folder, size, scenes):
    told = draw(scenes, folder, size=size, by="tests.app.scanning.drawing")
    return folder, {scene.name: seen for scene, seen in zip(scenes, told, strict=True)}


@pytest.fixture(scope="module")
def phone(films_folder, tmp_path_factory):
    scenes = [*names(looked_at(films_folder), PHONE), *done(films_folder)]
    return drawn(films_folder, tmp_path_factory.mktemp("phone"), PHONE, scenes)


@pytest.fixture(scope="module")
def tablet(films_folder, tmp_path_factory):
    scenes = names(looked_at(films_folder), TABLET)
    return drawn(films_folder, tmp_path_factory.mktemp("tablet"), TABLET, scenes)


@pytest.mark.parametrize("look", ["light", "dark"])
def test_on_a_phone_as_looked_at(phone, look):
    check_scene(phone, Scene(f"scan-{look}-412x892", "SETTINGS", look == "dark"))


@pytest.mark.parametrize("look", ["light", "dark"])
def test_on_a_tablet_as_looked_at(tablet, look):
    check_scene(tablet, Scene(f"scan-{look}-1000x700", "SETTINGS", look == "dark"))


def test_without_a_camera_as_looked_at(phone):
    check_scene(phone, Scene(BLIND, "SETTINGS"))


def test_a_servers_code_before_the_camera_leads_to_the_question(phone):
    seen = phone[1]["found"]
    assert QUESTION in seen["texts"]
    assert LINK.split("fp=")[1][:64] in " ".join(seen["texts"])
    assert (seen["page"], seen["opened"]) == ("Settings", False)
    assert seen["running"] == 0  # the camera is given back


def test_another_code_is_said_and_not_opened(phone):
    seen = phone[1]["scan-light-412x892"]
    assert any(f'it says "{FOREIGN}"' in text for text in seen["texts"])
    assert (seen["opened"], seen["running"], seen["offered"]) == (True, 1, "")


def test_without_a_camera_a_dropped_picture_is_enough(phone):
    assert QUESTION in phone[1]["dropped"]["texts"]
    assert phone[1]["dropped"]["page"] == "Settings"


@pytest.mark.parametrize(("name", "page"), [("escaped", "Settings"), ("left", "Models")])
def test_the_camera_is_given_back_when_the_scanner_is_left(phone, name, page):
    seen = phone[1][name]
    assert (seen["opened"], seen["running"], seen["page"]) == (False, 0, page)


def test_a_pause_gives_the_camera_back_until_the_window_is_back(phone):
    seen = phone[1]["paused"]
    assert (seen["opened"], seen["running"]) == (True, 1)
    assert seen["starts"] == phone[1]["left"]["starts"] + 2


def test_large_text_and_a_keyboard_reach_all_of_it(phone):
    large = phone[1]["large"]
    assert large["cut_off"] == []
    assert min(side for control in large["controls"] for side in control["box"][2:]) >= SMALLEST
    assert sorted(large["stops"]) == sorted(control["name"] for control in large["controls"])
    assert "Cancel" in large["stops"]
