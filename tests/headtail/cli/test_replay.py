"""`headtail replay`: a trace decided again."""

import dataclasses
import json

import pytest

from headtail.cli.main import main
from headtail.offload.planner import decide
from headtail.offload.policy import Decision
from headtail.offload.trace import Record
from tests.headtail.offload.test_planner import USUAL


@pytest.fixture
def replayed(tmp_path, capsys):
    def run(*records):
        path = tmp_path / "trace.jsonl"
        path.write_text("".join(f"{record.line()}\n" for record in records))
        with pytest.raises(SystemExit) as ended:
            main(["replay", str(path), "--json"])
        told = capsys.readouterr()
        return ended.value.code, json.loads(told.out), told.err

    return run


def test_the_same_decisions(replayed):
    record = Record(1, USUAL, decide(USUAL), "split", 75.0, "")
    code, told, printed = replayed(record, dataclasses.replace(record, number=2))
    assert (code, told["decisions"], told["differing"]) == (0, 2, [])
    assert "Split at a with aq8t is predicted" in printed


def test_another_decision(replayed):
    record = Record(1, USUAL, Decision("local", "Because."), "local", 75.0, "")
    code, told, printed = replayed(record)
    assert (code, len(told["differing"])) == (1, 1)
    assert "frame 1 is now decided otherwise: Split at a" in printed


def test_no_trace(replayed, tmp_path, capsys):
    (tmp_path / "trace.jsonl").write_text("no json\n")
    with pytest.raises(SystemExit) as ended:
        main(["replay", str(tmp_path / "trace.jsonl"), "--json"])
    assert json.loads(capsys.readouterr().out)["error"] == "SchemaFault"
    assert ended.value.code != 0
