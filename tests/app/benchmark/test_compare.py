"""Faster or slower only beyond the noise that was seen."""

import dataclasses

import pytest

from app.benchmark.bench import Course
from app.benchmark.compare import best, change_of, changes
from headtail.timing import summarize


def timing(p50, *, spread=0.0, fastest=None, kind="host"):
    samples = [fastest or p50] + [p50] * 5 + [p50 * (1 + spread)] * 4
    return summarize(samples, kind=kind, warmup=1)


def changed(now, formers):
    change = change_of(now, formers)
    assert change is not None
    return change


@pytest.mark.parametrize(
    ("now", "then", "real"),
    [
        (timing(2.0), timing(1.0), True),
        (timing(1.0), timing(2.0), True),
        (timing(1.1), timing(1.0, spread=0.2), False),  # within the former run's own spread
        (timing(1.1, spread=0.2), timing(1.0), False),
        (timing(2.0, fastest=1.0), timing(1.0), False),  # disturbed: its fastest run is as ever
        (timing(1.0), timing(1.0), False),
    ],
)
def test_a_change_is_real_beyond_the_spread_and_if_the_fastest_moved_too(now, then, real):
    change = changed(now, [then])
    assert change.real is real
    assert change.ratio == pytest.approx(now.p50_ms / then.p50_ms)


def test_how_far_former_runs_lay_apart_is_noise_too():
    assert changed(timing(2.0), [timing(1.0), timing(1.1)]).real
    assert not changed(timing(2.0), [timing(1.0), timing(2.2)]).real


def test_nothing_is_compared_with_nothing_and_no_kind_with_another():
    assert change_of(None, [timing(1.0)]) is None
    assert change_of(timing(1.0), []) is None
    assert change_of(timing(1.0), [None, timing(1.0)]) is None  # the last run had no such cell
    assert change_of(timing(1.0), [timing(1.0, kind="emulated")]) is None


@pytest.fixture
def run(bench, bundle):
    survey = bench.survey([bundle])
    return bench.run(survey, survey.matrix.cells, Course.usual(3, cool_down_s=0.0))


def with_p50(run, *medians, kind="host"):
    cells = tuple(
        dataclasses.replace(m, timing=p50 and timing(p50, kind=kind))
        for m, p50 in zip(run.cells, medians, strict=True)
    )
    return dataclasses.replace(run, cells=cells)


def test_each_cell_is_compared_with_itself(run):
    found = changes(with_p50(run, 1.0, 4.0), [with_p50(run, 2.0, 2.0)])
    assert [found[m.cell].ratio for m in run.cells] == [0.5, 2.0]
    assert changes(run, []) == {}


def test_a_bundle_of_other_content_is_another_cell(run):
    former = dataclasses.replace(
        run,
        cells=tuple(
            dataclasses.replace(m, cell=dataclasses.replace(m.cell, bundle_id="f" * 64))
            for m in run.cells
        ),
    )
    assert changes(run, [former]) == {}


def test_the_best_is_the_fastest_of_one_kind_of_time(run):
    assert best(with_p50(run, 2.0, 1.0).cells) == run.cells[1].cell
    assert best(with_p50(run, None, 1.0).cells) == run.cells[1].cell
    assert best(with_p50(run, None, None).cells) is None
    mixed = (with_p50(run, 2.0, 1.0).cells[0], with_p50(run, 2.0, 1.0, kind="emulated").cells[1])
    assert best(mixed) is None
