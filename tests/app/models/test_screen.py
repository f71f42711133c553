"""The Models page of the real app, drawn: as looked at, and what its buttons do."""

import dataclasses
from typing import Any

import pytest

from headtail.bundle import pack_zip
from headtail.strictjson import to_json
from tests.app import drawn
from tests.app.drawn import PHONE, TABLET, TOLERATED, Scene, check_scene, difference, golden, names
from tests.app.models.conftest import sized_bundle
from tests.app.models.test_library import flip
from tests.support.range_server import RangeServer

pytestmark = pytest.mark.slow

SMALLEST = 44  # dp, for a thumb
FULL: list[list[Any]] = [["fill"], ["serve", "SERVER"], ["scroll", 1.0]]
DRAWN = [
    Scene("models-empty", "MODELS", gestures=[["empty"], ["serve", ""], ["scroll", 1.0]]),
    Scene("models", "MODELS", gestures=FULL),
    Scene("models-question", "MODELS", gestures=[*FULL, ["tap", "Delete"]]),
]
DONE = [
    Scene("large", "MODELS", large=True, gestures=FULL),
    Scene("large-below", "MODELS", large=True, gestures=[*FULL, ["scroll", 0.0]]),
    Scene("walk", "MODELS", gestures=[*FULL, ["walk"]]),
    Scene("kept", "MODELS", gestures=[*FULL, ["tap", "Delete"], ["key", "escape"]]),
    Scene("deleted", "MODELS", gestures=[*FULL, ["tap", "Delete"], ["confirm"]]),
    Scene("details", "MODELS", gestures=[*FULL, ["tap", "Details"]]),
    Scene("resumed", "MODELS", gestures=[*FULL, ["scroll", 0.0], ["tap", "Resume"]]),
    Scene("dropped", "MODELS", gestures=[["empty"], ["drop", "ZIP"]]),
    Scene("settings", "MODELS", gestures=[["empty"], ["serve", ""], ["tap", "Open Settings"]]),
    Scene("lost", "MODELS", gestures=[["empty"], ["serve", "http://127.0.0.1:9"]]),
]


