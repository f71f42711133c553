"""Real child processes around a library that crashes, prints, lies or hangs.

The library is a stand-in: a module of the converter's name that comes first on the child's path and
does what its environment variable says. The worker, its request and its events are the real ones.
"""

import os
import subprocess
import sys
import threading

import pytest

from exporters.processes import Limits, run_worker
from exporters.worker import ConvertRequest, RunRequest
from headtail.manifest import Entry
from headtail.strictjson import canonical_bytes, parse
from headtail.tensors import TensorSpec
from quantizers.recipe import RECIPES
from tests.exporters.stand_ins import NO_TORCH

SPEC = TensorSpec("x", "f32", (1, 3))
LIBRARY = """
import atexit, os, signal, sys
from pathlib import Path

def events():
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:"):
                return int(fd)
        except OSError:
            pass

def segfault():
    os.kill(os.getpid(), signal.SIGSEGV)

def killed_in_a_line():
    os.write(events(), b'{"event": "conver')
    os.kill(os.getpid(), signal.SIGKILL)

def prints():
    os.write(1, b"from C on descriptor 1\\n")
    print("from Python")
    os.write(2, b"from C on descriptor 2\\n")
    raise RuntimeError("no such operator\\nsecond line")

def leaves():
    os._exit(0)

def crashes_at_exit():
    atexit.register(segfault)
    raise RuntimeError("refused")

def hangs():
    Path(os.environ["PID_FILE"]).write_text(str(os.getpid()))
    os.write(events(), b'{"event": "hanging"}\\n')
    signal.pause()

def grows():
    held = bytearray(300_000_000)
    held[::4096] = b"x" * len(held[::4096])
    signal.pause()

def exits():
    sys.exit("the library calls sys.exit")

globals()[os.environ["LIBRARY_DOES"]]()
"""


@pytest.fixture
def convert(tmp_path, monkeypatch):
    library = tmp_path / "library"
    library.mkdir()
    (library / "litert_torch.py").write_text(LIBRARY)
    (library / "torch.py").write_text(NO_TORCH)

    def run(behaviour, precisions=("fp32",), **options):
        monkeypatch.setenv("PYTHONPATH", str(library))
        monkeypatch.setenv("LIBRARY_DOES", behaviour)
        monkeypatch.setenv("PID_FILE", str(tmp_path / "pid"))
        request = ConvertRequest(
            "litert",
            tuple(RECIPES[precision] for precision in precisions),
            tuple(str(tmp_path / f"{p}.tflite") for p in precisions),
            str(tmp_path / "forward.pt2"),
            {},
            (SPEC,),
            None,
            str(tmp_path / "scratch"),
        )
        return run_worker(request, tmp_path / "work", **options)

    return run


def test_a_crash_is_named_by_its_signal(convert):
    started, error = convert("segfault")
    assert started == {"event": "started", "precision": "fp32"}
    assert error["event"] == "error"
    assert error["what"] == "The library's process ended with SIGSEGV."
    assert "leave this format out" in error["remedy"]
    assert "log" in error


def test_a_process_killed_while_it_speaks_leaves_no_half_event(convert):
    events = convert("killed_in_a_line")
    assert [e["event"] for e in events] == ["started", "error"]
    assert "SIGKILL (out of memory" in events[-1]["what"]


def test_a_process_that_leaves_without_a_word_did_not_succeed(convert):
    assert convert("leaves")[-1]["what"] == "The library's process ended with exit code 0."


def test_sys_exit_inside_a_library_is_no_success_either(convert):
    error = convert("exits")[-1]
    assert error["what"] == "The library's process ended with exit code 1."
    assert "the library calls sys.exit" in error["log"]


def test_what_libraries_print_is_no_event_but_the_log(convert):
    started, failed = convert("prints")
    assert (started["event"], failed["event"]) == ("started", "failed")
    assert failed["what"] == "RuntimeError: no such operator"
    for words in ("descriptor 1", "from Python", "descriptor 2", "second line", "Traceback"):
        assert words in failed["log"], words


def test_each_failure_has_the_log_until_then(convert):
    """Two precisions fail in one process: the first one's log is not the second one's."""
    seen: list[dict[str, object]] = []
    events = convert("prints", ("fp32", "fp16"), on_event=seen.append)
    assert [(e["event"], e["precision"]) for e in events] == [
        ("started", "fp32"),
        ("failed", "fp32"),
        ("started", "fp16"),
        ("failed", "fp16"),
    ]
    assert seen == events
    assert all("log" in e for e in seen if e["event"] == "failed")


def test_a_crash_after_the_last_event_is_none(convert):
    events = convert("crashes_at_exit")
    assert [e["event"] for e in events] == ["started", "failed"]


def test_a_listener_that_fails_takes_the_process_with_it(convert, tmp_path):
    def interrupted(event):
        if event["event"] == "hanging":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert("hangs", on_event=interrupted)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_the_folder_where_the_user_stands_shadows_nothing(convert, tmp_path, monkeypatch):
    for name in ("random.py", "exporters.py", "headtail.py"):
        (tmp_path / name).write_text("raise SystemExit('shadowed')\n")
    monkeypatch.chdir(tmp_path)
    assert convert("prints")[-1]["what"] == "RuntimeError: no such operator"


def test_a_file_that_is_not_there_is_told_not_raised(tmp_path):
    request = RunRequest(
        str(tmp_path / "absent.tflite"),
        "litert",
        RECIPES["fp32"],
        (Entry("forward", (SPEC,), (SPEC,)),),
        str(tmp_path / "inputs.safetensors"),
        {"forward": 1},
        str(tmp_path / "outputs.safetensors"),
        0,
        1,
        1,
    )
    (event,) = run_worker(request, tmp_path / "work")
    assert event["event"] == "error"
    assert "absent.tflite" in event["what"]
    assert "Traceback" in event["log"]


def worker(tmp_path, body):
    path = tmp_path / "request.json"
    path.write_bytes(body)
    done = subprocess.run(
        [sys.executable, "-m", "exporters.worker", str(path)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, [parse(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"kind": "dance"}, "Unknown kind of request 'dance'. Known: convert, foreign, run."),
        ({}, "Unknown kind of request"),
        ({"kind": "run", "path": 3}, "Missing key"),
        ({"kind": "convert", "speed": 3}, "Unknown key 'speed' @ $."),
    ],
)
def test_a_request_that_is_none_is_answered(tmp_path, body, words):
    code, events = worker(tmp_path, canonical_bytes(body))
    assert code == 0
    assert [e["event"] for e in events] == ["error", "finished"]
    assert words in f"{events[0]['what']} {events[0]['expected']}"


def test_a_request_that_is_not_json_is_answered(tmp_path):
    _, events = worker(tmp_path, b"{kind")
    assert "Not JSON" in events[0]["what"]


def test_a_process_that_takes_too_much_memory_is_ended(convert):
    error = convert("grows", limits=Limits(memory_bytes=250_000_000))[-1]
    assert "GB of memory and was ended" in error["what"]
    assert "--memory-limit" in error["remedy"]


def test_a_process_that_takes_too_long_is_ended(convert):
    error = convert("hangs", limits=Limits(seconds=0.5))[-1]
    assert "ran for" in error["what"]
    assert "--time-limit" in error["remedy"]


def test_a_process_nobody_waits_for_is_ended(convert):
    cancel = threading.Event()
    events = convert("hangs", on_event=lambda event: cancel.set(), cancel=cancel)
    assert events[-1]["what"].startswith("The library's process ended with SIGKILL")
