"""The Models page of the real app, drawn: as looked at, and what its buttons do.

`python -m tests.app.models.test_screen` draws the pictures anew: look at them.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headtail.bundle import pack_zip
from headtail.strictjson import to_json
from tests.app.drawn import PHONE, TABLET, TOLERATED, Scene, difference, golden, names
from tests.app.models.conftest import sized_bundle
from tests.app.models.test_library import flip
from tests.app.offscreen import LIMIT_S, Job, environment, missing_for_screen
from tests.support.capabilities import require
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
    """Draw them in one window, in turn: what `tests.app.drawing` tells of each."""
    reason = missing_for_screen()
    require(not reason, reason)
    (folder / "world").mkdir()
    world = World(folder / "world")
    words = {"SERVER": world.server.url, "ZIP": str(world.zip)}
    jobs = []
    for scene in scenes:
        job = asdict(scene) | {"picture": str(folder / f"{scene.name}.png")}
        job["gestures"] = [[words.get(word, word) for word in step] for step in scene.gestures]
        jobs.append(job)
    with world.server, tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", "tests.app.models.drawing"],
            input=json.dumps({"size": size, "scenes": jobs, "models": str(world.models)}),
            env=environment(Job(picture="", size=size), home) | {"PATH": home},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert len(told) == len(scenes), f"only {len(told)} of {len(scenes)} scenes were drawn"
    return {scene.name: seen for scene, seen in zip(scenes, told, strict=True)}


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phone")
    return folder, draw([*names(DRAWN, PHONE), *DONE], folder, PHONE)


@pytest.fixture(scope="module")
def tablet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tablet")
    return folder, draw(names(DRAWN, TABLET), folder, TABLET)


def check(drawn, scene):
    folder, told = drawn
    assert told[scene.name]["theme"] == ("dark" if scene.dark else "light")
    assert told[scene.name]["cut_off"] == []
    assert difference(folder / f"{scene.name}.png", golden(scene.name)) <= TOLERATED


@pytest.mark.parametrize("scene", names(DRAWN, PHONE), ids=lambda scene: scene.name)
def test_on_a_phone_as_looked_at(phone, scene):
    check(phone, scene)


@pytest.mark.parametrize("scene", names(DRAWN, TABLET), ids=lambda scene: scene.name)
def test_on_a_tablet_as_looked_at(tablet, scene):
    check(tablet, scene)


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


def main():
    """Draw what is looked at anew."""
    for size in (PHONE, TABLET):
        with tempfile.TemporaryDirectory() as folder:
            draw(names(DRAWN, size), Path(folder), size)
            for scene in names(DRAWN, size):
                image = Image.open(Path(folder) / f"{scene.name}.png").convert("RGB").reduce(2)
                with contextlib.suppress(FileNotFoundError):
                    print(difference(Path(folder) / f"{scene.name}.png", golden(scene.name)))
                image.quantize(64, dither=Image.Dither.NONE).save(golden(scene.name), optimize=True)
                print(golden(scene.name))


if __name__ == "__main__":
    main()
