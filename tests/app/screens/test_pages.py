"""What the pages do not do: draw while nobody looks, halt a frame, write faster than one reads.

One process for everything (`tests.app.screens.rehearsal`): kivy's start takes longer than the rest.
"""

import json
import subprocess
import sys

import pytest

from tests.app.offscreen import LIMIT_S, Job, environment, missing_for_screen
from tests.support.capabilities import require

CALM_S = 0.2  # a quarter of a second, less a frame of the clock's own tolerance


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    reason = missing_for_screen()
    require(not reason, reason)
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [sys.executable, "-m", "tests.app.screens.rehearsal"],
        env=environment(Job(picture=""), str(home)),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert "gave up" not in seen, seen
    return seen


def test_pages_are_built_ahead_one_at_a_time_while_nothing_moves(seen):
    ahead = seen["ahead"]
    assert ahead["moving"] == [True, 0]  # wanted still, but not now
    assert ahead["busy"] == [True, 0]
    assert ahead["built"] == [2, 3, 4, 5, 6]
    assert seen["on screen"] == ["LiveScreen"]


def test_a_hidden_page_draws_nothing_and_then_the_last_state_alone(seen):
    assert seen["page"] == {"hidden": [0, 1], "revealed": [0, 1, 3, 4]}


@pytest.mark.parametrize("page", ["Benchmark", "Live"])
def test_a_page_that_was_built_ahead_or_left_draws_when_it_is_looked_at(seen, page):
    assert seen[page] == {"hidden": [], "looked at": [True]}


def test_figures_of_what_moves_are_written_four_times_a_second(seen):
    pace = seen["pace"]
    assert pace["changes"] == pace["expected"]  # of twenty answers the first and the last
    assert pace["apart_s"] >= CALM_S


def test_another_place_is_shown_at_once(seen):
    drawn, expected = seen["elsewhere"]
    assert drawn == expected
    assert "p50 99.0" in drawn


def test_while_benchmark_measures_nothing_reads_as_if_it_went_on(seen):
    drawn, disabled, icon = seen["held"]["before"]
    assert ("fps" in drawn, disabled, icon) == (True, False, "pause")
    assert seen["held"]["held"] == ["waiting for Benchmark", True, ""]


def test_of_a_label_without_end_two_hundred_letters_are_drawn(seen):
    kinds = {"bar", "legend", "box", "card", "subtitle", "chip", "name", "row"}
    assert seen["long"] == {kind: [200, "a\u2026"] for kind in kinds}
    assert seen["fact"] == 1000


def test_the_about_rows_come_over_several_frames_in_order(seen):
    about = seen["about"]
    assert about["at once"] == 0
    assert about["most"] < 75
    assert about["in order"]
