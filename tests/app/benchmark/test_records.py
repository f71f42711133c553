"""Runs on disk: read as written, of this machine, whole or not at all."""

import dataclasses

import pytest

from app.benchmark import records as module
from app.benchmark.bench import Course
from app.benchmark.records import Records, Run, write_whole
from headtail.errors import SchemaFault
from headtail.strictjson import canonical_bytes, from_json, parse


@pytest.fixture
def run(bench, bundle):
    survey = bench.survey([bundle])
    return bench.run(survey, survey.matrix.cells, Course.usual(3, cool_down_s=0.0))


def at(run, second):
    return dataclasses.replace(run, started_at=f"2026-11-22T00:00:{second:02d}+00:00")


def test_what_is_written_is_read(run, tmp_path):
    records = Records(tmp_path / "runs")
    path = records.add(at(run, 7))
    assert path.name == "20261122T000007000Z.json"
    assert records.of(run.machine) == [at(run, 7)]
    assert from_json(Run, parse(path.read_bytes())) == at(run, 7)


def test_the_newest_come_first_and_other_machines_are_not_compared_with(run, tmp_path):
    records = Records(tmp_path)
    other = dataclasses.replace(run.machine, device="Kettle")
    for second in range(8):
        records.add(
            dataclasses.replace(at(run, second), machine=other if second == 7 else run.machine)
        )
    assert [r.started_at[17:19] for r in records.of(run.machine)] == ["06", "05", "04", "03", "02"]
    updated = dataclasses.replace(run.machine, system="ToastOS 4", python="3.15.0")
    assert len(records.of(updated)) == module.COMPARED
    assert len(records.of(other)) == 1


@pytest.mark.parametrize(
    "damage",
    [b"", b"{}", b"\xff", b'{"schema_version":2}'],
    ids=["empty", "none", "bytes", "newer"],
)
def test_a_file_that_cannot_be_read_is_put_aside(run, tmp_path, damage):
    records = Records(tmp_path)
    records.add(at(run, 1))
    (tmp_path / "20261122T000002000Z.json").write_bytes(damage)
    assert records.of(run.machine) == [at(run, 1)]
    assert (tmp_path / "20261122T000002000Z.bad").read_bytes() == damage


def test_a_damaged_file_that_cannot_be_put_aside_hides_no_other(run, tmp_path):
    records = Records(tmp_path)
    records.add(at(run, 1))
    (tmp_path / "20261122T000002000Z.json").write_bytes(b"{")
    (tmp_path / "20261122T000002000Z.bad").mkdir()
    assert records.of(run.machine) == [at(run, 1)]


def test_the_oldest_go(run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 3)
    records = Records(tmp_path)
    for second in range(5):
        records.add(at(run, second))
    assert [file.name[13:15] for file in sorted(tmp_path.iterdir())] == ["02", "03", "04"]


@pytest.mark.parametrize(
    ("changed", "says"),
    [({"schema_version": 2}, "Schema version 2"), ({"started_at": "yesterday"}, "is no time")],
)
def test_another_schema_and_no_time_are_refused(run, changed, says):
    value = parse(canonical_bytes(run)) | changed
    with pytest.raises(SchemaFault, match=says):
        from_json(Run, value)


def test_a_write_that_fails_leaves_the_former_file(tmp_path):
    file = tmp_path / "report.json"
    write_whole(file, b"old")
    with pytest.raises(TypeError):
        write_whole(file, "no bytes")  # type: ignore[arg-type]  # which is what is tried
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
