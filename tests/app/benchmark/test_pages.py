"""The Benchmark and Report pages of the real app, by touch, on real LiteRT; drawn and looked at."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.theme import DARK, LIGHT
from tests.app.drawn import check_picture
from tests.app.offscreen import missing_for_screen
from tests.support.capabilities import require

pytestmark = pytest.mark.slow
LIMIT_S = 120
MACHINES = 0.05  # of the pixels: names of the machine, and bars as long as it takes
PICTURES = [
    (page, theme, size)
    for page in ("benchmark", "report")
    for theme in (LIGHT, DARK)
    for size in ((412, 892), (1000, 700))
]


@pytest.fixture(scope="module")
def tour(colour_bundle, tmp_path_factory):
    """One process for everything: kivy's start takes longer than any picture."""
    reason = missing_for_screen()
    require(not reason, reason)
    folder = tmp_path_factory.mktemp("pages")
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.app.benchmark.pages_driver"],
        input=json.dumps({"bundle": str(colour_bundle), "folder": str(folder)}),
        env=environment
        | {
            "SDL_VIDEODRIVER": "offscreen",
            "KIVY_HOME": str(tmp_path_factory.mktemp("home")),
            "KIVY_NO_ARGS": "1",
            "KIVY_NO_CONSOLELOG": "1",
            "KIVY_METRICS_DENSITY": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parents[3]),
        },
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert "gave up" not in seen, seen["gave up"]
    return seen, folder


def words(seen, name):
    return [item["text"] for item in seen[name]["texts"]]


def pixels(folder, name):
    return np.asarray(Image.open(folder / f"{name}.png").convert("RGB"), np.int16)


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def share_of(image, colour):
    return float((np.abs(image - rgb(colour)) <= 6).all(axis=-1).mean())


@pytest.mark.parametrize(
    ("page", "theme", "size"), PICTURES, ids=[f"{p}-{t.name}-{s[0]}" for p, t, s in PICTURES]
)
def test_the_page_is_drawn_in_its_theme_and_nothing_leaves_it(tour, page, theme, size):
    seen, folder = tour
    name = f"{page}-{theme.name}-{size[0]}"
    assert (seen[name]["theme"], tuple(seen[name]["size"])) == (theme.name, size)
    image = pixels(folder, name)
    assert image.shape == (size[1], size[0], 3)
    assert share_of(image, theme.surface) > 0.2
    assert share_of(image, theme.ground) > 0.05
    assert share_of(image, theme.device) > 0.005
    for item in seen[name]["texts"]:
        x, _, width, _ = item["box"]
        assert x >= 0, item
        assert x + width <= size[0] + 1, item
    check_picture(folder / f"{name}.png", name, tolerated=MACHINES)


def test_without_a_bundle_it_says_what_to_do(tour):
    seen, _ = tour
    texts = words(seen, "empty")
    assert "No model to measure yet" in texts
    assert "Open a bundle, or download one on the Models page." in texts
    assert "Measure" not in texts


def test_while_it_measures_it_can_be_stopped(tour):
    seen, _ = tour
    texts = words(seen, "running")
    assert "Stop" in texts
    assert "Measure" not in texts


def test_the_table_marks_the_best_and_compares_with_the_last_run(tour):
    seen, folder = tour
    texts = words(seen, "benchmark-light-412")
    assert "Latency on this computer" in texts
    assert texts.count("LiteRT fp32") >= 2  # a chip, and a row for each number of threads
    assert texts.count("best") == 1
    marks = [t for t in texts if t == "same" or t.endswith((" faster", " slower"))]
    assert len(marks) == texts.count("LiteRT fp32") - 1
    assert any("compared with" in text for text in texts)
    # of the two bars the best one alone has the full hue
    best = next(t for t in seen["benchmark-light-412"]["texts"] if t["text"] == "best")
    x, y, _, height = (round(value) for value in best["box"])
    image = pixels(folder, "benchmark-light-412")
    below = image[892 - y : 892 - y + 16, 40:60]
    assert share_of(below, LIGHT.device) > 0.2, (x, y, height)


def test_the_report_holds_the_measurements_and_was_saved_and_copied(tour):
    seen, _ = tour
    texts = words(seen, "report-light-412")
    assert "The report was copied." in texts
    for title in ("Device", "Software", "Runtimes", "Model", "Benchmark", "Live", "Offload"):
        assert title in texts
    assert "nearest_colour" in texts
    assert any(text.startswith("litert, 1 thread") and "p50" in text for text in texts)
    saved = Path(seen["saved"])
    assert saved.parent.name == "reports"
    assert seen["clipboard"].startswith("# Headtail on this device")
    assert "| LiteRT fp32 | litert, 1 thread |" in seen["clipboard"]
