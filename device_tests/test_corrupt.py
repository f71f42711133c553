"""Bad input on the target: a sentence comes back, and the next job runs.

Every message is the runner's, not a stack trace; `TargetCrashed` fails these tests.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from device_tests.session import Session
from device_tests.targets.base import Call, Job, JobRefused
from headtail.manifest import FORWARD, Artifact
from headtail.tensors import Array


@pytest.fixture
def job(session: Session, runnable: Artifact) -> Job:
    """One call of the smallest entry point of an fp32 artifact: enough to be refused."""
    smallest = min(runnable.entries, key=lambda entry: entry.name == FORWARD)
    whole = session.replays.job(runnable, [smallest])
    return dataclasses.replace(whole, calls=whole.calls[:1], warmup=0, runs=1)


def with_input(job: Job, *inputs: Array) -> Job:
    return dataclasses.replace(job, calls=(Call(job.calls[0].entry, inputs),))


def cut_short(job: Job, folder: Path, *, admit: bool) -> Job:
    data = job.model.read_bytes()[:-1000]
    model = folder / job.model.name
    model.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest() if admit else job.sha256
    return dataclasses.replace(job, model=model, sha256=sha256)


def test_model_cut_short_on_the_way_is_refused_by_its_hash(
    session: Session, job: Job, tmp_path: Path
) -> None:
    with pytest.raises(JobRefused, match=job.sha256):
        session.target.run(cut_short(job, tmp_path, admit=False))


def test_model_cut_short_before_it_was_hashed_is_refused_by_the_runtime(
    session: Session, job: Job, tmp_path: Path
) -> None:
    with pytest.raises(JobRefused, match="The runner refused"):
        session.target.run(cut_short(job, tmp_path, admit=True))


def test_wrong_shape_is_refused_and_the_next_job_runs(session: Session, job: Job) -> None:
    right = job.calls[0].inputs[0]
    halved = right[..., : right.shape[-1] // 2]
    with pytest.raises(JobRefused, match="shape"):
        session.target.run(with_input(job, np.ascontiguousarray(halved), *job.calls[0].inputs[1:]))
    assert len(session.target.run(job).calls) == 1


def test_wrong_number_of_inputs_is_refused(session: Session, job: Job) -> None:
    with pytest.raises(JobRefused, match="inputs were given"):
        session.target.run(with_input(job, *job.calls[0].inputs, job.calls[0].inputs[0]))


def test_unknown_entry_point_is_refused_with_what_exists(session: Session, job: Job) -> None:
    absent = dataclasses.replace(job, calls=(Call("head_of_nothing", job.calls[0].inputs),))
    with pytest.raises(JobRefused, match=FORWARD):
        session.target.run(absent)
