"""`python -m app.main --agent JOB.json --out RESULT.json`: no window, and the job's exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.main import main
from headtail.strictjson import parse
from tests.app.agent.test_schema import BUNDLE

ROOT = Path(__file__).parents[3]
PROBE = """
import sys
from app.main import main
code = main(sys.argv[1:])
heavy = {"kivy", "torch", "jnius"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


@pytest.fixture
def job(tmp_path):
    file = tmp_path / "job.json"
    file.write_text(json.dumps(BUNDLE | {"bundle": "absent.bundle"}))
    return file


def test_the_exit_code_is_the_jobs_and_neither_kivy_nor_torch_is_loaded(job, tmp_path):
    result = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "--agent", str(job), "--out", str(result)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "is not a bundle" in parse(result.read_bytes())["message"]


def test_a_result_that_cannot_be_written_is_said_on_stderr(job, tmp_path, capsys):
    assert main(["--agent", str(job), "--out", str(tmp_path / "absent" / "result.json")]) == 2
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--agent", "job.json"], ["--out", "result.json"]])
def test_one_option_without_the_other_is_a_usage_error(options, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(options)
    assert stopped.value.code == 2
    assert "go together" in capsys.readouterr().err
