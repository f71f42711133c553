"""The report: what is written is what is read, and no word in it says more than was measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from device_tests.results import (
    SCHEMA_VERSION,
    Crossed,
    DeviceReport,
    NotRun,
    Replayed,
    read_report,
    table,
    write_report,
)
from device_tests.targets.base import TargetFacts
from headtail.errors import SchemaFault
from headtail.metrics import DB_LIMIT
from headtail.timing import summarize

ROW = Replayed(
    artifact="artifacts/net.fp32.tflite",
    format="litert",
    precision="fp32",
    entry="head_b1",
    samples=2,
    snr_db_mean=120.0,
    snr_db_min=110.0,
    gate_db=90.0,
    host=Crossed(DB_LIMIT, 60.0),
    fault="",
    timing=summarize([3.0, 4.0], kind="emulated", warmup=0),
    load_ms=20.0,
    peak_rss_kb=90_000,
)
REPORT = DeviceReport(
    schema_version=SCHEMA_VERSION,
    bundle_name="net",
    bundle_id="ab" * 32,
    target=TargetFacts("qemu:cortex-a76", "emulated", "aarch64", "cortex-a76", "qemu", {}, ("n",)),
    replayed=(ROW,),
    not_run=(NotRun("artifacts/net.pte", "executorch", "fp32", "needs a C++ runner"),),
    passed=4,
    failed=0,
    skipped=1,
)


def test_a_report_survives_the_disk(tmp_path: Path) -> None:
    write_report(REPORT, tmp_path / "out.json")
    assert read_report(tmp_path / "out.json") == REPORT
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_report_of_another_schema_is_refused(tmp_path: Path) -> None:
    write_report(dataclasses.replace(REPORT, schema_version=9), tmp_path / "out.json")
    with pytest.raises(SchemaFault, match=r"9 is not 1 @ \$\.schema_version"):
        read_report(tmp_path / "out.json")


def test_the_table_names_target_figures_and_what_was_not_run() -> None:
    shown = table(REPORT)
    for part in ("qemu:cortex-a76", "120.0 / 110.0", "identical", "pass", "needs a C++ runner"):
        assert part in shown


def test_emulated_milliseconds_are_called_nothing_else() -> None:
    shown = table(REPORT)
    assert "p50 ms emulated, says nothing of a phone" in shown
    assert "latency" not in shown


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "pass"),
        ({"fault": "SNR 3.0 dB"}, "fail"),
        ({"gate_db": None}, "pass"),
        ({"gate_db": None, "host": None}, "reported"),
        ({"gate_db": None, "host": Crossed(30.0, None)}, "reported"),
    ],
)
def test_a_verdict_needs_something_to_judge_by(changes: dict[str, object], verdict: str) -> None:
    assert dataclasses.replace(ROW, **changes).verdict == verdict  # type: ignore[arg-type]  # typed by hand


def test_a_fault_stands_below_the_table() -> None:
    broken = dataclasses.replace(REPORT, replayed=(dataclasses.replace(ROW, fault="all zero"),))
    assert "FAULT artifacts/net.fp32.tflite head_b1: all zero" in table(broken)
