"""What is on disk: three files, read back by their schema, with nothing in them that is private."""

import dataclasses

import pytest

from app.report.contents import Report, as_markdown, sections_of
from app.report.saving import save
from headtail.offload.planner import decide
from headtail.offload.trace import Record, Trace, replay
from headtail.strictjson import from_json, parse
from tests.headtail.offload.test_planner import USUAL

SECRETS = ("https://192.168.1.20:8707", "Alice's desk", "ab12" * 16)
PRIVATE = ("192.168", "8707", "alices-desk", "s3cr3t", "headtail://", "Alice", "ab12")
TRACE = '{"reason":"Nothing answers at https://192.168.1.20:8707 (Alice\'s desk)"}\n'


def test_three_files_are_written_and_read_back(report, tmp_path):
    folder = tmp_path / "reports"
    path = save(report, folder, trace=TRACE, secrets=SECRETS)
    stem = "headtail-20261122T004501123Z"
    assert path == folder / f"{stem}.md"
    assert sorted(file.name for file in folder.iterdir()) == [
        f"{stem}.json",
        f"{stem}.md",
        f"{stem}.trace.jsonl",
    ]
    read = from_json(Report, parse((folder / f"{stem}.json").read_bytes()))
    assert read.offload is not None
    assert read.offload.trace == f"{stem}.trace.jsonl"
    assert read.benchmark == report.benchmark
    assert (folder / f"{stem}.md").read_text() == as_markdown(read)


def test_nothing_private_is_in_any_of_them(report, tmp_path):
    path = save(report, tmp_path, trace=TRACE, secrets=SECRETS)
    for file in path.parent.iterdir():
        text = file.read_text()
        assert [word for word in PRIVATE if word.lower() in text.lower()] == [], file.name
    assert "Check that \\[address\\] is on" in path.read_text()


def test_the_search_for_what_is_private_can_find_it(report):
    raw = as_markdown(report)
    assert {word for word in PRIVATE if word in raw} >= {"192.168", "alices-desk", "s3cr3t"}


def test_without_a_trace_there_is_no_file_and_no_name_of_one(report, tmp_path):
    path = save(report, tmp_path, trace="", secrets=[])
    assert len(list(tmp_path.iterdir())) == 2
    assert "was not kept" in path.read_text()


def test_a_report_of_nothing_but_the_machine_says_so(report, tmp_path):
    bare = dataclasses.replace(report, bundle=None, benchmark=None, live=None, offload=None)
    said = {s.title: s.facts[0][1] for s in sections_of(bare)}
    assert said["Model"] == "none was open"
    assert said["Benchmark"] == "was not run"
    assert said["Live"] == "nothing was answered"
    assert said["Offload"] == "no decision was made"
    save(bare, tmp_path, trace="", secrets=[])


def test_what_is_not_told_is_called_so(report):
    facts = dataclasses.replace(report.machine, device=None, cores=None, memory_bytes=None)
    device = dict(sections_of(dataclasses.replace(report, machine=facts))[0].facts)
    assert [device[k] for k in ("device", "cores", "memory")] == ["not told here"] * 3


def test_the_markdown_has_every_section_and_every_cell(report):
    text = as_markdown(report)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Device",
        "## Software",
        "## Runtimes",
        "## Model",
        "## Benchmark",
        "## Live",
        "## Offload",
    ]
    assert text.count("| LiteRT fp32 | echo, ") == len(report.benchmark.cells) == 2
    assert "100.0 % of 2 inputs, 95 % interval 0.340 to 1.000" in text
    assert "only on Apple devices" in text


@pytest.mark.parametrize("folder", ["taken"])
def test_a_folder_that_cannot_be_made_is_an_error_and_nothing_is_left(report, tmp_path, folder):
    (tmp_path / folder).write_text("a file")
    with pytest.raises(OSError, match="exists"):
        save(report, tmp_path / folder, trace="", secrets=[])


def test_a_redacted_trace_still_gives_the_same_decisions(report, tmp_path):
    lost = dataclasses.replace(
        USUAL, breaker="open", wait_s=4.0, failure="Nothing answers at https://192.168.1.20:8707."
    )
    trace = Trace()
    for number, situation in enumerate((USUAL, lost)):
        decision = decide(situation)
        trace.add(Record(number, situation, decision, decision.where, 12.5, "0" * 32))
    assert "192.168" in trace.text()
    save(report, tmp_path, trace=trace.text(), secrets=SECRETS)
    (file,) = tmp_path.glob("*.jsonl")
    assert "192.168" not in file.read_text()
    assert replay(file.read_text().splitlines()) == (2, [])
