"""Two reports of one bundle become one: what was measured first stays, unless it was done again."""

import dataclasses

from exporters.adding import _joined
from headtail.quality import Quality
from headtail.report import Report
from tests.support.reports import full_report


def renamed(report: Report, precision: str) -> Report:
    """The report as if its quantized artifact and program were of another precision."""
    quality = report.quality or Quality()
    return dataclasses.replace(
        report,
        artifacts=tuple(
            dataclasses.replace(row, precision=precision)
            for row in report.artifacts
            if row.precision == "w8a8"
        ),
        quality=dataclasses.replace(
            quality,
            reports=tuple(dataclasses.replace(r, precision=precision) for r in quality.reports[1:]),
            noise=tuple(dataclasses.replace(n, precision=precision) for n in quality.noise),
            sensitivity=tuple(
                dataclasses.replace(r, storage=precision) for r in quality.sensitivity
            ),
        ),
    )


def named(report: Report) -> tuple[list[str], list[str], list[str]]:
    quality = report.quality or Quality()
    return (
        [one.precision for one in quality.reports],
        [one.precision for one in quality.noise],
        [one.storage for one in quality.sensitivity],
    )


def test_what_was_known_of_other_precisions_stays():
    before = renamed(full_report(), "w8")
    both = _joined(before, renamed(full_report(), "w4"))
    assert named(both) == (["w8", "w4"], ["w8", "w4"], ["w8", "w4"])
    assert [row.precision for row in both.artifacts] == ["w8", "w4"]


def test_what_was_done_again_takes_the_place_of_the_former():
    before = renamed(full_report(), "w8")
    again = _joined(before, renamed(full_report(), "w8"))
    assert named(again) == (["w8"], ["w8"], ["w8"])