class World:
    """Three bundles on the device, of which one is damaged and one half here; two on a server."""

    def __init__(self, folder):
        self.models, self.zip = folder / "models", folder / "shared.zip"
        self.models.mkdir()
        net, half, broken = (
            sized_bundle(folder, name=name, size=100_000)
            for name in ("mobilenet_v2", "yolo_n", "resnet50")
        )
        for bundle in (net, broken):
            target = self.models / f"{bundle.manifest.name}-{bundle.manifest.bundle_id[:12]}.bundle"
            bundle.path.rename(target)
        flip(target / "golden.safetensors")
        pack_zip(half, self.zip)
        self.server = RangeServer(half.manifest.bundle_id, self.zip.read_bytes())
        row = self.server.listing[0]
        place = f"yolo_n-{half.manifest.bundle_id[:12]}.bundle"
        part = self.models / f".{place}.{row['sha256']}.part"
        part.write_bytes(self.zip.read_bytes()[: row["bytes"] * 6 // 10])
        artifacts = [
            {
                "format": artifact.format,
                "precision": artifact.precision,
                "bytes": artifact.bytes,
                "verdict": artifact.verdict,
                "agreement": to_json(artifact.agreement),
            }
            for artifact in half.manifest.artifacts
        ]
        row |= {"name": "yolo_n", "aliases": ["latest", "prod"], "artifacts": artifacts}
        newer = {**row, "name": "mobilenet_v2", "bundle_id": "e" * 64, "sha256": "f" * 64}
        self.server.listing.append({**newer, "aliases": ["latest"]})


def draw(scenes, folder, size):
    """Draw them in one window, in turn: what `tests.app.models.drawing` tells of each."""
    (folder / "world").mkdir()
    world = World(folder / "world")
    words = {"SERVER": world.server.url, "ZIP": str(world.zip)}
    placed = [
        dataclasses.replace(
            scene, gestures=[[words.get(word, word) for word in step] for step in scene.gestures]
        )
        for scene in scenes
    ]
    models = {"models": str(world.models)}
    with world.server:
        told = drawn.draw(placed, folder, size=size, by="tests.app.models.drawing", more=models)
    return {scene.name: seen for scene, seen in zip(scenes, told, strict=True)}


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phone")
    return folder, draw([*names(DRAWN, PHONE), *DONE], folder, PHONE)


@pytest.fixture(scope="module")
def tablet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tablet")
    return folder, draw(names(DRAWN, TABLET), folder, TABLET)


@pytest.mark.parametrize("scene", names(DRAWN, PHONE), ids=lambda scene: scene.name)
def test_on_a_phone_as_looked_at(phone, scene):
    check_scene(phone, scene)


@pytest.mark.parametrize("scene", names(DRAWN, TABLET), ids=lambda scene: scene.name)
def test_on_a_tablet_as_looked_at(tablet, scene):
    check_scene(tablet, scene)


def test_the_comparison_tells_an_empty_page_from_a_full_one(phone):
    picture = phone[0] / "models-empty-light-412x892.png"
    assert difference(picture, golden("models-light-412x892")) > TOLERATED


@pytest.mark.parametrize("name", ["large", "large-below"])
def test_with_large_text_nothing_is_cut_off_and_everything_can_be_touched(phone, name):
    seen = phone[1][name]
    assert seen["cut_off"] == []
    for control in seen["controls"]:
        assert min(control["box"][2:]) >= SMALLEST, control


def test_by_keyboard_every_control_is_reached(phone):
    seen = phone[1]["walk"]
    assert sorted(seen["stops"]) == sorted(control["name"] for control in seen["controls"])
    assert {"Open", "Verify", "Delete", "Resume", "Download", "Live"} <= set(seen["stops"])


def test_back_closes_the_question_and_stays_on_the_page(phone):
    asked = phone[1]["models-question-light-412x892"]["texts"]
    assert any(text.startswith("Delete ") and text.endswith("?") for text in asked)
    kept = phone[1]["kept"]
    assert kept["page"] == "Models"
    assert not any(text.startswith("Delete ") for text in kept["texts"])
    assert "2 on this computer  \u00b7  2 on the server" in kept["texts"]


def test_yes_deletes(phone):
    texts = phone[1]["deleted"]["texts"]
    assert "1 on this computer  \u00b7  2 on the server" in texts


def test_what_is_damaged_is_named_and_the_rest_verified(phone):
    texts = phone[1]["models-light-412x892"]["texts"]
    assert {"Damaged", "Verified", "resnet50", "mobilenet_v2"} <= set(texts)
    assert any(text.startswith("golden.safetensors has SHA-256") for text in texts)
    assert "Update available" in texts
    assert any(text.startswith("Paused  \u00b7  ") for text in texts)


def test_details_say_of_each_artifact_why_it_runs_or_not(phone):
    texts = phone[1]["details"]["texts"]
    assert "Less" in texts
    assert any("agrees 1.000 [0.342, 1.000] (n=2)" in text for text in texts)


def test_a_download_is_gone_on_with_and_what_is_dropped_is_installed(phone):
    assert "3 on this computer  \u00b7  2 on the server" in phone[1]["resumed"]["texts"]
    assert any(text.startswith("1 on this computer") for text in phone[1]["dropped"]["texts"])
    assert "yolo_n" in phone[1]["dropped"]["texts"]


def test_without_a_server_settings_are_a_touch_away_and_a_lost_one_is_tried_again(phone):
    assert phone[1]["settings"]["page"] == "Settings"
    lost = phone[1]["lost"]
    assert any("cannot be reached" in text for text in lost["texts"])
    assert "Try again" in [control["name"] for control in lost["controls"]]
