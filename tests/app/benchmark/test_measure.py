"""No time without a right answer; whatever fails says why and leaves nothing open."""

import dataclasses
import re

import numpy as np
import pytest

from app.benchmark.matrix import Cell
from app.benchmark.measure import CELL_STEPS, Cancelled, Effort, measured
from headtail.bundle import open_bundle
from headtail.golden import FP32_GATE_DB, GoldenSet
from tests.app.benchmark.conftest import COOL
from tests.app.benchmark.echo import EchoRuntime

EFFORT = Effort(warmup=2, runs=6)


def cell_of(bundle, **changes):
    manifest = open_bundle(bundle).manifest
    cell = Cell(manifest.name, manifest.bundle_id, "litert", "fp32", "echo", "cpu", 1)
    return dataclasses.replace(cell, **changes)


def run(bundle, runtime, *, tick=lambda: None, **changes):
    golden = GoldenSet(open_bundle(bundle))
    return measured(
        cell_of(bundle, **changes),
        golden,
        runtime,
        effort=EFFORT,
        condition=lambda: COOL,
        tick=tick,
    )


def test_a_right_answer_is_timed_by_the_one_protocol(bundle, echo):
    ticks = []
    found = run(bundle, echo, threads=2, tick=lambda: ticks.append(1))
    assert found.fault == ""
    assert (found.timing.kind, found.timing.runs, found.timing.warmup) == ("host", 6, 2)
    assert found.timing.min_ms <= found.timing.p50_ms <= found.timing.p90_ms <= found.timing.p99_ms
    assert found.load_ms >= 0
    assert found.first_ms >= 0
    assert found.memory_bytes >= 4096  # what the session says, or more
    assert found.runtime_version == "9.9"
    assert (found.verdict.samples, found.verdict.gate_db) == (2, FP32_GATE_DB)
    assert echo.loads == [("tiny.fp32.tflite", 2, "cpu")]
    assert echo.open == 0
    assert len(ticks) == CELL_STEPS + EFFORT.warmup + EFFORT.runs


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda array: array + np.float32(0.01), "wrong output: .* the gate is 90.0"),
        (np.zeros_like, "all zero"),
        (lambda array: array * np.float32("nan"), "not finite"),
        (lambda array: array[..., :1], r"float32\[1,1\]|float32\[1, 1\]"),
    ],
)
def test_a_wrong_output_is_a_failed_cell_and_never_a_latency(bundle, change, says):
    runtime = EchoRuntime(bundle, change=change)
    found = run(bundle, runtime)
    assert found.timing is None
    assert re.search(says, found.fault), found.fault
    assert runtime.open == 0


def test_what_a_runtime_raises_is_the_cells_fault(bundle, echo):
    def fail():
        raise RuntimeError("the driver is gone")

    echo.on_run = fail
    found = run(bundle, echo)
    assert found.fault == "RuntimeError: the driver is gone"
    assert (found.timing, found.verdict) == (None, None)
    assert found.load_ms is not None
    assert echo.open == 0
    assert "Unknown accelerator" in run(bundle, echo, accelerator="gpu").fault


def test_cancelling_stops_within_a_run_and_closes_the_session(bundle, echo):
    left = iter([None] * 4)

    def tick():
        if next(left, "stop") == "stop":
            raise Cancelled

    with pytest.raises(Cancelled):
        run(bundle, echo, tick=tick)
    assert echo.open == 0


def test_emulated_time_is_called_so(bundle):
    found = run(bundle, EchoRuntime(bundle, timing_kind="emulated"))
    assert found.timing.kind == "emulated"
