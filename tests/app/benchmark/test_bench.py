"""A whole run: what is left out, what a damaged bundle does, cooling down, stopping."""

import shutil

import pytest

from app.benchmark import bench as module
from app.benchmark.bench import Bench, Course
from tests.app.benchmark.conftest import COOL, HOT, Toaster
from tests.app.benchmark.echo import EchoRuntime


def course(runs=3, cool_down_s=0.0):
    return Course.usual(runs, cool_down_s=cool_down_s)


def test_every_cell_of_every_bundle_is_measured_in_order(bench, bundle, other_bundle, echo):
    told = []
    survey = bench.survey([bundle, other_bundle])
    run = bench.run(
        survey, survey.matrix.cells, course(), tell=lambda p, d: told.append((p, len(d)))
    )
    assert run.complete
    assert [m.cell for m in run.cells] == list(survey.matrix.cells)
    assert [(m.cell.bundle, m.cell.threads) for m in run.cells] == [
        ("tiny", 1),
        ("tiny", 2),
        ("other", 1),
        ("other", 2),
    ]
    assert all(m.timing is not None for m in run.cells)
    assert [left.name for left in run.left_out] == ["coreml fp32"] * 2
    assert echo.loads[0] == echo.loads[1]  # once untimed, for the runtime's own libraries
    shares = [progress.share for progress, _ in told]
    assert shares == sorted(shares)
    assert told[0][0].remaining_s is None
    assert [done for _, done in told if done] != []


def test_a_bundle_in_two_places_is_one(bench, bundle, tmp_path):
    copy = tmp_path / "copy.bundle"
    shutil.copytree(bundle, copy)
    assert len(bench.survey([bundle, copy]).bundles) == 1


def test_a_bundle_that_is_none_is_left_out_with_the_reason(bench, bundle, tmp_path):
    survey = bench.survey([tmp_path, bundle])
    assert survey.matrix.left_out[0].bundle == tmp_path.name
    assert "is not a bundle" in survey.matrix.left_out[0].reason
    assert len(survey.matrix.cells) == 2


def test_a_bundle_with_a_changed_byte_is_not_measured(bench, bundle, tmp_path, echo):
    broken = tmp_path / "broken.bundle"
    shutil.copytree(bundle, broken)
    model = broken / "artifacts" / "tiny.fp32.tflite"
    model.write_bytes(model.read_bytes().replace(b"not", b"a b"))
    survey = bench.survey([broken])
    run = bench.run(survey, survey.matrix.cells, course())
    assert [("tiny.fp32.tflite" in m.fault, m.timing) for m in run.cells] == [(True, None)] * 2
    assert echo.loads == []


def test_cancelled_keeps_what_was_measured(bench, bundle, echo):
    survey, stopped = bench.survey([bundle]), course()
    echo.on_run = lambda: stopped.cancel.set() if len(echo.loads) == 3 else None
    run = bench.run(survey, survey.matrix.cells, stopped)
    assert not run.complete
    assert [m.cell.threads for m in run.cells] == [1]
    assert echo.open == 0


def test_a_hot_machine_is_waited_for(bundle, monkeypatch):
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.001)
    runtime = EchoRuntime(bundle)
    # the survey, before and after the first cell, then one look after each rest
    toaster = Toaster(COOL, COOL, HOT, HOT, HOT, COOL)
    bench = Bench(lambda: (runtime,), toaster)
    survey = bench.survey([bundle])
    run = bench.run(survey, survey.matrix.cells, course(cool_down_s=0.001))
    assert [m.before for m in run.cells] == [COOL, COOL]
    assert run.cells[0].after == HOT
    assert toaster.conditions == [COOL]


def test_a_machine_that_stays_hot_is_waited_for_no_longer_than_the_limit(bundle, monkeypatch):
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(module, "COOLEST_WAIT_S", 0.01)
    bench = Bench(lambda: (EchoRuntime(bundle),), Toaster(HOT))
    survey = bench.survey([bundle])
    assert bench.run(survey, survey.matrix.cells, course(cool_down_s=0.001)).complete


@pytest.mark.parametrize("threads", [(1,), (4, 8)])
def test_threads_can_be_given(bench, bundle, threads):
    cells = bench.survey([bundle], threads=threads).matrix.cells
    assert [cell.threads for cell in cells] == list(threads)
