"""Settings, guide and Offload, drawn: as looked at, whole by keyboard, large enough to touch.

The Live, Models, Benchmark and Report pages have tests of their own. All scenes of one size are
drawn in one process, since starting the app takes longer than drawing a page.
"""

from typing import Any

import pytest

from tests.app.drawn import (
    PHONE,
    TABLET,
    TOLERATED,
    Scene,
    check_scene,
    difference,
    draw,
    golden,
    names,
)

pytestmark = pytest.mark.slow

SMALLEST = 44  # dp, for a thumb
HINT = "headtail://pair?... or https://..."
LINK = (
    "headtail://pair?url=https%3A%2F%2F192.168.1.20%3A8707"
    f"&fp={'5a' * 32}&token=abcdefghijklmnopqrstuvwxyz"
)
QUESTION = "Pair with https://192.168.1.20:8707?"
CHOSEN = {"mode": "auto", "server": "https://192.168.1.20:8707"}
NONE = {"mode": "off", "server": ""}
FRAMES: list[list[Any]] = [["frames"], ["scroll", 1.0]]
PLOTS: list[list[Any]] = [["frames"], ["scroll", 0.6]]
DRAWN = [
    Scene("settings", "SETTINGS", preferences=NONE, gestures=[["scroll", 1.0]]),
    Scene("guide", "LIVE", gestures=[["guide"], ["tap", "Next"], ["link", LINK]]),
    Scene("offload", "OFFLOAD", preferences=CHOSEN, gestures=FRAMES),
    Scene("offload-plots", "OFFLOAD", preferences=CHOSEN, gestures=PLOTS),
]
LARGE = [
    Scene("large-settings", "SETTINGS", large=True),
    Scene("large-scrolled", "SETTINGS", large=True, gestures=[["scroll", 0.0]]),
    Scene("large-guide", "LIVE", large=True, gestures=[["guide"], ["tap", "Next"], ["link", LINK]]),
    Scene("large-offload", "OFFLOAD", large=True, gestures=FRAMES),
]
EMPTY = Scene("empty", "OFFLOAD", preferences=NONE)
DONE = [
    Scene("walk-settings", "SETTINGS", gestures=[["walk"]]),
    Scene("walk-offload", "OFFLOAD", gestures=[["walk"]]),
    Scene("press", "SETTINGS", gestures=[["focus", "Dark"], ["key", "enter"]]),
    Scene("slide", "SETTINGS", gestures=[["focus", "Slide"], ["key", "right"]]),
    Scene("mode", "OFFLOAD", gestures=[["scroll", 1.0], ["tap", "Force"]]),
    Scene("escape", "SETTINGS", gestures=[["key", "escape"]]),
    Scene("asked", "LIVE", gestures=[["link", LINK]]),
    Scene("dropped", "LIVE", gestures=[["drop", LINK]]),  # so a link comes on iOS
    Scene("refused", "LIVE", gestures=[["link", LINK], ["tap", "No"]]),
    Scene(
        "renamed",
        "SETTINGS",
        preferences=CHOSEN,
        gestures=[
            ["scroll", 1.0],
            ["tap", "more"],
            ["type", CHOSEN["server"], "The box"],
            ["key", "tab"],
        ],
    ),
    Scene("typed", "SETTINGS", gestures=[["type", HINT, "ftp://x"]]),
    Scene("skipped", "LIVE", gestures=[["guide"], ["tap", "Skip"]]),
]


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    """Every scene at the size of a phone: the folder of pictures, and what was told of each."""
    # first those with a picture: what is done afterwards leaves something behind
    folder, scenes = tmp_path_factory.mktemp("phone"), [EMPTY, *names(DRAWN, PHONE), *DONE, *LARGE]
    told = draw(scenes, folder)
    return folder, {scene.name: seen for scene, seen in zip(scenes, told, strict=True)}


@pytest.fixture(scope="module")
def tablet(tmp_path_factory):
    """The same of those that were looked at, at the size of a tablet."""
    folder, scenes = tmp_path_factory.mktemp("tablet"), names(DRAWN, TABLET)
    told = draw(scenes, folder, size=TABLET)
    return folder, {scene.name: seen for scene, seen in zip(scenes, told, strict=True)}


@pytest.mark.parametrize("scene", names(DRAWN, PHONE), ids=lambda scene: scene.name)
def test_on_a_phone_as_looked_at(phone, scene):
    check_scene(phone, scene)


@pytest.mark.parametrize("scene", names(DRAWN, TABLET), ids=lambda scene: scene.name)
def test_on_a_tablet_as_looked_at(tablet, scene):
    check_scene(tablet, scene)


def test_the_comparison_tells_another_theme_and_another_page(phone):
    picture = phone[0] / "settings-light-412x892.png"
    assert difference(picture, golden("settings-dark-412x892")) > 0.5
    assert difference(picture, golden("offload-light-412x892")) > TOLERATED


@pytest.mark.parametrize("scene", LARGE, ids=lambda scene: scene.name)
def test_with_large_text_nothing_is_cut_off_and_everything_can_be_touched(phone, scene):
    seen = phone[1][scene.name]
    assert seen["cut_off"] == []
    for control in seen["controls"]:
        assert min(control["box"][2:]) >= SMALLEST, control


@pytest.mark.parametrize("name", ["walk-settings", "walk-offload"])
def test_by_keyboard_every_control_is_reached(phone, name):
    seen = phone[1][name]
    controls = [control["name"] for control in seen["controls"]]
    assert sorted(seen["stops"]) == sorted(controls)
    assert {"Live", "Settings"} < set(controls)  # the bar as well


def test_by_keyboard_a_control_is_pressed_slid_and_left(phone):
    told = phone[1]
    assert (told["press"]["theme"], told["press"]["focus"]) == ("dark", "Dark")
    assert "2" in told["slide"]["texts"]
    assert told["escape"]["page"] == "Offload"  # where it was before


def test_a_link_is_asked_about_and_leads_to_the_page(phone):
    told = phone[1]
    for name in ("asked", "dropped"):
        assert told[name]["page"] == "Settings"
        assert QUESTION in told[name]["texts"]
    assert QUESTION not in told["refused"]["texts"]


def test_what_is_typed_is_judged_as_it_is_typed(phone):
    assert f"Not yet https://HOST:PORT or {HINT.split(maxsplit=1)[0]}" in phone[1]["typed"]["texts"]


def test_a_server_is_renamed_by_leaving_the_field(phone):
    seen = phone[1]["renamed"]
    assert "The box" in [control["name"] for control in seen["controls"]]
    assert seen["focus"] == "ht_..."  # the next field, where somebody may be typing already


def test_the_guide_can_be_skipped(phone):
    assert "Skip" not in [control["name"] for control in phone[1]["skipped"]["controls"]]


def test_what_was_decided_and_why_is_written(phone):
    empty, seen = phone[1]["empty"]["texts"], phone[1]["offload-light-412x892"]["texts"]
    assert "No frame yet" in empty
    assert "Open a bundle and point it at something." in empty
    assert "No server is chosen, so nothing is offloaded." in empty
    assert seen.count("split at blocks_5, aq8t+deflate") == 3  # last, and twice in the list
    assert "Nothing answers at https://192.168.1.20:8707." in seen
    assert "30 frames" in seen
    forced = phone[1]["mode"]["texts"]
    assert any(text.startswith("Every frame is split") for text in forced)
