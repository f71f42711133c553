import dataclasses

import pytest

from headtail.errors import UnknownName
from headtail.report import (
    ArtifactRow,
    Report,
    columns,
    markdown,
    markdown_table,
    text,
    text_table,
)
from headtail.strictjson import from_json
from tests.support.bundles import tiny_report

TEXT = """\
format  precision     MB           agreement (top-1)  SNR dB mean/min     p50/p90 ms  runtime       timing_kind  verdict
------  ---------  -----  --------------------------  ---------------  -------------  ------------  -----------  -------
litert  fp32       18.80  1.000 (60/60, 0.940-1.000)      inf / 128.6  12.50 / 13.75  LiteRT 2.3.0  host         pass
litert  w8a8        5.60  0.700 (42/60, 0.575-0.801)       14.8 / 9.1  12.50 / 13.75  LiteRT 2.3.0  host         poor
coreml  fp32           -                           -            - / -          - / -  -             -            failed
litert.w8a8: static int8 by the plain path
coreml.fp32: the converter refuses <alias> & co."""  # noqa: E501  # the table is what it is


def test_the_text_table_to_the_letter():
    assert text_table(tiny_report().artifacts) == TEXT


def test_the_table_of_nothing_has_a_heading():
    assert text_table([]).splitlines()[0].split()[0] == "format"
    assert markdown_table([]).count("\n") == 1


def test_infinity_is_printed_and_written():
    report = tiny_report().to_json()
    assert report["artifacts"][0]["snr_db_mean"] == 400.0
    read = from_json(Report, report)
    assert columns()["SNR dB mean/min"](read.artifacts[0]) == "inf / 128.6"
    worst = dataclasses.replace(read.artifacts[0], snr_db_min=float("-inf"))
    assert columns()["SNR dB mean/min"](worst) == "inf / -inf"
    assert Report("verify", (worst,)).to_json()["artifacts"][0]["snr_db_min"] == -400.0


def test_wide_and_combining_letters_keep_the_columns_aligned():
    table = text(["name", "n"], [["模型", "1"], ["e\u0301tude", "22"], ["x", "3"]]).splitlines()
    assert table == ["name    n", "-----  --", "模型    1", "e\u0301tude  22", "x       3"]


def test_no_cell_can_steer_the_terminal():
    assert text(["a"], [["x\x1b[2J\r\n\u202ey"]]).splitlines()[2] == "x?[2J???y"


def test_markdown_is_escaped():
    assert markdown(["a|b"], [["`<b>`\n*x*"]]) == "| a\\|b |\n| --- |\n| \\`\\<b\\>\\`?\\*x\\* |"
    table = markdown_table(tiny_report().artifacts)
    assert "- coreml.fp32: the converter refuses \\<alias\\> & co." in table
    assert len({line.count(" | ") for line in table.splitlines() if line.startswith("|")}) == 1


def test_unknown_verdicts_and_timing_kinds_are_refused():
    row = tiny_report().artifacts[0]
    with pytest.raises(UnknownName, match=r"'good'.*failed, pass, poor"):
        dataclasses.replace(row, verdict="good")
    with pytest.raises(UnknownName, match="timing kind"):
        dataclasses.replace(row, timing_kind="guess")


def test_every_field_of_a_row_is_named_as_agreed():
    agreed = (
        "format precision bytes agreement n low high snr_db_mean snr_db_min latency_ms_p50 "
        "latency_ms_p90 runtime timing_kind verdict note"
    )
    assert " ".join(field.name for field in dataclasses.fields(ArtifactRow)) == agreed
