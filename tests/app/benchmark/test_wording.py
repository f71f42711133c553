"""The Benchmark screen's words."""

import dataclasses

import pytest

from app.benchmark.bench import Course
from app.benchmark.compare import Change
from app.benchmark.matrix import LeftOut, Matrix
from app.benchmark.state import BenchmarkState, Phase, Progress, Row
from app.benchmark.wording import (
    artifact_name,
    change_words,
    compared_words,
    details,
    left_out_words,
    notes_of,
    plan_words,
    progress_words,
    results_words,
    subtitle,
    when,
)
from app.machine.facts import Condition
from tests.app.benchmark.conftest import COOL, Toaster


@pytest.fixture
def run(bench, bundle):
    survey = bench.survey([bundle])
    return bench.run(survey, survey.matrix.cells, Course.usual(3, cool_down_s=0.0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (None, ""),
        (Change(0.5, 0.5, 0.1), "2.00x faster"),
        (Change(1.5, 1.4, 0.1), "1.50x slower"),
        (Change(1.5, 1.0, 0.1), "same"),
        (Change(1.05, 1.05, 0.1), "same"),
    ],
)
def test_a_change_is_a_factor_or_the_same(change, words):
    assert change_words(change) == words


def test_progress_says_which_of_how_many_and_how_long(run):
    cell = run.cells[1].cell
    begun = Progress(0, 2, run.cells[0].cell, 0.0, None)
    assert progress_words(begun) == "1 of 2: LiteRT fp32, echo, 1 thread"
    later = Progress(1, 2, cell, 0.5, 39.2)
    assert progress_words(later) == "2 of 2: LiteRT fp32, echo, 2 threads  ·  about 40 s left"
    assert progress_words(dataclasses.replace(later, remaining_s=600.0)).endswith(
        "about 10 min left"
    )
    assert progress_words(Progress(2, 2, None, 1.0, 0.0)) == "2 of 2"
    assert progress_words(None) == ""


def test_the_plan_says_why_there_is_none(run):
    cells = tuple(m.cell for m in run.cells)
    state = BenchmarkState(phase=Phase.READY, matrix=Matrix(cells))
    assert plan_words(state) == "2 measurements, 30 runs each"
    one = dataclasses.replace(state, left=frozenset({("threads", "2")}))
    assert plan_words(one) == "1 measurement, 30 runs each"
    assert plan_words(BenchmarkState()) == "No model to measure yet"
    assert plan_words(BenchmarkState(phase=Phase.READY)) == "Nothing of this can run here"
    assert plan_words(BenchmarkState(phase=Phase.LOOKING)) == "Looking at what can run here"
    nothing = frozenset({("model", "tiny")})
    assert plan_words(dataclasses.replace(state, left=nothing)) == "Nothing fits this choice"


def test_emulated_time_is_never_called_the_devices(run):
    def heading(kind):
        timed = dataclasses.replace(run.cells[0].timing, kind=kind)
        measured = dataclasses.replace(run.cells[0], timing=timed)
        return results_words(BenchmarkState(rows=(Row(measured, best=False, change=None),)))

    assert heading("host") == "Latency on this computer"
    assert heading("device") == "Latency on this device"
    assert "Latency" not in heading("emulated")
    assert "how fast a phone is this does not say" in heading("emulated")


def test_a_failed_cell_says_why_and_a_timed_one_all_figures(run):
    assert details(dataclasses.replace(run.cells[0], timing=None, fault="It broke.")) == "It broke."
    timed = dataclasses.replace(run.cells[0], memory_bytes=4096)
    parts = details(timed).split("  ·  ")
    assert [part.split("\u00a0")[0] for part in parts[:-1]] == [
        *("p90", "p99", "mean", "min", "first", "load")
    ]
    assert parts[-1] == "4.1\u00a0KB"


def test_notes_tell_of_faults_stops_heat_and_battery(run):
    broken = dataclasses.replace(run.cells[0], fault="It broke.", timing=None)
    hot = dataclasses.replace(run.cells[1], after=Condition("moderate", None, 70, False))
    notes = notes_of(dataclasses.replace(run, cells=(broken, hot), complete=False))
    assert notes[0].startswith("Stopped before the end")
    assert notes[1].startswith("1 of 2 could not be measured")
    assert "thermal status moderate" in notes[2]
    assert notes[3] == "On battery, which went from 80 % to 70 %."
    plugged = dataclasses.replace(COOL, charging=True)
    cells = tuple(dataclasses.replace(m, before=plugged, after=plugged) for m in run.cells)
    assert notes_of(dataclasses.replace(run, cells=cells)) == ()


def test_small_words(run):
    assert artifact_name("coreml.w8") == "Core ML w8"
    assert when("2026-11-22T00:45:01.123+00:00") == "2026-11-22 00:45 UTC"
    assert left_out_words(LeftOut("net", "coreml fp32 by x", "no Mac")) == (
        "net, Core ML fp32 by x: no Mac"
    )
    state = BenchmarkState(machine=Toaster().facts(), condition=COOL)
    assert subtitle(state) == (
        "Toaster 5  ·  thermal status none, 31 °C, battery 80 %, not charging"
    )
    compared = BenchmarkState(
        measured_at="2026-11-22T00:45:01.123+00:00", compared_with="2026-11-21T10:00:00.000+00:00"
    )
    assert compared_words(compared).startswith(
        "2026-11-22 00:45 UTC, compared with 2026-11-21 10:00 UTC"
    )
