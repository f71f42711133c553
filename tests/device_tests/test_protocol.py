"""Command line and answer of a runner: as asked on the way in, checked on the way out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_tests.protocol import Reply, arguments, input_files, read_answer, result
from device_tests.targets.base import Call, Job, JobRefused, TargetCrashed

IMAGE = np.arange(6, dtype=np.float32).reshape(1, 6)
OTHER = np.ones((2,), np.float32)
JOB = Job(
    format="litert",
    model=Path("net.tflite"),
    sha256="ab" * 32,
    calls=(Call("forward", (IMAGE, OTHER)), Call("head_b1", (IMAGE,))),
    warmup=2,
    runs=3,
)
REPLY: dict[str, Any] = {
    "schema_version": 1,
    "runtime": "litert",
    "runtime_version": "2.3.0",
    "machine": "aarch64",
    "model_sha256": JOB.sha256,
    "timing_kind": "emulated",
    "load_ms": 1.5,
    "calls": [
        {"outputs": ["0.0.npy"], "runs_ms": [1.0, 2.0, 3.0]},
        {"outputs": ["1.0.npy"], "runs_ms": [1.0, 2.0, 3.0]},
    ],
    "peak_rss_kb": 4096,
}


def line(**changes: Any) -> bytes:
    return json.dumps({**REPLY, **changes}).encode()


def npy(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def answer(stdout: bytes, *, exit_code: int = 0, stderr: bytes = b"") -> Reply:
    return read_answer(stdout, exit_code=exit_code, stderr=stderr)


def test_arguments_name_model_hash_kind_runs_and_every_call() -> None:
    words = arguments(JOB, model="/m/net.tflite", inputs="/i", outputs="/o", timing_kind="emulated")
    assert " ".join(words) == (
        f"litert /m/net.tflite /o --sha256 {JOB.sha256} --timing-kind emulated --warmup 2 --runs 3"
        " --call forward /i/in0.npy /i/in1.npy --call head_b1 /i/in0.npy"
    )


def test_an_input_that_two_calls_take_travels_once() -> None:
    files = input_files(JOB)
    assert sorted(files) == ["in0.npy", "in1.npy"]
    assert np.array_equal(np.load(io.BytesIO(files["in0.npy"])), IMAGE)


def test_the_last_line_is_the_answer_whatever_was_printed_before() -> None:
    reply = answer(b"INFO: Created TensorFlow Lite XNNPACK delegate\n" + line() + b"\n")
    assert reply.machine == "aarch64"
    assert reply.calls[1].runs_ms == (1.0, 2.0, 3.0)


def test_a_refusal_passes_on_the_words_of_the_runtime() -> None:
    refusal = {"schema_version": 1, "error": "ValueError", "message": "input 0 has shape [1]"}
    with pytest.raises(JobRefused, match=r"ValueError: input 0 has shape \[1\]"):
        answer(json.dumps(refusal).encode(), exit_code=1)


def test_silence_after_a_signal_is_a_crash_with_the_last_words() -> None:
    with pytest.raises(TargetCrashed, match=r"signal 11.*no core found"):
        answer(b"", exit_code=-11, stderr=b"Error in cpuinfo: no core found\n")


@pytest.mark.parametrize(
    "stdout",
    [
        line()[:-1],
        line(extra=1),
        line(schema_version=2),
        line(load_ms="fast"),
        b"[]",
        b'{"error": "x"}',
    ],
)
def test_anything_else_is_a_crash(stdout: bytes) -> None:
    with pytest.raises(TargetCrashed, match="no answer"):
        answer(stdout)


@settings(deadline=None, max_examples=60)
@given(
    st.binary(max_size=200) | st.text(max_size=50).map(lambda t: json.dumps({"error": t}).encode())
)
def test_no_bytes_from_a_target_escape_the_error_tree(stdout: bytes) -> None:
    with pytest.raises((TargetCrashed, JobRefused)):
        answer(stdout)


def test_outputs_come_back_in_the_order_of_the_calls() -> None:
    read = {"0.0.npy": npy(IMAGE), "1.0.npy": npy(OTHER)}
    done = result(answer(line()), JOB, timing_kind="emulated", read=read)
    assert np.array_equal(done.calls[0].outputs[0], IMAGE)
    assert np.array_equal(done.calls[1].outputs[0], OTHER)
    assert done.timing_kind == "emulated"


@pytest.mark.parametrize("second", [None, npy(OTHER)[:-1], b"", b"\x80\x04pickle"])
def test_an_output_that_did_not_come_back_whole_is_named(second: bytes | None) -> None:
    read = {"0.0.npy": npy(IMAGE)} | ({} if second is None else {"1.0.npy": second})
    with pytest.raises(TargetCrashed, match=r"1\.0\.npy"):
        result(answer(line()), JOB, timing_kind="emulated", read=read)


@pytest.mark.parametrize(
    "changes", [{"model_sha256": "00" * 32}, {"timing_kind": "device"}, {"calls": []}]
)
def test_a_reply_about_another_job_or_kind_of_time_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TargetCrashed, match="The reply is about"):
        result(answer(line(**changes)), JOB, timing_kind="emulated", read={})
